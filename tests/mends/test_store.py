"""Weights, checkpoints and records of a run store that are absent, damaged or of another run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from talk import Talk, options, ours, way

WORDS = ["--profile", "smoke", "--device", "cpu"]


def run_of(store: Path) -> Path:
    return next(p for p in store.iterdir() if p.name.startswith("catseg"))


def evaluate(store: Path, *more: object, method: str = "catseg") -> list[object]:
    return ["eval", method, *WORDS, "--benchmarks", "PAS-20", "--runs", store, *more]


def rewritten(**header: Any) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        value = torch.load(run / "weights.pth", weights_only=True)
        torch.save({**value, "header": {**value["header"], **header}}, run / "weights.pth")

    return damage


def cut(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:40]) and None  # type: ignore[func-returns-value]


def other(name: str, text: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_text(text) and None  # type: ignore[func-returns-value]


def of_another(run: Path) -> None:
    torch.save({"format": 0}, run / "checkpoint.pth")
    (run / "weights.pth").unlink()


def misfit(run: Path) -> None:
    """A checkpoint of the same training with the tensors of something else."""
    weights = torch.load(run / "weights.pth", weights_only=True)
    from repro.training.checkpoint import FORMAT

    known = {"format": FORMAT, "fingerprint": weights["header"]["fingerprint"], "iteration": 1}
    state = {**known, "state_dict": {"x": torch.zeros(1)}}
    torch.save(state, run / "checkpoint.pth")
    (run / "weights.pth").unlink()


DAMAGES = [
    way("repro.methods.weights:read_torch#2", cut("weights.pth")),
    way("repro.methods.weights:read_weights#2", rewritten(format=99)),
    way("repro.methods.weights:read_weights#3", rewritten(switches="{")),
    way("repro.training.checkpoint:load_checkpoint", of_another),
    way("repro.training.checkpoint:check_fit", misfit),
    way("repro.files:read_json", cut("eval/PAS-20/cell.json")),
    way("repro.files:read_record", other("eval/PAS-20/cell.json", "[]")),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_used_is_removed_by_the_command_and_made_again(
    talk: Talk, store: Path, damage: Callable[[Path], None]
) -> None:
    run = run_of(store)
    damage(run)
    if not (run / "weights.pth").is_file() or json.dumps(str(damage)).find("rewritten") >= 0:
        shutil.rmtree(run / "eval")
    if talk(*evaluate(store)) == 0:
        shutil.rmtree(run / "eval")
    mend = talk.refused(*evaluate(store))
    words = ours(mend[mend.index("repro runs") :])
    assert words[:2] == ["runs", "gc"]
    talk.succeeds(*words)
    talk.succeeds(*evaluate(store))


@pytest.mark.follows("repro.methods.weights:read_torch#1")
def test_a_weights_file_that_is_absent_is_named_rightly(talk: Talk, store: Path) -> None:
    assert "name a file that is there" in talk.refused(*evaluate(store, "--weights", "none.pth"))
    talk.succeeds(*evaluate(store, "--weights", run_of(store) / "weights.pth"))


@pytest.mark.follows("repro.methods.weights:load_weights#1")
def test_weights_of_another_method_are_given_to_their_method(talk: Talk, store: Path) -> None:
    weights = run_of(store) / "weights.pth"
    mend = talk.refused(*evaluate(store, "--weights", weights, method="logoseg"))
    named = mend.partition("name the method ")[2].partition(",")[0]
    talk.succeeds(*evaluate(store, "--weights", weights, method=named))


@pytest.mark.follows("repro.methods.weights:load_weights#2")
def test_weights_of_other_switches_are_used_with_their_options(talk: Talk, store: Path) -> None:
    weights = run_of(store) / "weights.pth"
    value = torch.load(weights, weights_only=True)
    switches = json.loads(value["header"]["switches"])
    name = sorted(switches)[0]
    rewritten(switches=json.dumps({**switches, name: "other"}))(run_of(store))
    assert "give the options of these weights" in talk.refused(*evaluate(store, "--weights", weights))
    rewritten(switches=json.dumps(switches))(run_of(store))
    talk.succeeds(*evaluate(store, "--weights", weights))


@pytest.mark.follows("repro.methods.weights:load_weights#3")
def test_weights_of_other_sizes_are_used_with_their_options(talk: Talk, store: Path) -> None:
    weights = run_of(store) / "weights.pth"
    mend = talk.refused(*evaluate(store, "--weights", weights, "-o", "hidden=32"))
    assert "give the options of these weights" in mend
    talk.succeeds(*evaluate(store, "--weights", weights))


@pytest.mark.follows("repro.methods.weights:read_weights#1")
def test_a_file_without_tensors_is_sent_to_the_import(talk: Talk, store: Path) -> None:
    torch.save({"epoch": 3}, "my notes.pth")
    talk.refused(*evaluate(store, "--weights", "my notes.pth"))
    talk.follow()


@pytest.mark.follows("repro.runs.weights.official:_import#1")
def test_a_bare_state_dict_is_sent_to_the_import(talk: Talk, store: Path) -> None:
    torch.save({"head.weight": torch.zeros(3, 3)}, "bare file.pth")
    talk.refused(*evaluate(store, "--weights", "bare file.pth"))
    talk.follow()


@pytest.mark.follows("repro.checkpoints.reading:read_foreign#1")
def test_weights_of_ours_are_evaluated_instead_of_imported(talk: Talk, store: Path) -> None:
    mend = talk.refused("import-checkpoint", run_of(store) / "weights.pth")
    talk.goes_on(*ours(mend), *WORDS, "--benchmarks", "PAS-20", "--runs", store)
    talk.succeeds(*ours(mend[mend.index("repro export") :], FILE="exported.pth"))
    assert Path("exported.pth").is_file()


@pytest.mark.follows("repro.runs.store:RunStore.check_space", "repro.files:check_room")
def test_with_another_run_store_there_is_space(talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from repro.runs.store import RunStore

    monkeypatch.setattr(shutil, "disk_usage", lambda p: SimpleNamespace(free=int("small" not in str(p)) << 40))
    (tmp_path / "small").mkdir()
    assert "name another folder with --runs" in talk.refused_by(lambda: RunStore(tmp_path / "small").check_space(200))
    RunStore(tmp_path / "large").check_space(200)


@pytest.mark.follows("repro.locks:_take")
def test_a_run_in_use_is_waited_for(talk: Talk, store: Path) -> None:
    import subprocess
    import sys

    run = run_of(store)
    shutil.rmtree(run / "eval")
    hold = "fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    code = f"import fcntl, sys; f = open({str(run / '.lock')!r}, 'a+'); {hold}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert "wait for the other process" in talk.refused(*evaluate(store))
        process.communicate()
    talk.succeeds(*evaluate(store))


@pytest.mark.follows("repro.metrics.measured:check_measures", "repro.metrics.measured:part_counts")
def test_measures_are_named_and_made_as_the_mends_say(talk: Talk, store: Path) -> None:
    run = run_of(store).name
    mend = talk.refused(*evaluate(store, "--measures", "edges"))
    name = mend.partition(" ")[2].split(",")[0]
    compare = ["compare", run, run, "--runs", store, "--metrics", "boundary_iou", "--resamples", "100"]
    mend = talk.refused(*compare)
    assert options(mend) == ["--measures", name]
    talk.succeeds(*evaluate(store, *options(mend)))
    talk.goes_on(*compare)


@pytest.mark.follows("repro.metrics.counts:Counts.load_with")
def test_damaged_counts_are_removed_by_the_command_and_made_again(talk: Talk, store: Path) -> None:
    run = run_of(store)
    compare = ["compare", run.name, run, "--runs", store, "--resamples", "100"]
    cut("eval/PAS-20/counts.npz")(run)
    mend = talk.refused(*compare)
    talk.succeeds(*ours(mend))
    talk.goes_on(*compare)
    talk.succeeds(*evaluate(store))
    talk.succeeds(*compare)
