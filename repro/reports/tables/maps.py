"""Map tables as CSV (full precision, one line per run), LaTeX and Markdown (seeds averaged)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from repro.measuring.maps import FIGURES, KINDS, MapStatus
from repro.reports.tables.controls import control_footnotes
from repro.reports.tables.sheet import Column, Sheet, hardware_remark, over_seeds, plan_remarks, unfinished
from repro.reports.tables.tex_numbers import Number, macro_name, percent
from repro.runs.addresses.places import adopted_note
from repro.runs.plan import Plan
from repro.runs.status import DONE, FAILED

HEADINGS = {
    "saliency_ap": "saliency",
    "attention_ap": "its attention",
    "correlation_ap": "cosine",
    "chance_ap": "chance",
    "foreground_iou": "foreground",
    "saliency_best_iou": "saliency, best cut",
    "correlation_best_iou": "cosine, best cut",
    "foreground_ap": "things",
    "foreground_chance_ap": "chance",
}
GROUPS: dict[str, tuple[str, ...]] = {
    "AP": ("saliency_ap", "attention_ap", "correlation_ap", "chance_ap"),
    "IoU": ("foreground_iou", "saliency_best_iou", "correlation_best_iou"),
    "things against stuff, AP": ("foreground_ap", "foreground_chance_ap"),
}


def map_sheet(plan: Plan, states: Sequence[MapStatus]) -> Sheet:
    """Return one line per row and benchmark: mean over seeds with deviation; then saliency by parts of the classes."""
    columns = [
        Column("title", "Method"),
        Column("benchmark", "Benchmark"),
        Column("seeds", "Seeds", right=True),
        *(Column(n, HEADINGS[n], f"{g} (%)", right=True) for g, names in GROUPS.items() for n in names),
        *(Column(f"saliency_ap_{k}", k, "saliency AP (%)", right=True) for k in KINDS),
    ]
    rows = []
    for row, benchmark in dict.fromkeys((s.cell.cell.run.row.id, s.cell.cell.benchmark.id) for s in states):
        own = [s for s in states if (s.cell.cell.run.row.id, s.cell.cell.benchmark.id) == (row, benchmark)]
        done = [s.to_json(plan.table.name) for s in own if s.status == DONE]
        keys = (*FIGURES, *(f"saliency_ap_{kind}" for kind in KINDS))
        texts = {key: over_seeds([d[key] for d in done if d[key] is not None]) for key in keys}
        title = own[0].cell.cell.run.row.title
        rows.append({"title": title, "benchmark": benchmark, "seeds": str(len(done))} | texts)
    return Sheet.of(plan, columns, rows, map_notes(plan, states))


def _over_attention(state: MapStatus) -> str:
    """Say what the gradient adds to the attention it weights, of the same weights on the same images."""
    found = state.gain("saliency_ap", "attention_ap")
    if found is None:
        return ""
    value, low, high = (100 * v for v in found)
    return f", {value:+.1f} over the attention alone ({low:+.1f} to {high:+.1f})"


def map_notes(plan: Plan, states: Sequence[MapStatus]) -> list[str]:
    """Return what must stand under the table: profile, rules, intervals, gaps."""
    lines = [
        f"Profile {plan.profile.name}: {plan.profile.title}.",
        "Mean over the pairs of an image and a class that is in it, each image a single view; ignored pixels left out. "
        "AP: average precision of the map as a ranking of pixels; best cut: IoU at the threshold that suits each pair "
        "best; foreground: IoU of the tokens the method itself takes for foreground; chance: AP of a random ranking.",
        "Seen: classes that COCO-Stuff names too (docs/taxonomy.md). Things against stuff: AP of the largest saliency "
        "(cosine where there is none) of the classes of an image as a detector of its things, over images with both.",
    ]
    lines += hardware_remark(s.cell.folder / "maps.json" for s in states if s.status == DONE)
    for state in states:
        found = state.values().get("saliency_ap")
        if found is not None and state.scores is not None:
            run, (value, low, high) = state.cell.cell.run, (100 * v for v in found)
            lines.append(
                f"{run.row.title}, seed {run.seed}, {state.cell.cell.benchmark.id}: saliency AP {value:.1f} "
                f"(95 % over {state.scores.images} images: {low:.1f} to {high:.1f}){_over_attention(state)}."
            )
    lines += plan_remarks(plan)
    lines += control_footnotes(plan.runs)
    reasons = dict.fromkeys(
        (s.cell.cell.run.row.title, s.adopted, s.cell.cell.run.id) for s in states if s.status == DONE and s.adopted
    )
    lines += [adopted_note(*reason) for reason in reasons]
    lines += [
        f"{s.cell.cell.run.row.title} on {s.cell.cell.benchmark.id} failed: {s.error}"
        for s in states
        if s.status == FAILED
    ]
    return lines + unfinished([s.status for s in states], "cells are not complete")


def map_numbers(plan: Plan, states: Sequence[MapStatus]) -> Iterator[Number]:
    """Yield the figures of a map table in percent by row, seed and benchmark, with the ends of their intervals."""
    for state in states:
        run = state.cell.cell.run
        for key, value in state.values().items():
            name = macro_name(plan.table.name, run.row.id, f"s{run.seed}", state.cell.cell.benchmark.id, key)
            for suffix, figure in zip(("", "Low", "High"), value or (None, None, None), strict=True):
                yield f"{name}{suffix}", percent(figure), run.id
