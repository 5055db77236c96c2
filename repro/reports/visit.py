"""What a visit to a GPU found (``repro bench --visit``), as one Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repro.cost.bench import DONE
from repro.reports.bench import bench_sheet, machine_line

Record = Mapping[str, Any]


def visit_document(summary: Record, found: Mapping[str, Sequence[Record]], tolerance: float) -> str:
    """Return all sections that were ``found`` as Markdown; ``tolerance`` is that of the correctness section."""
    machine = summary["machine"]
    lines = [f"# {machine['device']}", "", machine_line({"machine": machine}) + "."]
    if summary["quick"]:
        lines += ["", "A check of the script with tiny models and one run each: **no timing here means anything**."]
    if "correctness" in found:
        lines += ["", "## The same numbers as on the CPU", "", "| Method | CLIP | Largest | Median | Beyond "
                  f"{tolerance:g} | Same arg-max | |", "| :-- | :-- | --: | --: | --: | --: | :-- |"]  # fmt: skip
        lines += [
            f"| {r['title']} | {r['clip']} | {r['largest_difference']:.1e} | {r['median_difference']:.1e} | "
            f"{r['share_beyond_tolerance']:.3%} | {r['same_arg_max']:.3%} | {'passed' if r['passed'] else 'FAILED'} |"
            for r in found["correctness"]
        ]
        lines += ["", "Differences of logits, float32 and no TF32 on both, as a share of the largest logit."]
    for name in ("table2", "speedups", "scaling"):
        if found.get(name):
            sheet = bench_sheet(found[name], name).markdown()
            lines += ["", "#" + sheet.rstrip()]
    kept = [r for r in found.get("speedups", []) if r.get("same_arg_max") is not None]
    if kept:
        shares = "; ".join(f"{r['title']}, {r['precision']} {r['same_arg_max']:.2%}" for r in kept)
        lines += ["", f"Places that keep the class they have in float32: {shares}."]
    lines += steps_table(found.get("training", [])) + memory_table(found.get("memory", []))
    late = [f"{name}: {', '.join(points)}" for name, points in summary["left_out"].items() if points]
    if late:
        lines += ["", "Left out for want of time: " + "; ".join(late) + "."]
    return "\n".join(lines) + "\n"


def steps_table(records: Sequence[Record]) -> list[str]:
    """Return one line per method: a step with fast and deterministic kernels, and whether two trainings end alike."""
    if not records:
        return []
    lines = ["", "## Training steps", "",
             "| Method | CLIP | Crops, classes | ms | Same bits | MiB | ms, deterministic | Cost | Same bits | MiB |",
             "| :-- | :-- | --: | --: | :-- | --: | --: | --: | :-- | --: |"]  # fmt: skip
    for fast in (r for r in records if not r["deterministic"]):
        exact = next((r for r in records if r["deterministic"] and r["method"] == fast["method"]), None)
        cells = [fast["title"], fast["clip"], f"{fast['batch']} x {fast['crop']}, {fast['classes']}"]
        ms, bits, mib = _step_cells(exact)
        both = exact is not None and exact["status"] == fast["status"] == DONE
        cost = f"{exact['median'] / fast['median'] - 1:+.0%}" if exact is not None and both else ""
        cells += [*_step_cells(fast), ms, cost, bits, mib]
        lines.append(f"| {' | '.join(cells)} |")
    failed = [f"{r['title']}{', deterministic' * r['deterministic']}: {r['error']}" for r in records if "error" in r]
    lines += [
        "",
        "Median of the steps of two trainings from one seed, float32, AdamW; same bits: of all that trains.",
    ]
    return lines + (["", "Not possible: " + "; ".join(failed) + "."] if failed else [])


def _step_cells(record: Record | None) -> list[str]:
    """Return milliseconds, same bits, MiB."""
    if record is None:
        return ["", "", ""]
    if record["status"] != DONE:
        return ["not possible", "", ""]
    peak = record["peak_memory_mib"]
    return [f"{1e3 * record['median']:.1f}", "yes" if record["same_bits"] else "no", f"{peak:,.0f}" if peak else ""]


def memory_table(records: Sequence[Record]) -> list[str]:
    """Return one line per case and method."""
    if not records:
        return []
    lines = ["", "## Memory of one prediction", "", "| Method | CLIP | Case | MiB above the weights | Budget | |",
             "| :-- | :-- | :-- | --: | --: | :-- |"]  # fmt: skip
    for r in records:
        above = f"{r['above_mib']:,.0f}" if r.get("above_mib") is not None else r.get("error", "unknown")
        verdict = "within" if r["passed"] else "EXCEEDED"
        lines.append(f"| {r['title']} | {r['clip']} | {r['case']} | {above} | {r['budget_mib']:,} | {verdict} |")
    return lines
