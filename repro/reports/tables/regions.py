"""Region tables as CSV (full precision), LaTeX and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from repro.configuration.published import PrintedRow, PublishedRows, find_published
from repro.datasets.panoptic import get_panoptic
from repro.measuring.regions import GROUPS, TOP, RegionStatus, gains
from repro.reports.tables.printed import around, printed_notes, printed_sources, shown_rows
from repro.reports.tables.sheet import Column, Sheet, number, table_remarks, unfinished
from repro.reports.tables.tex_numbers import Number, macro_name, percent
from repro.runs.addresses.places import adopted_note
from repro.runs.plan import Plan
from repro.runs.status import DONE, FAILED

_GB_OF_MIB = 2**20 / 1e9


def region_sheet(plan: Plan, states: Sequence[RegionStatus], published: PublishedRows = "ours") -> Sheet:
    """Return measured rows, each followed by the published one where there is one; columns by set and top-k.

    With ``all`` as ``published``, the other rows of the paper's table stand around them.
    """
    tops = tuple(TOP) if plan.table.metric == "top5" else ("top1",)
    sets = list(dict.fromkeys(s.cell.source.id for s in states))
    columns = [Column("title", "Model"), Column("tower", "CLIP")]
    columns += [
        Column(f"{name}/{group}_{top}", heading, f"{get_panoptic(name).title} {top.replace('top', 'top-')}", right=True)
        for name in sets
        for top in tops
        for group, heading in GROUPS.items()
    ]
    if plan.table.training_cost:
        columns += [
            Column("train/memory", "memory (GB)", "Training", right=True),
            Column("train/epoch", "min / epoch", "Training", right=True),
        ]
    rows: list[dict[str, str]] = []
    italic: list[int] = []
    groups = [
        [s for s in states if s.cell.run.row.id == row] for row in dict.fromkeys(s.cell.run.row.id for s in states)
    ]
    pairs = around([own[0].cell.run.row for own in groups], shown_rows(plan, published))
    for (above, _), own in zip(pairs, [*groups, []], strict=True):
        italic += range(len(rows), len(rows) + len(above))
        rows += [_printed_cells(p, sets) for p in above]
        if not own:
            continue
        run = own[0].cell.run
        rows.append({"title": run.row.title, "tower": run.tower.title} | _cells(own, published=False))
        printed = _cells(own, published=True)
        shown = {c.key for c in columns}
        if any(text for key, text in printed.items() if key in shown) and published != "none":
            italic.append(len(rows))
            rows.append({"title": f"{run.row.title} (published)", "tower": "ViT-B/16"} | printed)
    return Sheet.of(plan, columns, rows, region_notes(plan, states, published), italic=italic)


def _printed_cells(printed: PrintedRow, sets: Sequence[str]) -> dict[str, str]:
    """Return what the paper prints of a model that is not measured here."""
    cells = {"title": f"{printed.title} (published)", "tower": printed.vlm}
    for name in sets:
        for group, heading in GROUPS.items():
            for top in TOP:
                value = printed.value(f"{get_panoptic(name).title} {heading}", f"{top}_mean_acc_percent")
                cells[f"{name}/{group}_{top}"] = number(value, 1)
    return cells


def _cells(states: Sequence[RegionStatus], *, published: bool) -> dict[str, str]:
    cells = {}
    for state in states:
        values = state.published() if published else state.measured()
        for key, value in values.items():
            scaled = value if value is None or published else 100 * value
            cells[f"{state.cell.source.id}/{key}"] = number(scaled, 1)
    printed, cost = states[0].published_training(), states[0].training
    memory, epoch = printed["memory"], printed["epoch"]
    if not published:
        memory = cost.memory_mib * _GB_OF_MIB if cost and cost.memory_mib is not None else None
        epoch = cost.seconds_per_epoch / 60 if cost else None
    return {**cells, "train/memory": number(memory, 2), "train/epoch": number(epoch, 2)}


def region_notes(plan: Plan, states: Sequence[RegionStatus], published: PublishedRows = "ours") -> list[str]:
    """Return what must stand under the table: profile, rules, what alignment is worth, sources, gaps."""
    lines = [f"Profile {plan.profile.name}: {plan.profile.title}."]
    settings = states[0].cell.settings
    prompts = f"{len(settings.templates)} prompts" if settings.templates else "the 63 prompts of ViLD"
    lines.append(
        f"Mean accuracy over categories (%), images framed to {settings.image_size} pixels, {prompts}; Boxes and "
        "Masks-T over things, Masks-S over stuff, each segment among all categories of its set."
    )
    for state in {s.cell.source.id: s for s in states if s.ranks is not None}.values():
        ranks = state.ranks
        if ranks is not None:
            lines.append(
                f"{state.cell.source.title}: {ranks.images} images, {int(ranks.thing.sum())} thing and "
                f"{int((~ranks.thing).sum())} stuff segments."
            )
    lines += [
        f"{gain.row} over {gain.base}, {get_panoptic(gain.set).title} {GROUPS[gain.group]} top-1: "
        f"{100 * gain.difference:+.1f} points (95 % over images: {100 * gain.low:+.1f} to {100 * gain.high:+.1f})."
        for gain in gains(plan, states)
    ]
    rows = {s.cell.run.row.id: s.cell.run.row for s in states if published != "none"}.values()
    printed = shown_rows(plan, published)
    sources = printed_sources(printed) + [
        found.source
        for row in rows
        if (found := find_published(row.published, "COCO Boxes", "top1_mean_acc_percent")) is not None
    ]
    lines += ["Published: " + "; ".join(dict.fromkeys(sources)) + "."] if sources else []
    lines += printed_notes(printed)
    lines += table_remarks(plan)
    lines += _training_notes(states) if plan.table.training_cost else []
    reasons = dict.fromkeys((s.cell.run.row.title, s.adopted) for s in states if s.status == DONE and s.adopted)
    lines += [adopted_note(*reason) for reason in reasons]
    lines += [
        f"{s.cell.run.row.title} on {s.cell.source.title} failed: {s.error}" for s in states if s.status == FAILED
    ]
    return lines + unfinished([s.status for s in states], "cells are not complete")


def _training_notes(states: Sequence[RegionStatus]) -> list[str]:
    """Say what memory and time of training are those of, and which rows have none recorded."""
    first = {s.cell.run.row.id: s for s in states}.values()
    kinds = {"allocated": "allocated on the GPU", "resident": "resident in the process, on a CPU"}
    rows: dict[str, list[str]] = {}
    for s in first:
        if (cost := s.training) is not None:
            memory = kinds.get(cost.memory, cost.memory)
            text = f"memory {memory}, at its peak; an epoch is one pass over {cost.images:,} images; {cost.device}."
            rows.setdefault(text, []).append(s.cell.run.row.title)
    found = [f"Training ({', '.join(titles)}): {text}" for text, titles in rows.items()]
    trained = [s for s in first if s.cell.assets.tower_parts(s.cell.run.row.tower) and s.status == DONE]
    without = ", ".join(s.cell.run.row.title for s in trained if s.training is None)
    gap = f"No memory and time of training were recorded of {without}: the tower was not trained here."
    return [*found, *([gap] if without else [])]


def region_numbers(plan: Plan, states: Sequence[RegionStatus]) -> Iterator[Number]:
    """Yield the numbers of a region table: accuracies in percent by row, set, group and top-k; measured, published."""
    for state in states:
        published = state.published()
        for key, value in state.measured().items():
            name = macro_name(plan.table.name, state.cell.run.row.id, state.cell.source.id, key)
            yield name, percent(value), state.cell.run.id
            printed = published[key]
            if printed is not None:
                yield f"{name}Published", f"{printed:.1f}", "published"
