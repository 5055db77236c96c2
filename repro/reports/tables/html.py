"""One self-contained HTML page of one or several tables: no network, no outside script, data inside as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

import repro
from repro.configuration.published import PrintedRow, Published, PublishedRows, also_published, find_published
from repro.datasets.vocabulary import first_synonym
from repro.files import write_text
from repro.reports.tables.evidence import Entry, Evidence, RowRuns
from repro.reports.tables.frame import notes
from repro.reports.tables.printed import around, rows_on
from repro.reports.tables.sheet import Sheet
from repro.runs.plan import Plan
from repro.runs.status import DONE
from repro.stats.interval import finite

CURVE_POINTS = 400
"""A longer training is thinned to so many points of its curve."""


@dataclasses.dataclass(frozen=True)
class Section:
    """One table of a page: what the template prints (``shown``) and what the page's script draws from (``data``)."""

    name: str
    title: str
    shown: Mapping[str, Any]
    data: Mapping[str, Any]


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page; raises ResourceError where ``path`` cannot be written."""
    environment = Environment(loader=PackageLoader("repro.reports.tables"), autoescape=True, trim_blocks=True)
    folder = resources.files("repro.reports.tables") / "templates"
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))
    data = json.dumps({s.name: s.data for s in sections}, allow_nan=False, separators=(",", ":"))
    page = environment.get_template("report.html.j2").render(
        title=title,
        sections=sections,
        style=style,
        script=script,
        data=Markup(data.replace("<", "\\u003c")),  # nothing in the data can end the script element
        version=repro.__version__,
    )
    write_text(path, page)


# -- tables of benchmarks -----------------------------------------------------------------------------------------
def table_section(evidence: Evidence, against: str | None = None, published: PublishedRows = "ours") -> Section:
    """Return the section of a table of benchmarks; differences are shown to the row ``against`` (Evidence.baseline).

    With ``all`` as ``published``, rows that the paper's table alone has stand around the others.
    """
    plan = evidence.plan
    sources: dict[str, Published] = {}
    ranges = {b.id: _range(evidence, b.id) for b in plan.benchmarks}
    best = {b.id: _best(evidence, b.id) for b in plan.benchmarks}
    rows: list[dict[str, Any]] = []
    cells: dict[str, dict[str, Any]] = {}
    pairs = around([row.runs[0].row for row in evidence.rows], rows_on(plan, published))
    for (above, _), row in zip(pairs, [*evidence.rows, None], strict=True):
        for p in above:
            rows.append(_printed_row(plan, p, f"printed-{len(rows)}", sources))
            cells |= _printed_records(plan, p, rows[-1]["id"])
        if row is None:
            continue
        line = []
        for b in plan.benchmarks:
            entry, printed = evidence.entry(row.id, b.id), _published(row, b.id) if published != "none" else []
            letters = [(p, _letter(sources, p)) for p in printed]
            line.append(_shown_cell(entry, letters, ranges[b.id], len(row.runs), best=row.id == best[b.id]))
            cells[f"{row.id}|{b.id}"] = _cell_record(evidence, row, b.id, entry, printed)
        rows.append({"id": row.id, "title": row.title, "tower": row.tower, "cells": line, "state": _state(row)})
    legend = [
        {"letter": letter, "source": p.source, "convention": p.convention, "note": p.note[:1].upper() + p.note[1:]}
        for letter, p in zip(_letters(len(sources)), sources.values(), strict=True)
    ]
    columns = [
        {"id": b.id, "title": b.title, "classes": b.num_classes, "images": _images(evidence, b.id)}
        for b in plan.benchmarks
    ]
    done = sum(c.status == DONE for c in evidence.cells)
    shown = {
        "kind": "benchmarks",
        "caption": plan.table.caption,
        "profile": {"name": plan.profile.name, "title": plan.profile.title, "comparable": plan.profile.comparable},
        "columns": columns,
        "rows": rows,
        "sources": legend,
        "notes": notes(plan, evidence.cells, published),
        "done": done,
        "cells": len(evidence.cells),
        "metric": evidence.metric.title,
        "charts": bool(evidence.finished()),
    }
    return Section(plan.table.name, plan.table.title, shown, {**_charts(evidence, against), "cells": cells})


def _printed_row(plan: Plan, printed: PrintedRow, name: str, sources: dict[str, Published]) -> dict[str, Any]:
    """Return a row that a paper alone has, as the template prints it."""
    found = {b.id: printed.values.get((b.id, "mIoU_percent")) for b in plan.benchmarks}
    line = []
    for b in plan.benchmarks:
        p = found[b.id]
        line.append(_shown_cell(None, [(p, _letter(sources, p))] if p else [], (0.0, 1.0), 0, best=False))
    about = ", ".join(filter(None, (printed.columns["feature_backbone"], printed.columns["train_set"])))
    return {"id": name, "title": printed.title, "tower": printed.vlm, "cells": line, "state": about}


def _printed_records(plan: Plan, printed: PrintedRow, name: str) -> dict[str, dict[str, Any]]:
    """Return what stands behind its cells: the published value and nothing that was computed."""
    label = ", ".join(filter(None, (printed.title, printed.vlm)))
    records = {}
    for b in plan.benchmarks:
        own = printed.values.get((b.id, "mIoU_percent"))
        values = [dataclasses.asdict(own)] if own else []
        records[f"{name}|{b.id}"] = {"row": label, "benchmark": b.id, "seeds": [], "published": values}
    return records


def _range(evidence: Evidence, benchmark: str) -> tuple[float, float]:
    """Return the scale of a column's interval bars, from the lowest end to the highest."""
    found = [e.result[0] for r in evidence.rows if (e := evidence.entry(r.id, benchmark))]
    low, high = min((e.low for e in found), default=0.0), max((e.high for e in found), default=1.0)
    return (low, high) if math.isfinite(low) and high > low else (0.0, 1.0)


def _best(evidence: Evidence, benchmark: str) -> str | None:
    found = {r.id: e.result[0].value for r in evidence.rows if (e := evidence.entry(r.id, benchmark))}
    return max(found, key=lambda i: found[i]) if len(found) > 1 else None


def _published(row: RowRuns, benchmark: str) -> list[Published]:
    selection = row.runs[0].row.published
    own = find_published(selection, benchmark)
    return [*([own] if own else []), *also_published(selection, benchmark)]


def _letters(count: int) -> list[str]:
    return [chr(97 + i) if i < 26 else f"{chr(96 + i // 26)}{chr(97 + i % 26)}" for i in range(count)]


def _letter(sources: dict[str, Published], printed: Published) -> str:
    sources.setdefault(f"{printed.source}|{printed.convention}|{printed.note}", printed)
    place = list(sources).index(f"{printed.source}|{printed.convention}|{printed.note}")
    return _letters(place + 1)[place]


def _shown_cell(
    entry: Entry | None, printed: Sequence[tuple[Published, str]], scale: tuple[float, float], seeds: int, *, best: bool
) -> dict[str, Any]:
    """Return the text of a cell, percent, and where its interval lies in the column's scale (0..100).

    ``seeds`` is how many there are to be; a mean of fewer says so.
    """
    cell: dict[str, Any] = {
        "published": [{"value": f"{p.value:.1f}", "letter": letter, "source": p.source} for p, letter in printed],
        "sort": None,
    }
    if entry is None:
        return cell
    value, spread = entry.result
    low, high = scale
    place = {n: 100 * (getattr(value, n) - low) / (high - low) for n in ("low", "value", "high")}
    cell |= {
        "sort": 100 * value.value,
        "text": f"{100 * value.value:.1f}",
        "sd": f"{100 * spread.sd:.1f}" if math.isfinite(spread.sd) else "",
        "interval": f"{100 * value.low:.1f} – {100 * value.high:.1f}" if math.isfinite(value.low) else "",
        "place": place if all(map(math.isfinite, place.values())) else None,
        "best": best,
        "short": f"{spread.seeds} of {seeds} seeds" if spread.seeds < seeds else "",
    }
    return cell


def _cell_record(
    evidence: Evidence, row: RowRuns, benchmark: str, entry: Entry | None, printed: Sequence[Published]
) -> dict[str, Any]:
    """Return all that is known of one cell, for its window: fractions in full precision."""
    own = [c for c in evidence.cells if (c.cell.run.row.id, c.cell.benchmark.id) == (row.id, benchmark)]
    states = {c.cell.run.seed: c for c in own}
    seeds = []
    for run in row.runs:
        state = states.get(run.seed)
        metrics = {k: v for k, v in ((state.metrics if state else None) or {}).items() if k != "per_class"}
        status = state.status if state else "missing"
        adopted = state.adopted if state else None
        seeds.append({"seed": run.seed, "run": run.id, "status": status, "adopted": adopted, "metrics": metrics})
    record: dict[str, Any] = {
        "row": row.label,
        "benchmark": benchmark,
        "seeds": seeds,
        "published": [dataclasses.asdict(p) for p in printed],
    }
    if entry is not None:
        value, spread = entry.result
        record["result"] = {**value.to_json(), "sd": finite(spread.sd), "over": spread.seeds}
    return record


def _state(row: RowRuns) -> str:
    seeds = sorted(run.seed for run in row.runs)
    return f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""


def _images(evidence: Evidence, benchmark: str) -> int | None:
    found = [e for r in evidence.rows if (e := evidence.entry(r.id, benchmark))]
    return len(next(iter(found[0].counts.values()))) if found else None


def _charts(evidence: Evidence, against: str | None) -> dict[str, Any]:
    """Return what the script draws: rows, classes of every benchmark, paired differences, curves, runs."""
    benchmarks = [b for b in evidence.plan.benchmarks if any(evidence.entry(r.id, b.id) for r in evidence.rows)]
    classes = {}
    for b in benchmarks:
        entries = {r.id: e for r in evidence.rows if (e := evidence.entry(r.id, b.id))}
        first = next(iter(entries.values()))
        classes[b.id] = {
            "names": [first_synonym(name) for name in b.class_names()],
            "kinds": list(b.class_kinds()),
            "images": first.class_images,
            "iou": {
                row: [round(float(v), 5) if np.isfinite(v) else None for v in e.class_iou] for row, e in entries.items()
            },
        }
    pairs = [
        {
            "a": a,
            "b": b,
            "differences": {
                name: {**d.difference.to_json(), "p": finite(d.p), "p_holm": finite(p)}
                for name, (d, p) in family.items()
            },
        }
        for (a, b), family in evidence.families().items()
    ]
    finished = evidence.finished()
    baseline = evidence.baseline(against).id if finished else None
    records = {run.id: evidence.provenance(run) or {} for row in evidence.rows for run in row.runs}
    runs = {name: {k: v for k, v in record.items() if k != "run"} for name, record in records.items()}
    return {
        "rows": [{"id": r.id, "title": r.title, "label": r.label} for r in evidence.rows],
        "finished": [r.id for r in finished],
        "baseline": baseline,
        "benchmarks": [b.id for b in benchmarks],
        "classes": classes,
        "pairs": pairs,
        "curves": _curves(evidence),
        "runs": {name: record for name, record in runs.items() if record},
    }


def _curves(evidence: Evidence) -> list[dict[str, Any]]:
    curves = []
    for row in evidence.rows:
        for run in row.runs:
            points = [
                (r["iteration"], r["loss"]) for r in evidence.losses(run) if math.isfinite(r.get("loss", math.nan))
            ]
            points = points[:: math.ceil(len(points) / CURVE_POINTS)] if points else []
            if points:
                values = [[i, float(f"{loss:.5g}")] for i, loss in points]
                curves.append({"row": row.id, "seed": run.seed, "run": run.id, "points": values})
    return curves


def sheet_section(plan: Plan, sheet: Sheet, records: Sequence[Mapping[str, Any]]) -> Section:
    """Make the section of a table that is printed as ``sheet``, with a record behind the cells of each row."""
    groups = [(name, len(list(members))) for name, members in groupby(sheet.columns, key=lambda c: c.group)]
    rows = [
        {"id": str(i), "values": [(r.get(c.key) or "", c.right) for c in sheet.columns]}
        for i, r in enumerate(sheet.rows)
    ]
    shown = {
        "kind": "sheet",
        "caption": plan.table.caption,
        "profile": {"name": plan.profile.name, "title": plan.profile.title, "comparable": plan.profile.comparable},
        "columns": sheet.columns,
        "groups": groups,
        "rows": rows,
        "notes": sheet.remarks,
        "charts": False,
    }
    theirs = {str(i): {"row": _title(sheet, i), "cost": dict(sheet.rows[i])} for i in sheet.italic}
    ours = [str(i) for i in range(len(rows)) if i not in sheet.italic]
    cells: dict[str, Mapping[str, Any]] = dict(zip(ours, records, strict=True))
    cells.update(theirs)
    return Section(plan.table.name, plan.table.title, shown, {"cells": cells})


def _title(sheet: Sheet, row: int) -> str:
    """Name a row that is a paper's alone."""
    name = sheet.rows[row].get(sheet.columns[0].key, "")
    return f"{name.removesuffix(' (published)')} (published)"
