"""A rehearsal from its request to its figures: every recipe of the table once, each in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repro.console import Log, duration, log
from repro.cost.estimate import Estimate
from repro.datasets.benchmarks import Benchmark
from repro.files import read_json, write_json
from repro.hardware import choose_device, free_memory_gib
from repro.locks import folder_lock, in_use
from repro.rehearsal.findings import findings_of
from repro.rehearsal.request import RehearsalRequest
from repro.rehearsal.result import Rehearsal, Row, checkpoint_mib
from repro.rehearsal.row import JOB, REPORT, Job
from repro.runs.calibration import number_of_images
from repro.runs.data import READY
from repro.runs.plan import Plan, Run
from repro.runs.recipe import counted_training
from repro.runs.rehearsed import FOLDER, keep, machine, recipe_key
from repro.runs.store import RunStore

_WORK = ".work-"
_POLL_S = 0.2
_RESERVE = 0.95
"""The part of the free memory that a row may take."""
_BEYOND = 1.2
"""What allocators and passing buffers take over what is counted of a step. With the checkpoint that a resume reads,
CAT-Seg with ViT-B/16 needs 9.9 GiB for one image and 171 classes, and took 9.9 on a CPU; 3.2 and 2.9 for 20 classes."""


def rehearse(request: RehearsalRequest, *, log: Log = log) -> Rehearsal:
    """Rehearse a table and return what was measured and what would fail; figures are kept for plans of this machine.

    Rows of one recipe are rehearsed once, each in its own process; one that fails does not stop the others. Raises
    UsageError for unknown names and tables of other kinds, ResourceError where the device is not there or the store
    cannot be written.
    """
    plan, device = request.plan(), choose_device(request.device)
    hardware, load = machine(request.device), os.getloadavg()[0]
    found: list[Row] = []
    memory = available_gib(request, device)
    with working_folder(plan.assets.store) as work:
        root = _data(plan, work, log)
        counts = {b.id: images_of_a_table(plan, b, root) for b in plan.benchmarks}
        groups = recipes(plan)
        for number, runs in enumerate(groups, start=1):
            log(f"{number}/{len(groups)} {runs[0].row.title}, {runs[0].tower.title}")
            row = _rehearse(request, plan, runs, device, root, work / str(number), log)
            if row.training or row.images:
                keep(runs[0], hardware, {"date": row.date, "training": row.training, "images": row.images})
            found.append(row)
        whole = Rehearsal(request, plan, device, hardware, memory, load, found, counts)
        return dataclasses.replace(whole, findings=findings_of(whole))


def images_of_a_table(plan: Plan, benchmark: Benchmark, root: Path | None) -> int:
    """Count the images a table is made with: the published number where fewer real ones are here."""
    here = number_of_images(benchmark, root)
    return here if plan.profile.synthetic else max(here, benchmark.split().num_images)


def recipes(plan: Plan) -> list[list[Run]]:
    """Group the runs of ``plan`` by what their time depends on."""
    groups: dict[str, list[Run]] = {}
    for run in plan.runs:
        groups.setdefault(recipe_key(run), []).append(run)
    return list(groups.values())


def available_gib(request: RehearsalRequest, device: str) -> float:
    """Return the memory in GiB that a row may take on ``device``."""
    if request.memory_gib is not None:
        return request.memory_gib
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0] / 2**30 * _RESERVE
    return free_memory_gib() * _RESERVE


@contextlib.contextmanager
def working_folder(store: RunStore) -> Iterator[Path]:
    """Yield a folder in the store's cache that is gone afterwards; rests of killed rehearsals are removed too."""
    home = store.cache / FOLDER
    for rest in home.glob(f"{_WORK}*"):
        if not in_use(rest):
            shutil.rmtree(rest, ignore_errors=True)
    work = home / f"{_WORK}{os.getpid()}"
    with folder_lock(work):
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            with contextlib.suppress(OSError):  # only where it holds no figures
                home.rmdir()


def _data(plan: Plan, work: Path, log: Log) -> Path | None:
    """Return the data root; data that a profile draws, and has not drawn yet, are drawn into ``work``."""
    root = plan.assets.data_root
    if not plan.profile.synthetic or (root is not None and (root / READY).is_file()):
        return root
    from repro.mini.draw import draw_miniature

    log("drawing the miniature for the rehearsal")
    draw_miniature(work / "data", plan.profile.data["seed"], plan.profile.data.get("sizes", {}))
    return work / "data"


def needed_gib(counted: Estimate) -> float:
    """Return the memory in GiB that a training needs, about, a resume included."""
    return _BEYOND * counted.memory_gib + checkpoint_mib(counted) / 1024


def parts_that_fit(run: Run, request: RehearsalRequest, memory_gib: float) -> tuple[int, float | None]:
    """Return into how many parts the batch of ``run`` is divided, and the GiB that one part needs, about.

    The least number that ``memory_gib`` has room for, or the one asked for; 0 where there is none. Nothing is counted
    where activations are computed again: what that saves is not known before.
    """
    assert run.train is not None
    batch = run.train.batch_size
    if request.checkpoint_activations:
        return request.accumulate or 1, None
    needed = 0.0
    for parts in [request.accumulate] if request.accumulate else [n for n in range(1, batch + 1) if batch % n == 0]:
        part = dataclasses.replace(run.train, batch_size=-(-batch // parts))
        needed = needed_gib(counted_training(run, part))
        if needed <= memory_gib:
            return parts, needed
    return 0, needed


def _rehearse(
    request: RehearsalRequest, plan: Plan, runs: list[Run], device: str, root: Path | None, folder: Path, log: Log
) -> Row:
    run, memory = runs[0], available_gib(request, device)
    parts, needed = 1, None
    row = Row(runs, datetime.now(UTC).isoformat(timespec="seconds"))
    if run.train is not None:
        row.counted = counted_training(run, run.train)
        row.whole_gib = needed_gib(row.counted)
        parts, needed = parts_that_fit(run, request, memory)
        row.parts, row.part_gib, row.room_gib = parts, needed, memory
    job = Job(request.to_json(), run.row.id, device, str(root) if root else None, parts, memory)
    report = _in_own_process(job, folder, request.minutes, row, log)
    row.training, row.images = report.get("training") or None, report.get("images", {})
    row.weights, row.errors = report.get("weights"), report.get("errors", [])
    shutil.rmtree(folder, ignore_errors=True)
    return row


def _in_own_process(job: Job, folder: Path, minutes: float | None, row: Row, log: Log) -> dict[str, Any]:
    """Run the row's process to its end, or until its time is over, and return what it reported."""
    folder.mkdir(parents=True)
    write_json(folder / JOB, dataclasses.asdict(job))
    words = [sys.executable, "-m", "repro.rehearsal.row", str(os.getpid()), str(folder / JOB)]
    begin, told = time.monotonic(), ""
    with (folder / "output.txt").open("wb") as output:
        # A group of its own, so that it ends with its loaders of images.
        process = subprocess.Popen(words, stdout=output, stderr=output, start_new_session=True)
        try:
            while process.poll() is None:
                time.sleep(_POLL_S)
                spent, doing = time.monotonic() - begin, _report(folder).get("doing", "")
                if doing not in (told, "done"):
                    log(f"    {doing} ({duration(spent)})")
                    told = doing
                if minutes is not None and spent > 60 * minutes:
                    row.stopped = f"{doing}, after {duration(spent)}"
                    break
        finally:
            if process.poll() is None:
                _end(process)
    report = _report(folder)
    if process.returncode and not row.stopped:
        row.ended = describe_end(process.returncode, report.get("doing", "starting"), folder / "output.txt")
    return report


def _report(folder: Path) -> dict[str, Any]:
    path = folder / REPORT
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def describe_end(code: int, doing: str, output: Path) -> str:
    """Say how a process ended that should not have."""
    if code == -signal.SIGKILL:
        return f"its process was killed while {doing}: the machine ran out of memory, or somebody ended it"
    last = output.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    return f"its process ended with code {code} while {doing}: {last[0]}"
