"""The state of a copy of the source tree: every address, and every trace that a baseline does not spare.

Each state is taken in a process of its own, forked from one that has the heavy libraries already.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from edits import Edit

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("repro", "disa", "baselines")
HEAVY = ("torch", "cv2", "mmengine.runner", "mmcv.transforms", "mmseg.datasets.transforms", "scipy.io", "PIL.Image")
ROWS = {
    "table1": None,
    "table3": ("disa-II", "disa-III"),
    "reviewers": ("disa-aggregation=learned", "disa-seg_loss=bce", "catseg-seg_loss=ce"),
}
"""Rows whose code is looked at, by table; None for all."""


def copy_tree(folder: Path) -> Path:
    """The packages without compiled files below ``folder``, links to configurations followed."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def apply(tree: Path, edit: Edit) -> Callable[[], None]:
    """Make the edit in ``tree``; returns what takes it back. AssertionError where the text does not occur."""
    if edit.file == "@move":
        return _move(tree, edit.before, edit.after)
    path = tree / edit.file
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before is None:
        path.write_text(edit.after, encoding="utf-8")
        return path.unlink
    assert edit.before in before, f"{edit.file} has no {edit.before!r}"
    path.write_text(before.replace(edit.before, edit.after), encoding="utf-8")
    return lambda: path.write_text(before, encoding="utf-8") and None


def _move(tree: Path, old: str, new: str) -> Callable[[], None]:
    """Move a module and change every mention of it."""
    words = [p.removesuffix(".py").replace("/", ".") for p in (old, new)]
    changed = {}
    (tree / old).rename(tree / new)
    for path in tree.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if words[0] in text:
            changed[path] = text
            path.write_text(text.replace(*words), encoding="utf-8")

    def back() -> None:
        for path, text in changed.items():
            path.write_text(text, encoding="utf-8")
        (tree / new).rename(tree / old)

    return back


def state_of(tree: Path, baseline: dict[str, Any] | None, store: Path) -> dict[str, Any]:
    """Addresses and verdicts of ``tree``, in a process that begins without the project's modules."""
    return in_tree(tree, lambda: _state(baseline, store))


def in_tree(tree: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``work`` returns in a process that begins without the project's modules and finds those of ``tree``."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(tree, work, send))
    process.start()
    send.close()
    try:
        found: dict[str, Any] = json.loads(receive.recv())
    except EOFError:
        found = {"failed": {"process": "ended without an answer"}}
    process.join()
    return found


def preload() -> None:
    """Import what every state needs and no edit touches."""
    sys.dont_write_bytecode = True
    from repro.runtime import import_torchvision, prepare

    prepare()
    import_torchvision()
    for name in HEAVY:
        importlib.import_module(name)
    import open_clip  # noqa: F401


def _child(tree: Path, work: Callable[[], dict[str, Any]], send: Any) -> None:
    import torch

    torch.set_num_threads(1)
    for name in [n for n in sys.modules if n.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.path.insert(0, str(tree))
    os.chdir(tree)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        found = work()
    except Exception as error:  # noqa: BLE001  an edit may break anything: that is noticed, too
        found = {"failed": {"state": f"{type(error).__name__}: {error}"}}
    send.send(json.dumps(found))
    send.close()
    os._exit(0)


def _state(baseline: dict[str, Any] | None, store: Path) -> dict[str, Any]:
    from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS
    from repro.datasets.prepare.marker import rules_digest
    from repro.metrics.measured import MEASURES
    from repro.metrics.trace import measure_digest

    found: dict[str, Any] = {"addresses": {}, "verdicts": {}, "sources": {}, "traces": {}}
    addresses = found["addresses"]
    for benchmark in (*BENCHMARKS.values(), *TRAIN_SETS.values()):
        addresses[f"labels of {benchmark.id}"] = rules_digest(benchmark)
        for name, kind in MEASURES.items():
            addresses[f"{name} on {benchmark.id}"] = [measure_digest(kind), kind.facts(benchmark)]
    with tempfile.TemporaryDirectory() as folder:
        for name, judged in _subjects(Path(folder), addresses):
            _judge(name, judged, baseline, found)
    _text(baseline, store, found)
    return found


def _subjects(runs: Path, addresses: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything whose code is judged, by name; what is asked for is put into ``addresses``."""
    from repro.configuration.profiles import load_profile
    from repro.configuration.tables import load_table
    from repro.measuring.regions import RegionSettings, regions_subject
    from repro.runs.addresses import judging
    from repro.runs.addresses.judging import miniature_subject
    from repro.runs.gates import class_signal
    from repro.runs.plan import Cell, make_plan

    profile = load_profile("mini")
    yield "drawing", (miniature_subject(profile.data), {})
    for table, rows in ROWS.items():
        plan = make_plan(load_table(table), profile, runs)
        for run in plan.runs:
            if rows is not None and run.row.id not in rows:
                continue
            name = f"{table} {run.row.id}"
            addresses[name] = run.address
            addresses |= {f"{name} {b.id}": Cell(run, b).key for b in plan.benchmarks}
            if run.train is not None:
                yield f"training {name}", (judging.training_subject(run), run.assets)
            yield f"evaluation {name}", (judging.evaluation_subject(run), run.assets)
            if table == "table1":
                yield f"maps {name}", (judging.maps_subject(run), run.assets)
                yield f"prediction {name}", (judging.prediction_subject(run), run.assets)
    assets = plan.assets
    for key in profile.towers:
        making = assets.making(key)
        if making is not None and (key == "densevlm" or not assets.tower_parts(key)):
            addresses[f"tower {key}"] = making.name
            yield f"tower {key}", (making.subject, assets)
    yield "class signal", (class_signal.signal_subject(assets, "base"), assets)
    yield "regions", (regions_subject(plan.runs[0], RegionSettings(128)), assets)


def _judge(name: str, judged: Any, baseline: dict[str, Any] | None, found: dict[str, Any]) -> None:
    from repro.runs.addresses.code import Code
    from repro.sources.trace import difference

    subject, _ = judged
    code = Code(None)
    source = found["sources"][name] = code.source(subject).digest
    if baseline is not None and source == baseline["sources"].get(name):
        found["verdicts"][name] = "same"
        return
    trace, why = code.trace(subject)
    found["traces"][name] = trace
    if baseline is None:
        assert trace, f"{name}: {why}"
        return
    gaps = [why] if trace is None else difference(baseline["traces"][name], trace)
    found["verdicts"][name] = f"stale: {'; '.join(gaps[:3])}" if gaps else "agrees"


def _text(baseline: dict[str, Any] | None, store: Path, found: dict[str, Any]) -> None:
    """Whether text features that were kept by the baseline are used."""
    import torch

    from repro.clip.spec import TowerSpec
    from repro.clip.text_cache import TextStore
    from repro.clip.tower import build_tower

    tower = build_tower(TowerSpec(model="tiny", weights=None, resolution=48))
    tower.text_store = kept = TextStore(store)
    texts = ["a photo of a dog", "a photo of a cat", "grass"]
    with torch.no_grad():
        key = kept.key(
            tower._text_parameters()
            if hasattr(tower, "_text_parameters")
            else [p for n, p in tower.model.named_parameters() if not n.startswith("visual.")],
            texts,
        )
        now = tower._encode(texts)
        if baseline is None:
            kept.put(key, now)
        else:
            used = kept.get(key, texts, tower._encode) is not None
            found["verdicts"]["text features"] = "agrees" if used else "stale"


def noticed(state: dict[str, Any], baseline: dict[str, Any]) -> list[str]:
    """What of ``state`` is not as in ``baseline``: addresses, verdicts that are stale, failures."""
    gaps = [f"failed: {k}: {v}" for k, v in state.get("failed", {}).items()]
    now = state.get("addresses", {})
    gaps += [f"address of {k}" for k, v in baseline["addresses"].items() if k in now and now[k] != v]
    return gaps + [f"{k}: {v}" for k, v in state.get("verdicts", {}).items() if v.startswith("stale")]


class Trial:
    """A copy of the tree in which edits are tried, by a process that has the heavy libraries and nothing of ours."""

    def __init__(self, folder: Path, script: str = __file__) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self._server = subprocess.Popen(
            [sys.executable, script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, cwd=ROOT,
        )  # fmt: skip
        assert self._answer() == ["ready"]

    def of(self, edit: Edit, *more: str) -> list[str]:
        """What is noticed of ``edit``; the script may ask for ``more``."""
        return self._ask([*edit, *more])

    def of_all(self, edits: Iterable[Edit]) -> list[str]:
        """What is noticed of ``edits`` made at once."""
        return self._ask([list(edit) for edit in edits])

    def _ask(self, words: list[Any]) -> list[str]:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(words) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> list[str]:
        assert self._server.stdout is not None
        for line in self._server.stdout:
            if line.startswith(MARK):
                found: list[str] = json.loads(line.removeprefix(MARK))
                return found
        raise AssertionError("the process that tries edits ended")

    def close(self) -> None:
        """End the process."""
        self._server.kill()
        self._server.wait()


MARK = "answer: "


def main(folder: Path) -> None:
    """Answer edits on stdin, one a line, with what is noticed of each."""
    preload()
    tree, store = copy_tree(folder / "tree"), folder / "text"
    baseline = state_of(tree, None, store)
    assert "failed" not in baseline, baseline["failed"]
    print(MARK + json.dumps(["ready"]), flush=True)
    for line in sys.stdin:
        words, back = json.loads(line), contextlib.ExitStack()
        with back:
            for edit in words if isinstance(words[0], list) else [words]:
                back.callback(apply(tree, Edit(*edit)))
            found = noticed(state_of(tree, baseline, store), baseline)
        print(MARK + json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
