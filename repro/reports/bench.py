"""Timings of ``repro bench`` as JSON, CSV, Markdown and, where an axis has several points, a figure of the scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from repro.console import log, stdout_to_stderr
from repro.cost.bench import DONE, FORMAT
from repro.errors import ResourceError
from repro.files import write_json, write_text
from repro.measuring.bench import BenchRequest, measure_bench
from repro.mends import install
from repro.reports.tables.sheet import Column, Sheet, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Record = Mapping[str, Any]
STAGE_ORDER = ("clip", "saliency", "aggregation", "decoder", "other", "windows")
AXES = {"classes": "classes", "size": "image side (pixels)", "batch": "images at once"}
MEMORY = "working_memory_mib"


def make_bench(request: BenchRequest) -> list[Record]:
    """Measure what is asked for, write the files and return the records; what was measured is kept after Ctrl-C too.

    Raises what :func:`repro.measuring.bench.measure_bench` does, and ResourceError where the figure lacks matplotlib.
    """
    records: list[Record] = []
    try:
        with stdout_to_stderr():
            for record in measure_bench(request):
                records.append(record)  # noqa: PERF402 (kept one by one)
    finally:
        if records:
            _write(records, request)
    return records


def _write(records: Sequence[Record], request: BenchRequest) -> None:
    paths = write_bench(records, request.folder, request.name, title=f"Timings (profile {records[0]['profile']})")
    try:
        paths += write_scaling(records, request.folder, f"{request.name}_scaling")
    except ImportError as error:
        raise ResourceError(
            "the figure needs matplotlib; the tables are written",
            mend=install(),
        ) from error
    for path in paths:
        log(f"wrote {path}")


def write_bench(records: Sequence[Record], folder: Path, name: str = "bench", *, title: str = "Timings") -> list[Path]:
    """Write <name>.json, .csv and .md into ``folder`` and return their paths."""
    paths = [folder / f"{name}.{ending}" for ending in ("json", "csv", "md")]
    write_json(paths[0], {"format": FORMAT, "rows": [dict(r) for r in records]})
    write_text(paths[1], bench_frame(records).to_csv(index=False))
    write_text(paths[2], bench_sheet(records, title).markdown())
    return paths


def bench_frame(records: Sequence[Record]) -> pd.DataFrame:
    """Make one row per record; stages, clocks and the machine as columns of their own."""
    rows = []
    for record in records:
        row = {k: v for k, v in record.items() if k not in ("stages", "clocks", "machine", "speedups")}
        row |= {f"seconds_{stage}": (record.get("stages") or {}).get(stage) for stage in STAGE_ORDER}
        row |= {f"clock_{k}": v for k, v in (record.get("clocks") or {}).items()}
        rows.append(row | {k: v for k, v in (record.get("machine") or {}).items() if k not in row})
    return pd.DataFrame(rows)


def bench_sheet(records: Sequence[Record], title: str = "Timings") -> Sheet:
    """Show timings, stages and counts, with the machine in the remarks."""
    columns = [Column("title", "Method"), Column("clip", "CLIP"), Column("precision", "Precision")]
    columns += [Column(k, h, right=True) for k, h in (("classes", "Classes"), ("size", "Side"), ("batch", "Batch"))]
    columns += [Column(k, h, "s", right=True) for k, h in (("median", "Median"), ("p10", "10 %"), ("p90", "90 %"))]
    if any(r.get("cpu_seconds") for r in records):
        columns.append(Column("cpu", "CPU", "s", right=True))
    columns += [Column("peak", "Peak", "MiB", right=True), Column("working", "Working", "MiB", right=True)]
    stages = [s for s in STAGE_ORDER if any(s in (r.get("stages") or {}) for r in records)]
    columns += [Column(f"stage_{s}", s, "stages, ms", right=True) for s in stages]
    columns += [Column("share", "Saliency, % of forward", right=True)] if "saliency" in stages else []
    columns += [Column("gflops", "Published form", "GFLOPs", right=True), Column("run", "Run", "GFLOPs", right=True)]
    machines = dict.fromkeys(machine_line(r) for r in records if r["status"] == DONE)
    caption = "; ".join(machines) or "Nothing was measured."
    return Sheet(title, caption, "tab:bench", columns, [_cells(r) for r in records], _remarks(records))


def _cells(record: Record) -> dict[str, str]:
    share = record.get("saliency_share")
    seconds = {"median": "seconds", "p10": "seconds_p10", "p90": "seconds_p90"}
    return {
        **{k: str(record[k]) for k in ("title", "clip", "precision", "classes", "size", "batch")},
        **{k: _significant(record.get(key)) for k, key in seconds.items()},
        "cpu": _significant(record.get("cpu_seconds")),
        "peak": number(record.get("peak_memory_mib"), 0),
        "working": number(record.get("working_memory_mib"), 0),
        **{f"stage_{stage}": _significant(1e3 * s) for stage, s in (record.get("stages") or {}).items()},
        "share": number(None if share is None else 100 * share, 1),
        "gflops": number(record.get("gflops"), 1),
        "run": number(record.get("gflops_executed"), 1),
    }


def _significant(value: float | None) -> str:
    """Write ``value`` with three significant digits."""
    if value is None:
        return ""
    return number(value, max(0, 2 - math.floor(math.log10(value)))) if value > 0 else "0"


def machine_line(record: Record) -> str:
    """Say ``Measured on a CPU: ..`` or ``Measured on a GPU: ..`` with driver and versions."""
    machine = record["machine"]
    words = [f"Measured on a {machine['kind']}: {machine['device']}"]
    words += [f"driver {machine['driver']}"] if machine.get("driver") else []
    words += [f"torch {machine['torch']}"] + ([f"CUDA {machine['cuda']}"] if machine.get("cuda") else [])
    return ", ".join([*words, machine["date"][:10]])


def _remarks(records: Sequence[Record]) -> list[str]:
    done = [r for r in records if r["status"] == DONE]
    kinds = dict.fromkeys((r["runs"], r["warmup"], r["clock"], r["trial"]) for r in done)
    lines = [
        f"Time: {runs} runs after {warmup} to warm up, by {clock}, images from pixels to class indices by the sliding "
        "window; random weights, text features drawn." + (" TOO FEW RUNS to be believed: a trial." if trial else "")
        for runs, warmup, clock, trial in kinds
    ]
    lines += [f"Peak: {kind}; working: beyond what is held before the first inference." for kind in
              dict.fromkeys(r["memory_kind"] for r in done)]  # fmt: skip
    if any(r.get("cpu_seconds") for r in done):
        lines.append("CPU: median seconds the process computed, all threads together; other work is not in it.")
    if any(r.get("stages") for r in done):
        lines.append("Stages: medians of runs of their own; windows is all outside the method (resizing, arg-max).")
    clocks = [c for c in (r.get("clocks") for r in done) if c]
    for key in dict.fromkeys(k for c in clocks for k in c):
        values = [c[key] for c in clocks if c.get(key) is not None]
        if values:
            lines.append(f"{key} after the runs: {min(values):.4g} to {max(values):.4g}.")
    lines += [f"{r['title']}, {r['clip']}, {r['classes']} classes, {r['size']} px, batch {r['batch']}, "
              f"{r['precision']}: {r['error']}" for r in records if r["status"] != DONE]  # fmt: skip
    return lines


def scaling_figure(records: Sequence[Record]) -> Figure | None:
    """Plot time and working memory against classes, image side and batch, a line per method, tower and precision.

    An axis shows the records that agree in the other two with most of all; None where no axis has two points.
    """
    done = [r for r in records if r["status"] == DONE]
    base = {axis: pd.Series([r[axis] for r in done]).mode().iloc[0] for axis in AXES} if done else {}
    series = {axis: _lines(done, axis, base) for axis in AXES}
    shown = [axis for axis in AXES if any(len(line) > 1 for line in series[axis].values())]
    if not shown:
        return None
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

    from repro.reports.figures.plot_style import COLOURS, MARKERS, new_figure

    # On a CPU that others use too, the wall clock also counts their work.
    time = {"cpu_seconds": "CPU seconds"} if all(r.get("cpu_seconds") for r in done) else {"seconds": "seconds"}
    values = {**time, MEMORY: "working memory (MiB)"}
    figure, axes = new_figure(2.3 * len(shown) + 0.4, 4.6, len(values), len(shown), sharex="col")
    names = list(dict.fromkeys(name for axis in shown for name in series[axis]))
    for column, axis in enumerate(shown):
        for row, (value, heading) in enumerate(values.items()):
            panel = axes[row, column]
            for name, line in series[axis].items():
                points = [(r[axis], r[value]) for r in line if r[value] is not None]
                place = names.index(name)
                panel.plot(*zip(*points, strict=True), color=COLOURS[place % len(COLOURS)],
                           marker=MARKERS[place % len(MARKERS)], markersize=4, linewidth=1.2, label=name)  # fmt: skip
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.xaxis.set_minor_locator(NullLocator())
            panel.set_xticks(sorted({r[axis] for line in series[axis].values() for r in line}))
            panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.yaxis.set_minor_formatter(NullFormatter())
            if column == 0:
                panel.set_ylabel(heading)
        axes[-1, column].set_xlabel(AXES[axis])
    handles = {h.get_label(): h for panel in axes.flat for h in panel.get_lines()}
    figure.legend(handles=[handles[n] for n in names if n in handles], loc="outside lower center", ncols=2, fontsize=7)
    fixed = f"{base['classes']} classes, {base['size']} pixels, images at once: {base['batch']}"
    figure.suptitle(f"{machine_line(done[0])}\nwhat does not vary: {fixed}", fontsize=7)
    return figure


def _lines(records: Sequence[Record], axis: str, base: Mapping[str, Any]) -> dict[str, list[Record]]:
    """Return records along ``axis`` by what they are of, in its order."""
    lines: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda r: float(r[axis])):
        if all(record[other] == base[other] for other in AXES if other != axis):
            name = f"{record['title']}, {record['clip']}, {record['precision']}"
            lines.setdefault(name, []).append(record)
    return lines


def write_scaling(records: Sequence[Record], folder: Path, name: str = "bench_scaling") -> list[Path]:
    """Save the figure of :func:`scaling_figure` as PDF and SVG; no path where there is nothing to show."""
    from matplotlib import rc_context

    from repro.reports.figures.plot_style import STYLE, save

    with rc_context(STYLE):
        figure = scaling_figure(records)
        return save(figure, folder, name) if figure else []
