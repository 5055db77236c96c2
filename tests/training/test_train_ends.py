"""How a training ends before its time: by a scheduler's signal, by a loss that is no number."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_method import PixelClassifier, make_method
from tiny_set import NAMES, TinyPair, write_pairs

from repro import preemption
from repro.errors import Preempted, RunError
from repro.training.divergence import FILE as DIVERGED
from repro.training.settings import TrainSettings
from repro.training.train import train

pytest.importorskip("mmseg")

SETTINGS = TrainSettings(
    iterations=5,
    batch_size=2,
    lr=1e-2,
    clip_grad_norm=1.0,
    short_side=32,
    crop=32,
    workers=0,
    checkpoint_every=100,
    log_every=2,
)


class Acting(PixelClassifier):
    """Does ``act`` before its loss is taken for the ``at``-th time; NaN where ``act`` is None."""

    def __init__(self, at: int, act: Any = None) -> None:
        super().__init__()
        self.calls, self.at, self.act = 0, at, act

    def loss(self, images: Any, labels: Any, classes: Any) -> dict[str, torch.Tensor]:
        self.calls += 1
        if self.calls == self.at and self.act is not None:
            self.act()
        values = super().loss(images, labels, classes)
        if self.calls == self.at and self.act is None:
            values["loss_ce"] = values["loss_ce"] * float("nan")
        return values


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[TinyPair]:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def run(method: PixelClassifier, pairs: list[TinyPair], folder: Path) -> PixelClassifier:
    train(method, SETTINGS, pairs, NAMES, folder, 3, progress=False, method_name="pixel")
    return method


def acting(at: int, act: Any = None) -> Acting:
    torch.manual_seed(0)
    return Acting(at, act)


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_a_signal_checkpoints_the_running_iteration_and_the_rest_gives_the_same_bits(
    number: signal.Signals, pairs: list[TinyPair], tmp_path: Path
):
    before = {n: signal.getsignal(n) for n in preemption.SIGNALS}
    preemption.install()
    try:
        with pytest.raises(Preempted, match=number.name), preemption.deferred():
            run(acting(3, lambda: os.kill(os.getpid(), number)), pairs, tmp_path / "ended")
    finally:
        preemption.install()
        for n, handler in before.items():
            signal.signal(n, handler)
    assert torch.load(tmp_path / "ended" / "checkpoint.pth", weights_only=True)["iteration"] == 3
    resumed = run(make_method(), pairs, tmp_path / "ended")
    whole = run(make_method(), pairs, tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_loss_that_is_no_number_leaves_its_batch_to_look_at(pairs: list[TinyPair], tmp_path: Path):
    with pytest.raises(RunError, match="diverged at iteration 4") as caught:
        run(acting(4), pairs, tmp_path)
    assert str(tmp_path / DIVERGED) in str(caught.value)
    saved = torch.load(tmp_path / DIVERGED, weights_only=True)
    assert (saved["iteration"], saved["position"].tolist()) == (4, [6, 7])
    assert saved["image"].shape == (2, 3, 32, 32)
    assert "nan" in saved["values"]
    assert set(saved["images"]) <= {str(pair.image) for pair in pairs}
    assert not (tmp_path / "weights.pth").exists()
