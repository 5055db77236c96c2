"""A visit to a GPU, from the sections that were asked for to the folder of its results."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import torch

from repro.console import log
from repro.cost import bench
from repro.cost.machine import machine_facts
from repro.errors import ResourceError, UsageError, check_known, command
from repro.files import read_json, write_json, write_text
from repro.paths import DEFAULT_RESULTS
from repro.reports.bench import write_bench, write_scaling
from repro.reports.visit import visit_document
from repro.visit.sections import SECTIONS, TOLERANCE, Record, Visit

FILE = "gpu.json"
BUDGET_S = 540


@dataclasses.dataclass(frozen=True)
class VisitRequest:
    """What to measure where: ``sections`` of :data:`SECTIONS` (default: all), at most ``budget_s`` seconds.

    ``quick``: tiny models and one run each, which checks the way and measures nothing. ``results`` is the folder to
    write (default: ./results/<device>).
    """

    device: str = "cuda"
    quick: bool = False
    sections: tuple[str, ...] = tuple(SECTIONS)
    budget_s: float = BUDGET_S
    results: Path | None = None


def visit(request: VisitRequest) -> bool:
    """Run the sections and write what each measured; later visits to the same machine add theirs.

    Returns whether the device computes what the CPU does and keeps the memory budget. Raises ResourceError without
    the device, UsageError for an unknown section and for a folder with results of another machine.
    """
    if request.device != "cpu" and not torch.cuda.is_available():
        raise ResourceError(
            "a visit needs a GPU",
            expected="a CUDA device that torch can see",
            found=f"none (torch {torch.__version__})",
            mend=command("repro", "bench", "--visit", "--device", "cpu", "--quick"),
        )
    check_known("section", request.sections, SECTIONS, mend="repro bench --help")
    machine = machine_facts(request.device)
    now = Visit(request.device, request.quick, request.budget_s)
    folder = request.results or DEFAULT_RESULTS / slug(machine["device"])
    summary, found = resumed(folder, request.quick, machine)
    for name in request.sections:
        log(f"section {name}")
        begin, now.left_out = time.monotonic(), []
        found[name] = SECTIONS[name](now)
        summary["seconds"][name] = round(time.monotonic() - begin, 1)
        summary["dates"][name] = machine["date"]
        summary["left_out"][name] = now.left_out
        write_json(folder / FILE, {**summary, **found})
        write_text(folder / "README.md", visit_document(summary, found, TOLERANCE))
        if name in ("table2", "scaling", "speedups"):
            write_bench(found[name], folder, name, title=name)
    try:
        write_scaling(found.get("scaling", []), folder, "scaling_figure")
    except ImportError:
        log("no figure: matplotlib is not installed")
    log(f"wrote {folder}")
    judged = [*found.get("correctness", []), *(found.get("memory", []) if request.device != "cpu" else [])]
    return all(record["passed"] for record in judged)


def resumed(folder: Path, quick: bool, machine: Record) -> tuple[Record, dict[str, list[Record]]]:
    """Return the summary and the sections that an earlier visit with the same device and versions left in ``folder``.

    Raises UsageError where the results there are of another kind: they are not overwritten.
    """
    summary: Record = {"format": bench.FORMAT, "quick": quick, "machine": machine}
    summary.update({"seconds": {}, "dates": {}, "left_out": {}})
    file = folder / FILE
    if not file.is_file():
        return summary, {}
    old = read_json(file)
    facts = ("device", "driver", "cuda", "torch")
    here, there = (
        {"quick": q, **{k: m.get(k) for k in facts}} for q, m in ((quick, machine), (old["quick"], old["machine"]))
    )
    if here != there:
        raise UsageError(
            f"{folder} holds results of another machine or version",
            expected=here,
            found=there,
            mend="--results ANOTHER_FOLDER",
        )
    summary.update({name: old[name] for name in ("seconds", "dates", "left_out")})
    return summary, {name: old[name] for name in SECTIONS if name in old}


def slug(device: str) -> str:
    """Name a folder after a device: ``NVIDIA H200`` -> ``h200``."""
    words = re.sub(r"[^a-z0-9]+", "-", device.lower().removeprefix("nvidia ").partition(",")[0])
    return words.strip("-")
