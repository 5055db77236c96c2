"""Where curves go: what each back-end is told, and that one that cannot be opened stops a training in time."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from repro.errors import ResourceError, UsageError
from repro.training.boards import Boards, check_boards

LOG = logging.getLogger("boards")


class Service(types.ModuleType):
    """A package of a service that writes down what it is told, as wandb and mlflow are called by mmengine and us."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *words, **named: self.told.append((name, words or named))


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> dict[str, Service]:
    found = {name: Service(name) for name in ("wandb", "mlflow")}
    for name, service in found.items():
        monkeypatch.setitem(sys.modules, name, service)
    return found


def test_a_curve_goes_to_every_service_under_the_name_of_the_run(tmp_path: Path, services: dict[str, Service]) -> None:
    folder = tmp_path / "catseg-s0"
    folder.mkdir()
    boards = Boards(["wandb", "mlflow", "tensorboard"], folder, 0, LOG)
    boards.write({"loss": 0.5, "lr/new": 1e-3}, 20)
    boards.close()
    first, log, end = services["wandb"].told
    assert first[0] == "init"
    assert {k: first[1][k] for k in ("project", "name", "id", "resume", "dir")} == {
        "project": "repro", "name": "catseg-s0", "id": "catseg-s0", "resume": "allow", "dir": str(folder / "wandb")
    }  # fmt: skip
    assert (log[0], log[1][0]) == ("log", {"loss": 0.5, "lr/new": 1e-3, "iteration": 20})
    assert end[0] == "finish"
    told = dict(services["mlflow"].told)
    assert told["set_tracking_uri"] == (f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}",)
    assert told["set_experiment"] == ("repro",)
    assert told["set_tag"] == ("mlflow.runName", "catseg-s0")
    assert told["log_metrics"] == ({"loss": 0.5, "lr/new": 1e-3}, 20)
    assert services["mlflow"].told[-1][0] == "end_run"
    assert list((folder / "tensorboard").glob("events*"))


def test_none_is_no_back_end_and_others_are_refused() -> None:
    assert check_boards(["none"]) == ()
    assert check_boards(["wandb", "tensorboard", "wandb"]) == ("wandb", "tensorboard")


@pytest.mark.follows("repro.training.boards:check_boards")
def test_an_unknown_back_end_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean wandb") as caught:
        check_boards(["wandbb"])
    option, names = str(caught.value.mend).split()
    assert (option, check_boards([names])) == ("--vis-backends", ("tensorboard",))


@pytest.mark.follows("repro.training.boards:Boards.__init__#1", "repro.training.boards:Boards.__init__#2")
def test_one_that_cannot_be_opened_stops_the_training_and_closes_the_others(
    tmp_path: Path, services: dict[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ResourceError, match="mlflow needs a package that is not installed") as caught:
        Boards(["wandb", "mlflow"], tmp_path, 0, LOG)
    assert caught.value.mend == "pip install mlflow"
    assert [name for name, _ in services["wandb"].told] == ["init", "finish"]

    def refuse(**_: object) -> None:
        raise RuntimeError("no key")

    monkeypatch.setattr(services["wandb"], "init", refuse)
    with pytest.raises(ResourceError, match="wandb cannot be opened") as caught:
        Boards(["wandb"], tmp_path, 0, LOG)
    assert caught.value.found == "RuntimeError: no key"
    assert str(caught.value.mend).endswith("--vis-backends none")
    assert Boards(check_boards(["none"]), tmp_path, 0, LOG).open == {}
