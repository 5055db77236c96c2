"""Execution of a plan in this process: data, towers, trainings, evaluations; each only if it is not finished yet."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro import ranks
from repro.captions.training_set import CaptionSet, LabelFolder
from repro.errors import ReproError, UsageError
from repro.files import write_json, write_text
from repro.preemption import deferred
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.judging import evaluation_subject, training_subject
from repro.runs.gates.class_signal import check_class_signal, signal_subject
from repro.runs.gates.early import early_look
from repro.runs.plan import Cell, Plan, Run, train_set
from repro.runs.provenance import provenance
from repro.runs.status import BLOCKED, DONE, FAILED, CellStatus, adopted, cell_status, flag_of
from repro.runs.store import RunStore
from repro.training.settings import Placement

if TYPE_CHECKING:
    from repro.datasets.data_set import DataSet
    from repro.datasets.layout import Pair
    from repro.methods.interface import Method

Log = Callable[[str], None]


def execute(plan: Plan, *, device: str, log: Log, placement: Placement | None = None) -> list[CellStatus]:
    """Compute every missing cell of ``plan`` and return the state of all.

    A run that fails with a :class:`ReproError` leaves its cells ``failed`` with the reason and the others continue.
    KeyboardInterrupt passes through; what is finished stays finished, and the next call continues. Where processes
    are joined (:func:`joined`) all of them must call; they work on one run at a time, together.
    """
    from repro.launch import processes

    results: list[CellStatus] = []
    for run in plan.runs:
        states = [cell_status(plan, Cell(run, benchmark)) for benchmark in plan.benchmarks]
        open_ = [s.status not in (DONE, BLOCKED) for s in states]
        processes.check_same(open_, f"finished cells of {run.id}")
        if any(open_):
            _work_off(plan, run, states, device, log, placement)
        results += states
    return results


@contextlib.contextmanager
def joined(plan: Plan, device: str, log: Log) -> Iterator[str]:
    """Join the processes a launcher started for this command, if any, and yield the device of this one.

    The first one makes before what the runs of ``plan`` share: making towers may take hours, and does not divide.
    """
    if ranks.started() == 1:
        yield device
        return
    from repro.launch import processes

    if ranks.is_first():
        plan.assets.ensure_drawn(log)
        for tower in dict.fromkeys(run.row.tower for run in plan.runs if run.entry.tower):
            plan.assets.ensure_tower(tower)
        for run in plan.runs:  # while this process is alone: together they would wait for one another
            for subject in ([training_subject(run)] if run.train else []) + [evaluation_subject(run)]:
                run.assets.code.trace(subject)
            if run.train and run.profile.zero_shot_bar and train_set(run.profile).supervision == "masks":
                run.assets.code.token(signal_subject(run.assets, run.row.tower))
    with processes.group(device) as own:
        yield own


def _work_off(
    plan: Plan, run: Run, states: list[CellStatus], device: str, log: Log, placement: Placement | None
) -> None:
    from repro.launch import processes

    store = plan.assets.store
    try:
        plan.assets.ensure_drawn(log)
        method = ensure_trained(plan, run, device, log, placement)
    except ReproError as error:
        for state in states:
            if state.status not in (DONE, BLOCKED):
                state.status, state.error = FAILED, str(error)
        return
    for state in states:
        if state.status in (DONE, BLOCKED):
            continue
        try:
            with processes.held_by_first(store.lock(run.id)):
                state.metrics = _evaluate(plan, state.cell, method, device, log)
                state.flag, state.adopted = flag_of(plan, state.metrics), adopted(state.cell)
            state.status, state.stale = DONE, None
        except ReproError as error:
            state.status, state.error = FAILED, str(error)


def build_method(plan: Plan, run: Run, log: Log) -> Method:
    """Build the untrained method of ``run`` on its tower (which is made first where the profile trains its own)."""
    from repro.clip.tower import build_tower
    from repro.methods.build import new_method

    if not run.entry.tower:
        return new_method(run.entry, None, run.options, run.seed)
    if not plan.assets.tower_ready(run.row.tower):
        log(f"making {run.tower.title} in {plan.assets.tower_folder(run.row.tower)}")
    spec = plan.assets.ensure_tower(run.row.tower)
    return new_method(run.entry, build_tower(spec), run.options, run.seed)


def ensure_trained(plan: Plan, run: Run, device: str, log: Log, placement: Placement | None = None) -> Method:
    """Return the method of ``run`` with its final weights, trained (or resumed) first if they are not there."""
    from repro.launch import processes

    placement = placement or Placement()
    store = plan.assets.store
    method = build_method(plan, run, log)
    if run.train is None:
        with processes.held_by_first(store.lock(run.id)):
            processes.on_first(lambda: describe_run(run, device))
        return method.to(device).eval()
    from repro.methods.weights import load_weights

    weights = store.weights(run.id)
    if not processes.on_first(weights.is_file):
        from repro.training.train import train

        data = train_set(run.profile)
        labels = processes.on_first(lambda: _training_labels(run, data, method, log))
        check_class_signal(run, device, log)
        with processes.held_by_first(store.lock(run.id)), deferred():
            processes.on_first(lambda: describe_run(run, device, placement))
            log(f"training {run.row.title} on {run.tower.title}: {run.train.iterations} iterations ({run.id})")
            look, at = early_look(plan, run, device, log)
            started = time.monotonic()
            train(
                method,
                run.train,
                labels,
                data.prompt_names(),
                store.run(run.id),
                seed=run.seed,
                device=device,
                method_name=run.entry.name,
                placement=placement,
                evaluator=look,
                evaluate_every=at,
            )
            log(f"trained in {time.monotonic() - started:.0f} s")
    load_weights(method, weights, run.entry.name)
    return method.to(device).eval()


def _training_labels(run: Run, data: DataSet, method: Method, log: Log) -> Sequence[Pair] | LabelFolder:
    """Return images with their masks, made first where they can be, or the folder of their names.

    Raises UsageError where there are no masks and ``method`` learns from nothing else.
    """
    if not isinstance(data, CaptionSet):
        pairs = run.assets.ensure_pairs(data, "train", log)
        run.assets.compare(data)
        return pairs
    if method.supervision != data.supervision:
        raise UsageError(
            f"{run.entry.title} learns from {method.supervision}, and captions have none",
            expected=f"a method that learns from {data.supervision}",
            found=data.title,
            mend="leave --captions out",
        )
    return data.labels


def describe_run(run: Run, device: str, placement: Placement | None = None) -> None:
    """Write config.py (resolved), code.json (of what is trained) and provenance.json into the run's folder, once."""
    folder = run.place.path
    if (folder / "provenance.json").is_file():
        return
    if run.train is not None:
        inputs = run.assets.inputs(run.row.tower)
        write_json(folder / CODE, run.assets.code.record(training_subject(run), inputs))
    lines = [
        f"{key} = {value!r}" for key, value in {"profile": run.profile.name, "row": run.row.id, **run.facts}.items()
    ]
    header = '"""Resolved configuration of this run; its values are the run\'s address."""\n\n'
    write_text(folder / "config.py", header + "\n".join(lines) + "\n")
    placed = {"processes": ranks.started(), **dataclasses.asdict(placement or Placement())}
    facts = {"run": run.id, "asked": asked_of(run), **provenance(device), "placement": placed, "facts": run.facts}
    write_json(folder / "provenance.json", facts)


def asked_of(run: Run) -> dict[str, Any]:
    """Return what a run is called where it is asked for, as plain data: nothing is read out of its folder's name."""
    recipe = dict(run.tower.recipe)
    if "weights" not in recipe:  # an imported file is known by its content, wherever it lay
        recipe.pop("path", None)
    tower = {**dataclasses.asdict(run.tower), "recipe": recipe}
    return {
        "profile": run.profile.name,
        "row": run.row.id,
        "title": run.row.title,
        "method": run.entry.name,
        "tower": run.row.tower,
        "tower plan": tower,
        "seed": run.seed,
    }


def claim_evaluation(run: Run, folder: Path, key: str, facts: Mapping[str, Any]) -> Path:
    """Return the evaluation ``folder`` of ``run``, marked as that of ``key`` with the code that makes it."""
    if not (folder / CODE).is_file():
        inputs = run.assets.inputs(run.row.tower)
        write_json(folder / CODE, run.assets.code.record(evaluation_subject(run), inputs))
    return RunStore.claim(folder, key, facts)


def _evaluate(plan: Plan, cell: Cell, method: Method, device: str, log: Log) -> dict[str, Any]:
    from repro.clip.tower import keep_text
    from repro.evaluation.many import evaluate_together
    from repro.launch import processes

    run, benchmark = cell.run, cell.benchmark
    pairs = plan.assets.ensure_pairs(benchmark)
    keep_text(method, plan.assets.store.cache / "text")
    processes.on_first(lambda: plan.assets.compare(benchmark))
    facts = {
        "benchmark": benchmark.id,
        "protocol": cell.protocol_digest,
        "profile": run.profile.name,
        "data": run.assets.data_key(benchmark.id),
    }
    folder = processes.on_first(lambda: claim_evaluation(run, cell.place.path, cell.key, facts))
    log(f"evaluating {run.row.title} ({run.tower.title}, seed {run.seed}) on {benchmark.id}")
    evaluate_together(
        method,
        benchmark,
        pairs,
        run.profile.protocol,
        folder,
        plan.measures,
        device=device,
        data=run.assets.content_key(benchmark.id),
    )
    metrics = processes.on_first(lambda: RunStore.result(folder))
    assert metrics is not None, f"evaluate() ended without {folder}/metrics.json"
    return metrics
