"""Control tables: learned by heart, apart at the start, better for training, taught by a better teacher.

Trainings and evaluations are those of Table 1. What else is measured is kept in the store's cache under the run's
address and everything it depends on; other tables read it there for their footnotes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.controls.criteria import Verdict, judge_overfit, judge_start, judge_teacher, judge_trained
from repro.errors import ReproError
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.mends import Missing
from repro.runs.addresses.judging import TOWER, evaluation_subject
from repro.runs.execute import build_method, execute
from repro.runs.plan import Cell, Plan, Run, train_set
from repro.runs.provenance import provenance
from repro.runs.status import BLOCKED, DONE, FAILED, MISSING, plan_status
from repro.runs.store import RunStore
from repro.traces.subject import Subject

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.methods.interface import Method

OVERFIT, START, TRAINED, TEACHER = "overfit", "start", "trained", "teacher"
TITLES = {
    OVERFIT: "(a) learned by heart",
    START: "(b) classes apart at the start",
    TRAINED: "(c) better for training",
    TEACHER: "(d) a better teacher",
}
IMAGES = 8
"""Training images that are learned by heart, and read at the start."""
STEPS = 1000
"""Steps of that training, where the profile does not say."""
_ROOTS = {OVERFIT: "repro.controls.overfit:overfit", START: "repro.controls.start:start"}


@dataclasses.dataclass(frozen=True)
class Control:
    """One control of a run."""

    run: Run
    kind: str
    benchmarks: tuple[Benchmark, ...] = ()
    """Those a training must pay on."""
    seen: tuple[str, ...] = ()
    """Those of them on which it must exceed zero-shot CLIP."""

    @cached_property
    def folder(self) -> Path:
        """Where what is measured of the run's controls is kept."""
        return self.run.assets.store.cache / "controls" / self.run.address

    @cached_property
    def file(self) -> Path:
        """The measurement of :data:`OVERFIT` or :data:`START`, named by all it depends on."""
        asked = Subject(f"control {self.kind}", (_ROOTS[self.kind], self.run.entry.build, TOWER), None, None)
        assets = self.run.assets
        parts = [self.settings, assets.data_key(train_set(self.run.profile).id), assets.inputs(self.run.row.tower)]
        return self.folder / f"{self.kind}-{digest([*parts, assets.code.token(asked)], 10)}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What the profile says of the control."""
        return {"images": IMAGES, "steps": STEPS, **self.run.profile.controls}

    def untrained(self, benchmark: str) -> Path:
        """Return the evaluation of the run's method before its training."""
        cell = next(c for c in self.cells if c.benchmark.id == benchmark)
        token = self.run.assets.code.token(evaluation_subject(self.run))
        return self.folder / "untrained" / f"{benchmark}-{digest([cell.key, token], 10)}"

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The run on the benchmarks."""
        return tuple(Cell(self.run, b) for b in self.benchmarks)


@dataclasses.dataclass
class ControlStatus:
    """One control: ``done`` with its ``verdict``, ``missing``, ``blocked`` (waits for data or weights), ``failed``."""

    control: Control
    status: str
    verdict: Verdict | None = None
    error: str | None = None
    needs: list[Missing] = dataclasses.field(default_factory=list)

    def to_json(self, table: str) -> dict[str, Any]:
        """Return one flat object; the keys are an interface and documented in docs/json.md."""
        run = self.control.run
        return {
            "table": table,
            "row": run.row.id,
            "title": run.row.title,
            "method": run.entry.name,
            "tower": run.tower.title,
            "seed": run.seed,
            "profile": run.profile.name,
            "control": self.control.kind,
            "status": self.status,
            "holds": None if self.verdict is None else self.verdict.holds,
            "text": None if self.verdict is None else self.verdict.text,
            "error": self.error,
        }


def controls_of(run: Run, benchmarks: Sequence[Benchmark] = (), seen: Sequence[str] = ()) -> list[Control]:
    """Return the controls that make sense for ``run``."""
    kinds = [OVERFIT, START, TRAINED] if run.entry.trainable else []
    kinds += [TEACHER] if run.assets.kind_of(run.row.tower).premise else []
    named = {b.id for b in benchmarks}
    return [Control(run, kind, tuple(benchmarks), tuple(s for s in seen if s in named)) for kind in kinds]


def control_status(plan: Plan) -> list[ControlStatus]:
    """Return the state of every control now, without computing anything."""
    reference = _zero_shot(plan)
    blocked: dict[str, list[Missing]] = {}
    for cell in plan_status(plan):
        if cell.status == BLOCKED:
            blocked.setdefault(cell.cell.run.address, []).extend(cell.needs)
    found = []
    for run in plan.runs:
        for control in controls_of(run, plan.benchmarks, plan.table.seen):
            verdict = _verdict(control, reference)
            state = DONE if verdict is not None else BLOCKED if run.address in blocked else MISSING
            needs = blocked[run.address] if state == BLOCKED else []
            found.append(ControlStatus(control, state, verdict, needs=needs))
    return found


def failed_controls(runs: Iterable[Run]) -> list[tuple[Run, str, Verdict]]:
    """Return run, title and verdict of every control that was measured and does not hold; reads files only."""
    found = []
    for run in runs:
        for control in controls_of(run):
            if control.kind != TEACHER and not control.folder.is_dir():
                continue
            verdict = _stored(control)
            if verdict is not None and not verdict.holds:
                found.append((run, TITLES[control.kind], verdict))
    return found


def _stored(control: Control) -> Verdict | None:
    if control.kind == TRAINED:
        path = control.folder / "trained.json"
        record = read_json(path) if path.is_file() else None
        return Verdict(record["holds"], record["text"]) if record and record["run"] == control.run.id else None
    return _verdict(control, {})


def _verdict(control: Control, zero_shot: dict[str, float]) -> Verdict | None:
    run = control.run
    if control.kind == TEACHER:
        path = run.assets.tower_folder(run.row.tower) / run.assets.kind_of(run.row.tower).premise
        premise = read_json(path).get("premise") if path.is_file() else None
        return judge_teacher(premise) if premise else None
    if control.kind == TRAINED:
        return _judge_trained(control, zero_shot)
    if not control.file.is_file():
        return None
    record = read_json(control.file)
    if control.kind == START:
        return judge_start(record["measured"])
    return judge_overfit(record["measured"], record["supervision"])


def _judge_trained(control: Control, zero_shot: dict[str, float]) -> Verdict | None:
    wanted = [b for b in control.seen if b not in zero_shot]
    own = {c.benchmark.id: RunStore.result(c.place.path) for c in control.cells}
    before = {b: RunStore.result(control.untrained(b)) for b in own}
    if wanted or any(r is None for r in (*own.values(), *before.values())):
        return None
    trained, untrained = ({b: r["miou_gt"] for b, r in found.items() if r is not None} for found in (own, before))
    return judge_trained(trained, untrained, zero_shot, control.seen)


def _zero_shot(plan: Plan) -> dict[str, float]:
    """Return mIoU of the first row that needs no training and whose tower is made from no other, by benchmark."""
    for run in plan.runs:
        if not run.entry.trainable and not run.assets.tower_parts(run.row.tower):
            results = {b.id: RunStore.result(Cell(run, b).place.path) for b in plan.benchmarks}
            return {b: r["miou_gt"] for b, r in results.items() if r is not None}
    return {}


def measure_controls(
    plan: Plan, states: Sequence[ControlStatus], device: str, log: Callable[[str], None]
) -> list[ControlStatus]:
    """Measure every control that is missing and return the states after; one that fails says why, others continue."""
    plan.assets.ensure_drawn(log)
    errors: dict[tuple[str, str], str] = {}
    open_ = [s.control for s in states if s.status == MISSING]
    for kind, work in ((START, _measure_start), (OVERFIT, _measure_overfit)):
        for control in (c for c in open_ if c.kind == kind):
            _try(plan, control, work, device, log, errors)
    if any(c.kind in (TRAINED, TEACHER) for c in open_):
        named = {c.run.address for c in open_}
        kept = [r for r in plan.runs if r.address in named or not r.entry.trainable]
        for cell in execute(dataclasses.replace(plan, runs=tuple(kept)), device=device, log=log):
            if cell.status == FAILED:
                run = cell.cell.run
                errors.update({(run.address, k): cell.error or "" for k in (TRAINED, TEACHER)})
        for control in (c for c in open_ if c.kind == TRAINED):
            _try(plan, control, _measure_untrained, device, log, errors)
    after = control_status(plan)
    for state in after:
        control = state.control
        if state.verdict is None and (key := (control.run.address, control.kind)) in errors:
            state.status, state.error = FAILED, errors[key]
        if control.kind == TRAINED and state.verdict is not None:
            write_json(control.folder / "trained.json", {"run": control.run.id, **dataclasses.asdict(state.verdict)})
    return after


def _try(
    plan: Plan,
    control: Control,
    work: Callable[[Control, Method, str, Callable[[str], None]], None],
    device: str,
    log: Callable[[str], None],
    errors: dict[tuple[str, str], str],
) -> None:
    run = control.run
    try:
        log(f"control {TITLES[control.kind]}: {run.row.title} ({run.tower.title})")
        work(control, build_method(plan, run, log).to(device), device, log)
    except ReproError as error:
        errors[run.address, control.kind] = str(error)


def _images(control: Control, method: Method) -> tuple[Any, Any]:
    from repro.controls.images import squares

    pairs = control.run.assets.ensure_pairs(train_set(control.run.profile), "train")
    side: int = method.get_submodule("clip").resolution  # type: ignore[assignment]
    return squares(pairs, control.settings["images"], side)


def _measure_start(control: Control, method: Method, device: str, log: Callable[[str], None]) -> None:
    from repro.controls.start import start

    images, _ = _images(control, method)
    names = train_set(control.run.profile).prompt_names()
    _keep(control, method, dataclasses.asdict(start(method, images, names)), device)


def _measure_overfit(control: Control, method: Method, device: str, log: Callable[[str], None]) -> None:
    import torch

    from repro.controls.images import only_present
    from repro.controls.overfit import overfit
    from repro.runs.progress import count_progress

    names = train_set(control.run.profile).prompt_names()
    images, labels = _images(control, method)
    labels, present = only_present(labels, len(names))
    assert control.run.train is not None
    torch.manual_seed(control.run.seed)
    with count_progress(f"{control.run.row.title} by heart", "step") as update:
        found = overfit(
            method, images, labels, [names[c] for c in present], control.run.train, control.settings["steps"], update
        )
    _keep(control, method, dataclasses.asdict(found), device)


def _measure_untrained(control: Control, method: Method, device: str, log: Callable[[str], None]) -> None:
    from repro.evaluation.many import evaluate_together

    run = control.run
    for cell in control.cells:
        folder = control.untrained(cell.benchmark.id)
        if RunStore.result(folder) is None:
            log(f"evaluating {run.row.title} before its training on {cell.benchmark.id}")
            facts = {"benchmark": cell.benchmark.id, "protocol": cell.protocol_digest, "weights": "none"}
            evaluate_together(
                method,
                cell.benchmark,
                run.assets.ensure_pairs(cell.benchmark),
                run.profile.protocol,
                RunStore.claim(folder, cell.key, facts),
                device=device,
                data=run.assets.content_key(cell.benchmark.id),
            )


def _keep(control: Control, method: Method, measured: dict[str, Any], device: str) -> None:
    record = {"control": control.kind, "settings": control.settings, "supervision": method.supervision}
    write_json(control.file, {**record, "measured": measured, **provenance(device)})
