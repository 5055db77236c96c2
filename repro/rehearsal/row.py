"""The rehearsal of one row, in a process of its own: real training steps, a checkpoint, a resume, a few images.

    python -m repro.rehearsal.row PARENT JOB.json

What is measured is in ``report.json`` beside the job as soon as it is known, so that a row that is ended keeps what it
has. What raises is written down, and the next part goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import ReproError, RunError
from repro.files import read_json, write_json
from repro.launch.child import die_with
from repro.rehearsal.request import WARMUP, RehearsalRequest
from repro.runtime import prepare

if TYPE_CHECKING:
    from repro.methods.interface import Method
    from repro.runs.plan import Plan, Run

JOB, REPORT = "job.json", "report.json"
_NO_MEMORY = ("out of memory", "can't allocate memory", "alloc_cpu", "bad_alloc", "could not create a memory")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a process is told: ``row`` of the request's table, on ``device``, with the data below ``root``.

    ``parts``: how often a batch is divided, 0: the training is not tried. ``memory_gib``: as much as the row may take.
    """

    request: dict[str, Any]
    row: str
    device: str
    root: str | None
    parts: int
    memory_gib: float


class Report:
    """What is known of the row, on disk after every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Any] = {"doing": "starting", "weights": None, "training": None, "images": {}}
        self.values["errors"] = []
        self.say("building the method")

    def say(self, doing: str) -> None:
        """Note what is being done."""
        self.values["doing"] = doing
        write_json(self.path, self.values)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Note what the block raises as the failure of ``name``."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever a method does: the other parts are tried all the same
            self.values["errors"].append({"part": name, **failure(error)})
            traceback.print_exc()
            self.say(f"{name} failed")


def failure(error: Exception) -> dict[str, Any]:
    """Describe an error: ``kind`` is ``memory``, ``known`` (with the way out it gives) or ``defect``."""
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return {"kind": "memory", "error": text.splitlines()[0] if text else "no memory", "mend": None}
    if isinstance(error, ReproError):
        found = f" ({error.found})" if error.found is not None else ""
        return {"kind": "known", "error": f"{error.message}{found}", "mend": error.mend}
    at = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(at.filename).name}, line {at.lineno}"
    return {"kind": "defect", "error": f"{type(error).__name__} in {where}: {text.splitlines()[0] if text else ''}",
            "mend": None}  # fmt: skip


def rehearse_row(plan: Plan, run: Run, job: Job, folder: Path, report: Report) -> None:
    """Rehearse ``run``: build its method, train it where it trains, show it a few images of every benchmark."""
    from repro.cost.timing import forget_peak, peak_mib

    request = RehearsalRequest.of_json(job.request)
    root = Path(job.root) if job.root else None
    forget_peak(job.device, free=True)
    start = peak_mib(job.device) or 0.0
    made: Method | None = None
    if run.train is not None and job.parts:
        with report.part("training"):
            made = _train(run, request, job, root, folder, report, start)
    gc.collect()
    method = made
    if method is None:
        with report.part("building"):
            method = _build(run, report)
    if method is not None:
        _evaluate(plan, method, request, job, root, folder, report, start)
    report.say("done")


def _build(run: Run, report: Report) -> Method:
    """Build the method on its tower, with random weights where the tower's own are not here."""
    from repro.clip.tower import build_tower
    from repro.methods.build import new_method

    assets, tower = run.assets, run.row.tower
    real = not assets.missing_tower(tower) and assets.tower_ready(tower) and not assets.kind_of(tower).random
    report.values["weights"] = "real" if real else "random"
    spec = assets.tower_spec(tower) if real else assets.untrained_tower(tower)
    return new_method(run.entry, build_tower(spec), run.options, run.seed)


def _train(
    run: Run, request: RehearsalRequest, job: Job, root: Path | None, folder: Path, report: Report, start: float
) -> Method:
    """Train for a few steps, stop at a checkpoint, go on from it in a method built anew."""
    from repro.cost.timing import forget_peak, peak_mib
    from repro.rehearsal.samples import sample
    from repro.rehearsal.steps import Enough, Steps
    from repro.runs.plan import train_set
    from repro.runs.store import FINAL_WEIGHTS
    from repro.training.checkpoint import FILE as CHECKPOINT
    from repro.training.settings import Placement
    from repro.training.train import train

    assert run.train is not None
    data, done = train_set(run.profile), WARMUP + request.steps
    settings = dataclasses.replace(run.train, iterations=done + 1, checkpoint_every=done, log_every=done + 1)
    pairs, origin = sample(data, root, settings.batch_size * (done + 1), folder / "train", "train")
    placement = Placement(job.parts, request.checkpoint_activations)
    work = folder / "training"
    forget_peak(job.device, free=True)

    def go(method: Method, steps: Steps) -> None:
        train(
            method, settings, pairs, data.prompt_names(), work, run.seed, False, job.device,
            method_name=run.entry.name, placement=placement, observers=[steps],
        )  # fmt: skip

    def told(steps: Steps) -> None:
        peak = peak_mib(job.device)
        report.values["training"] = steps.seconds[WARMUP:] and {
            "seconds_per_step": statistics.median(steps.seconds[WARMUP:]),
            "seconds": steps.seconds[WARMUP:],
            "waiting_s": statistics.median(steps.waits[WARMUP:]),
            "steps": len(steps.seconds) - WARMUP,
            "batch": settings.batch_size,
            "crop": settings.crop,
            "classes": min(settings.classes_per_step or len(data.prompt_names()), len(data.prompt_names())),
            "parts": job.parts,
            "checkpoint_activations": request.checkpoint_activations,
            "data": origin,
            "weights": report.values["weights"],
            "peak_mib": None if peak is None else peak - start,
            "checkpoint_mib": None,
            "weights_mib": None,
            "checkpoint_s": None,
            "resumed": False,
        }
        report.say(f"{len(steps.seconds)} of {done + 1} steps done")

    first = Steps(job.device, until=done, told=told)
    with contextlib.suppress(Enough):
        made = _build(run, report)
        report.say(f"0 of {done + 1} steps done")
        go(made, first)
    del made
    gc.collect()
    found = report.values["training"]
    found["checkpoint_mib"] = (work / CHECKPOINT).stat().st_size / 2**20
    found["checkpoint_s"] = first.pause
    report.say("going on from the checkpoint")
    method, again = _build(run, report), Steps(job.device)
    go(method, again)
    if again.first != done:
        raise RunError("the training did not go on from its checkpoint", expected=f"step {done}", found=again.first)
    found["weights_mib"], found["resumed"] = (work / FINAL_WEIGHTS).stat().st_size / 2**20, True
    if (peak := peak_mib(job.device)) is not None:
        found["peak_mib"] = peak - start
    report.say("resumed")
    return method


def _evaluate(
    plan: Plan,
    method: Method,
    request: RehearsalRequest,
    job: Job,
    root: Path | None,
    folder: Path,
    report: Report,
    start: float,
) -> None:
    """Run a few images of each benchmark through the evaluation's own loop; text features are drawn."""
    from repro.cost.timing import drawn_text, forget_peak, peak_mib
    from repro.evaluation.evaluate import evaluate
    from repro.rehearsal.samples import sample

    warm = False
    with drawn_text(method):
        for benchmark in plan.benchmarks:
            report.say(f"images of {benchmark.id}")
            with report.part(benchmark.id):
                own = folder / benchmark.id
                pairs, origin = sample(benchmark, root, request.images + WARMUP, own)
                forget_peak(job.device, free=True)
                for name, chosen in (("warm", pairs[:WARMUP]), ("measured", pairs[WARMUP:])):
                    if name == "warm" and warm:
                        continue
                    done = evaluate(
                        method, benchmark, chosen, plan.profile.protocol, own / name, job.device, False,
                        save_every=math.inf, share=True,
                    )  # fmt: skip
                warm, peak = True, peak_mib(job.device)
                report.values["images"][benchmark.id] = {
                    "seconds_per_image": done.record["seconds"]["total"] / request.images,
                    "measured": request.images,
                    "classes": len(benchmark.prompt_names()),
                    "data": origin,
                    "weights": report.values["weights"],
                    "peak_mib": None if peak is None else peak - start,
                }


def _limit(job: Job) -> None:
    """Let what takes more memory than there is fail in this process, before the machine ends another."""
    if job.device.startswith("cuda"):
        import torch

        index = torch.device(job.device).index or 0
        total = torch.cuda.get_device_properties(index).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(min(1.0, job.memory_gib / total), index)
        return
    with contextlib.suppress(OSError, ValueError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        used = next(int(line.split()[1]) for line in status if line.startswith("VmData:")) * 1024
        limit = used + int(job.memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def main() -> int:
    """Rehearse the row of the job file."""
    prepare()
    die_with(int(sys.argv[1]))
    path = Path(sys.argv[2])
    job = Job(**read_json(path))
    report = Report(path.with_name(REPORT))
    begin = time.monotonic()
    with report.part("starting"):
        plan = RehearsalRequest.of_json(job.request).plan()
        run = next(r for r in plan.runs if r.row.id == job.row)
        _limit(job)
        rehearse_row(plan, run, job, path.parent, report)
    report.values["seconds"] = time.monotonic() - begin
    report.say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
