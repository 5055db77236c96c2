"""Cost tables as CSV (full precision), LaTeX and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from repro.configuration.published import PrintedRow, PublishedRows, find_published
from repro.measuring.cost import PUBLISHED, RATE, CostStatus, as_printed
from repro.reports.tables.printed import around, printed_notes, printed_sources, shown_rows
from repro.reports.tables.sheet import Column, Sheet, number, table_remarks
from repro.reports.tables.tex_numbers import MISSING, Number, macro_name
from repro.runs.plan import Plan
from repro.runs.status import DONE, FAILED

DIGITS = {"params_million": 1, "gflops": 1, "seconds": 3, RATE: 1}
LEFT_OUT = ("missing", "gflops_by_part", "seconds_by_stage", "clocks")
HEADINGS = {"params_million": "Parameters (M)", "gflops": "GFLOPs", "seconds": "Time (s)", RATE: "Images/s"}


def cost_rows(plan: Plan, states: Sequence[CostStatus]) -> list[dict[str, Any]]:
    """Return a row for each method and tower: the keys of the JSON output (docs/json.md) without parts and stages.

    With ``difference_<column>``, measured minus published, where the profile's numbers are comparable.
    """
    rows = []
    for state in states:
        row = {k: v for k, v in state.to_json(plan.table.name).items() if k not in LEFT_OUT}
        if plan.profile.comparable:
            row |= {f"difference_{k}": v for k, v in _differences(state).items()}
        rows.append(row)
    return rows


def _differences(state: CostStatus) -> dict[str, float | None]:
    measured, published = state.measured(), state.published()
    pairs = {k: (measured[k], published[k]) for k in PUBLISHED}
    return {k: None if a is None or b is None else a - b for k, (a, b) in pairs.items()}


def cost_sheet(plan: Plan, states: Sequence[CostStatus], published: PublishedRows = "ours") -> Sheet:
    """Return groups of columns: counted, timed, published and (where comparable) differences.

    With ``all`` as ``published``, the other rows of the paper's table stand around the measured ones.
    """
    printed = _printed(plan, states)
    shown = _shown(printed)
    columns = [Column("title", "Method"), Column("clip", "CLIP")]
    columns += [Column(k, HEADINGS[k], f"measured, {plan.profile.name}", right=True) for k in shown]
    columns += [
        Column("p10", "10 % (s)", columns[-1].group, right=True),
        Column("p90", "90 % (s)", columns[-1].group, right=True),
        Column("share", "Saliency (% of forward pass)", columns[-1].group, right=True),
        Column("memory", "Memory (MiB)", columns[-1].group, right=True),
        Column("executed", "GFLOPs run", columns[-1].group, right=True),
    ]
    if published != "none":
        columns += [Column(f"published_{k}", HEADINGS[k], "published", right=True) for k in printed]
        if plan.profile.comparable:
            columns += [Column(f"difference_{k}", HEADINGS[k], "difference", right=True) for k in printed]
    rows: list[dict[str, str]] = []
    italic: list[int] = []
    pairs = around([state.cell.run.row for state in states], shown_rows(plan, published))
    for (above, _), own in zip(pairs, [*states, None], strict=True):
        italic += range(len(rows), len(rows) + len(above))
        rows += [_printed_cells(p) for p in above]
        rows += [_cells(own)] if own else []
    return Sheet.of(plan, columns, rows, cost_notes(plan, states, published), italic=italic)


def _printed(plan: Plan, states: Sequence[CostStatus]) -> list[str]:
    """Return the columns that the paper prints; all but the images per second where it is none or prints nothing."""
    said = [s.published() for s in states]
    said += [{k: as_printed(k, lambda m, p=p: p.value("", m)) for k in PUBLISHED} for p in shown_rows(plan, "all")]  # type: ignore[misc]
    found = [k for k in PUBLISHED if any(values[k] is not None for values in said)]
    return found or [k for k in PUBLISHED if k != RATE]


def _shown(printed: Sequence[str]) -> list[str]:
    """Return the columns that are measured for a table whose paper prints ``printed``."""
    return [k for k in PUBLISHED if k != RATE or k in printed]


def _printed_cells(printed: PrintedRow) -> dict[str, str]:
    """Return what the paper prints of a method that is not measured here."""
    found = {k: as_printed(k, lambda metric: printed.value("", metric)) for k in PUBLISHED}
    values = {k: number(v, _digits(k, v)) for k, v in found.items()}
    return {"title": printed.title, "clip": printed.vlm, **{f"published_{k}": v for k, v in values.items()}}


def _digits(column: str, value: float | None) -> int:
    """Return the decimals that papers print: of seconds two, of milliseconds none."""
    if column == "seconds":
        return 2 if value is None or round(value, 2) == value else 3
    return {RATE: 0}.get(column, DIGITS[column])


def _cells(state: CostStatus) -> dict[str, str]:
    timing: dict[str, Any] = state.timing or {}
    differences = _differences(state)
    row = {"title": state.cell.run.row.title, "clip": state.cell.run.tower.title}
    row |= {k: number(v, DIGITS[k]) for k, v in state.measured().items()}
    row |= {f"published_{k}": number(v, _digits(k, v)) for k, v in state.published().items()}
    row |= {f"difference_{k}": number(v, DIGITS[k], signed=True) for k, v in differences.items()}
    share = timing.get("saliency_share")
    row["share"] = number(None if share is None else 100 * share, 1)
    row["p10"] = number(timing.get("p10"), DIGITS["seconds"])
    row["p90"] = number(timing.get("p90"), DIGITS["seconds"])
    row["memory"] = number(timing.get("peak_memory_mib"), 0)
    row["executed"] = number(state.cost.executed_gflops if state.cost else None, 1)
    return row


def cost_notes(plan: Plan, states: Sequence[CostStatus], published: PublishedRows = "ours") -> list[str]:
    """Return what must stand under the table: profile, how it is counted and timed, on what, sources, gaps."""
    p, timings = plan.profile.protocol, [s.timing for s in states if s.timing]
    classes = len(states[0].cell.classes)
    lines = [
        f"Profile {plan.profile.name}: {plan.profile.title}.",
        f"GFLOPs: 1e9 multiply-adds by fvcore's rules of one sliding-window inference ({p.views} views of {p.window} "
        f"pixels from an image of {p.window}, canvas {p.canvas}), {classes} classes, text features cached, nothing "
        "pooled; layers in their published form, attention inside CLIP's image tower not counted.",
        "GFLOPs run: what this code executes, all attention counted.",
    ]
    kinds = {(t["device"], t["threads"], t["torch"], t["clock"]): t for t in timings}
    lines += [
        f"Time: median of {len(t['seconds'])} runs after {t['warmup']} to warm up, float32, image of {p.canvas} "
        f"pixels, from pixels to classes, by {t['clock']}, on a {t['machine']['kind']}: {t['device']}, "
        + (f"driver {t['machine']['driver']}, " if t["machine"]["driver"] else "")
        + f"torch {t['torch']}; random weights. Memory: peak, {t['memory_kind']}."
        + (" TOO FEW RUNS to be believed: a trial." if t["trial"] else "")
        for t in kinds.values()
    ]
    if not timings:
        lines.append("Time: not measured.")
    if any(t.get("saliency_share") is not None for t in timings):
        lines.append(
            "Saliency: all that divides the tokens, as a share of the method's forward pass (image tower included); by "
            "the same clock in runs of their own."
        )
    printed = shown_rows(plan, published)
    metrics = [metric for ways in PUBLISHED.values() for metric, _ in ways]
    asked = [(s.cell.run.row.published, m) for s in states for m in metrics if published != "none"]
    found = [find_published(selection, "", metric) for selection, metric in asked]
    origin = dict.fromkeys([*printed_sources(printed), *(f.source for f in found if f)])
    lines += ["Published: " + "; ".join(origin) + "."] if origin else []
    lines += printed_notes(printed)
    lines += table_remarks(plan)
    lines += [
        f"{s.cell.run.row.title}, {s.cell.run.tower.title} failed: {s.error}" for s in states if s.status == FAILED
    ]
    missing = sum(s.status != DONE for s in states)
    if missing:
        lines.append(f"{missing} of {len(states)} rows are not complete: run the same table again to fill them.")
    return lines


def cost_numbers(plan: Plan, states: Sequence[CostStatus]) -> Iterator[Number]:
    """Yield parameters (M), GFLOPs and seconds, measured and published, with the decimals the table prints."""
    shown = _shown(_printed(plan, states))
    for state in states:
        row, published = state.cell.run.row.id, state.published()
        for key, value in state.measured().items():
            if key not in shown:
                continue
            name = macro_name(plan.table.name, row, key)
            text = MISSING if value is None else f"{value:,.{DIGITS[key]}f}"
            yield name, text, "timed" if key in ("seconds", RATE) else "counted"
            printed = published[key]
            if printed is not None:
                yield f"{name}Published", f"{printed:,.{_digits(key, printed)}f}", "published"
