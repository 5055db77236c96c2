"""Train and evaluate one run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.api.sets import OpenedSet, open_sets
from repro.configuration.tables import Table
from repro.console import Log, log, stdout_to_stderr
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.protocol import protocol_digest
from repro.errors import UsageError, WeightsError
from repro.hardware import choose_device
from repro.hashing import file_digest
from repro.interop.catalogues import is_elsewhere, opener
from repro.requests import UNTRAINED, EvalRequest, TrainRequest
from repro.runs.plan import Plan, Run, evaluation_key

if TYPE_CHECKING:
    from repro.methods.interface import Method
    from repro.methods.speedups import Speedups


def single_plan(run: Run) -> Plan:
    """Make a plan of one row, for what works on plans."""
    table = Table("single", run.row.title, run.row.title, (), "miou_gt", (run.row,))
    return Plan(table, run.profile, run.assets, (run,), ())


def train_run(request: TrainRequest, *, log: Log = log) -> Run:
    """Train, resume, or recognise as finished; the weights are ``run.assets.store.weights(run.id)``.

    Raises UsageError for a method that is not trained, and what a training raises.
    """
    run = trainable_run(request)
    if not run.assets.store.weights(run.id).is_file():
        from repro.runs.execute import ensure_trained, joined

        plan = single_plan(run)
        with stdout_to_stderr(), joined(plan, choose_device(request.device), log) as device:
            run.assets.ensure_drawn(log)
            ensure_trained(plan, run, device, log, request.placement)
    return run


def trainable_run(request: TrainRequest) -> Run:
    """Find the run to train; UsageError for a method that is not trained."""
    run = request.run.run()
    if run.train is None:
        raise UsageError(
            f"{run.entry.name} is not trained: it is evaluated from its CLIP weights alone",
            mend=request.run.command("eval", run),
        )
    return run


def evaluate_run(request: EvalRequest, *, log: Log = log) -> list[dict[str, Any]]:
    """Evaluate on each benchmark and return a row for each: what was evaluated on, and all figures (docs/json.md).

    Finished evaluations are read, not repeated. Raises DataError where a named benchmark has no data, WeightsError for
    weights that are absent or do not fit. Of an official checkpoint as weights the import is used.
    """
    from repro.launch import processes
    from repro.methods.speedups import Speedups, speed_up
    from repro.runs.execute import joined

    request = dataclasses.replace(request, weights=request.run.own(request.weights, log))
    run = request.run.run(request.weights, data="real")
    external = request.run.data_root if run.profile.synthetic else None
    chosen = [get_benchmark(b) for b in request.names if not is_elsewhere(b)]
    openers = [opener(b) for b in request.names if is_elsewhere(b)]
    with stdout_to_stderr(), joined(single_plan(run), choose_device(request.device), log) as device:
        skip = not request.benchmarks and external is not None
        own: dict[str, Any] = {"split": request.split, "limit": request.limit, "skip": skip}
        sets = processes.on_first(
            lambda: [
                *(open_sets(run.assets, chosen, external, log, **own) if chosen else []),
                *(open_it(limit=request.limit) for open_it in openers),
            ]
        )
        speedups = request.speedups or Speedups()
        speedups.check(device)
        method, weights = _method(request, run, device, log)
        fast, measures = speed_up(method, speedups, device).eval(), tuple(request.measures)
        job = _Evaluation(run, fast, weights, measures, device, log, speedups, request.save_predictions)
        return [job(opened, request.split) for opened in sets]


def _method(request: EvalRequest, run: Run, device: str, log: Log) -> tuple[Method, str]:
    from repro.runs.execute import ensure_trained

    if request.weights is not None:
        return load_named(run, request.weights, device, log)
    if run.train and not run.profile.synthetic and not run.assets.store.weights(run.id).is_file():
        raise WeightsError(
            f"{run.id} is not trained",
            expected=str(run.assets.store.weights(run.id)),
            mend=f"name --weights FILE, or train: {request.run.command('train', run)}",
        )
    return ensure_trained(single_plan(run), run, device, log, request.placement), "own"


def load_named(run: Run, weights: Path | str, device: str, log: Log = log) -> tuple[Method, str]:
    """Load the method of ``run`` with the weights in the file ``weights`` and their digest, or untrained for "none".

    Raises WeightsError for a file that is absent, no weights, of another method or of other options.
    """
    from repro.methods.weights import load_weights
    from repro.runs.execute import build_method

    method = build_method(single_plan(run), run, log)
    if weights == UNTRAINED:
        return method.to(device).eval(), "untrained"
    path = Path(weights)
    load_weights(method, path, run.entry.name)
    return method.to(device).eval(), file_digest(path, 12)


def evaluate_opened(
    run: Run, method: Method, weights: str, opened: OpenedSet, measures: tuple[str, ...], device: str, log: Log = log
) -> dict[str, Any]:
    """Evaluate ``method`` on an opened set, as :func:`evaluate_run` does; ``weights`` is what they are known by.

    ``own`` where they are those of ``run``. Raises what an evaluation raises.
    """
    from repro.methods.speedups import Speedups

    with stdout_to_stderr():
        return _Evaluation(run, method, weights, measures, device, log, Speedups())(opened, None)


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """What the evaluations of one call share."""

    run: Run
    method: Method
    weights: str
    measures: tuple[str, ...]
    device: str
    log: Log
    speedups: Speedups
    save: Path | None = None

    def __call__(self, opened: OpenedSet, split: str | None) -> dict[str, Any]:
        from repro.clip.same_text import read_classes, same_note
        from repro.clip.tower import keep_text
        from repro.evaluation.many import evaluate_together
        from repro.launch import processes
        from repro.methods.speedups import float32_products
        from repro.runs.execute import describe_run

        run, benchmark, method = self.run, opened.benchmark, self.method
        keep_text(method, run.assets.store.cache / "text")
        with processes.held_by_first(run.assets.store.lock(run.id)):
            processes.on_first(lambda: describe_run(run, self.device))
            folder = processes.on_first(lambda: self._claim(opened))
            images = opened.part or f"{len(opened.pairs)} images"
            self.log(f"evaluating {run.entry.title} on {benchmark.id}: {images}")
            asked = method.prompts(benchmark.prompt_names(), benchmark.background_index)
            if note := same_note(read_classes(method, asked), asked):
                self.log(f"{benchmark.id}: {note} (as published)")
            with float32_products(self.speedups.tf32):
                result = evaluate_together(
                    method,
                    benchmark,
                    opened.pairs,
                    run.profile.protocol,
                    folder,
                    self.measures,
                    device=self.device,
                    data="" if opened.drawn else opened.key,
                    save=self.save and self.save / benchmark.id,
                )
        return {
            "method": run.entry.name,
            "benchmark": benchmark.id,
            "profile": run.profile.name,
            "weights": self.weights,
            "precision": self.speedups.label(),
            "run": run.id,
            "folder": str(folder),
            "complete": not opened.part and len(opened.pairs) == benchmark.split(split).num_images,
            "num_images": len(opened.pairs),
            "part": opened.part,
            "protocol": protocol_digest(benchmark, run.profile.protocol),
            **result.metrics,
            **measured(folder, benchmark, self.measures),
            "labels": opened.labels,
        }

    def _claim(self, opened: OpenedSet) -> Path:
        """Mark the folder of the evaluation as that of its address."""
        from repro.runs.addresses.judging import evaluation_place
        from repro.runs.execute import claim_evaluation

        run, benchmark, speedups = self.run, opened.benchmark, self.speedups.facts()
        protocol = protocol_digest(benchmark, run.profile.protocol)
        key = evaluation_key(run, benchmark, opened.key, self.weights, speedups)
        facts: dict[str, Any] = {
            "benchmark": benchmark.id,
            "protocol": protocol,
            "profile": run.profile.name,
            "weights": self.weights,
            "data": opened.key,
        }
        facts |= {"speedups": speedups} if speedups else {}
        facts |= {"part": opened.part} if opened.part else {}
        usual = self.weights == "own" and not speedups and not opened.part
        place = evaluation_place(run, benchmark.id, key, protocol if usual else "", part=bool(opened.part))
        return claim_evaluation(run, place.path, key, facts)


def measured(folder: Path, benchmark: Benchmark, measures: tuple[str, ...]) -> dict[str, float | None]:
    """Read the figures of the ``measures`` that lie beside an evaluation."""
    if not measures:
        return {}
    from repro.metrics.counts import Counts
    from repro.metrics.measured import counted_measures, read_measure
    from repro.stats.metrics import seen_metrics

    records = [read_measure(folder, name, benchmark) for name in counted_measures(measures)]
    found = {name: value for record in records if record for name, value in record["values"].items()}
    return found | (seen_metrics(Counts.load(folder / "counts.npz"), benchmark) if "seen" in measures else {})
