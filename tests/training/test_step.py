"""A batch divided over processes or parts trains as the whole batch does."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import in_processes
from fake_method import PixelClassifier
from PIL import Image
from tiny_set import NAMES, TinyPair, write_pairs
from torch import Tensor

from repro.errors import UsageError
from repro.testing.fake_device import TO_HOST, Wait, fake_device, put
from repro.training.optim import AutocastOptimWrapper, build_optimizer
from repro.training.settings import Placement, TrainSettings
from repro.training.step import TrainModel
from repro.training.train import train

pytest.importorskip("mmseg")

SETTINGS = TrainSettings(
    iterations=6,
    batch_size=4,
    lr=2e-2,
    clip_grad_norm=1.0,
    short_side=32,
    crop=32,
    workers=0,
    checkpoint_every=2,
    log_every=1,
)
WORDS = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import torch
    from fake_method import PixelClassifier
    from test_step import {name} as Chosen, uneven
    from tiny_set import NAMES
    from repro.launch import processes
    from repro.training.settings import Placement, TrainSettings
    from repro.training.train import train

    folder, trainings, placement = Path(sys.argv[1]), eval(sys.argv[2]), eval(sys.argv[3])
    with processes.group("cpu") as device:
        for name, settings in trainings.items():
            torch.manual_seed(0)
            train(Chosen(dropout=float(sys.argv[4])), TrainSettings(**settings), uneven(folder / "pairs"), NAMES,
                  folder / name, 3, method_name="pixel", device=device, placement=Placement(**placement))
    """
)


class Partly(PixelClassifier):
    """Has a parameter that no loss reaches and a loss over images beside the one over pixels."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unused = torch.nn.Parameter(torch.ones(3))

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        values = super().loss(images, labels, classes)
        brightness = self(images, classes).mean(dim=(1, 2, 3))
        return {**values, "loss_image": (brightness - images.mean(dim=(1, 2, 3)) / 255).square().mean()}

    def loss_over(self, name: str) -> Any:
        return "images" if name == "loss_image" else "pixels"

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        rest = [self.unused]
        return [*super().param_groups(lr, weight_decay), {"name": "rest", "params": rest, "lr": lr, "weight_decay": 0}]


class Stopping(PixelClassifier):
    """Ends its process in the middle of its third step of two parts, as a machine that fails."""

    calls = 0

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        import os

        Stopping.calls += 1
        if Stopping.calls == 6:
            os._exit(9)
        return super().loss(images, labels, classes)


def uneven(folder: Path) -> list[TinyPair]:
    """Pairs of which every second one is nearly unlabelled, so that equal shares would be wrong."""
    if folder.is_dir():
        images = sorted(folder.glob("???.png"))
        return [TinyPair(f"tiny_{p.stem}", p, p.with_name(f"{p.stem}_label.png")) for p in images]
    pairs = write_pairs(folder, count=7)
    for pair in pairs[::2]:
        label = np.asarray(Image.open(pair.label)).copy()
        label[8:] = 255
        Image.fromarray(label).save(pair.label)
    return pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[TinyPair]:
    return uneven(tmp_path_factory.mktemp("uneven") / "pairs")


def run(pairs: list[TinyPair], folder: Path, placement: Placement | None = None, kind: type = Partly, **changed: Any):
    torch.manual_seed(0)
    method = kind(dropout=0.0)
    settings = TrainSettings(**{**SETTINGS.__dict__, **changed})
    train(method, settings, pairs, NAMES, folder, 3, method_name="pixel", placement=placement)
    return curve(folder), weights(folder)


def curve(folder: Path) -> dict[str, list[float]]:
    lines = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    return {k: [line[k] for line in lines] for k in ("loss", "loss_ce", "accuracy", "grad_norm") if k in lines[0]}


def weights(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / "weights.pth", weights_only=True)["state_dict"]
    return state


def close(a: dict[str, Any], b: dict[str, Any], tolerance: float = 1e-4) -> bool:
    return all(np.allclose(a[k], b[k], rtol=tolerance, atol=tolerance * 1e-2) for k in a)


def start(
    world: int,
    folder: Path,
    placement: str = "{}",
    kind: str = "Partly",
    dropout: float = 0.0,
    **changes: dict[str, Any],
):
    """Train in ``world`` processes, in turn, with each of ``changes`` (by name of the run's folder)."""
    uneven(folder / "pairs")
    trainings = {name: {**SETTINGS.__dict__, **changed} for name, changed in changes.items()}
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    return in_processes(world, path + WORDS.format(name=kind), str(folder), repr(trainings), placement, str(dropout))


def test_two_processes_have_the_loss_curve_of_one_also_on_a_part_of_the_vocabulary(pairs, tmp_path):
    changes = {"whole": {}, "part": {"classes_per_step": 3}}
    for ended in start(2, tmp_path / "two", **changes):
        assert ended.returncode == 0, ended.stderr
    for name, changed in changes.items():
        one, trained = run(pairs, tmp_path / name, **changed)
        assert close(one, curve(tmp_path / "two" / name))
        assert close(trained, weights(tmp_path / "two" / name), 1e-3)
        log = (tmp_path / "two" / name / "train.log").read_text()
        assert log.count('"iteration": 6') == 1  # of two processes, one writes


def test_equal_shares_would_give_another_curve(pairs, tmp_path):
    class Equal(Partly):
        def loss_over(self, name):
            return "images"

    one, _ = run(pairs, tmp_path / "one")
    other, _ = run(pairs, tmp_path / "other", Placement(accumulate=2), Equal)
    assert not close(one, other, 1e-2)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_parts_of_a_batch_have_the_loss_curve_of_the_whole(pairs, tmp_path, parts):
    one, trained = run(pairs, tmp_path / "one", classes_per_step=3)
    other, accumulated = run(pairs, tmp_path / "other", Placement(accumulate=parts), classes_per_step=3)
    assert close(one, other)
    assert close(trained, accumulated, 1e-3)


@pytest.mark.slow
def test_parts_in_several_processes_and_a_death_between_change_the_curve_by_rounding_only(pairs, tmp_path):
    one, trained = run(pairs, tmp_path / "one", kind=PixelClassifier)
    ended = start(2, tmp_path / "two", "{'accumulate': 2}", kind="Stopping", run={})
    assert all(e.returncode for e in ended)
    assert torch.load(tmp_path / "two" / "run" / "checkpoint.pth", weights_only=True)["iteration"] == 2
    # The rest on one process: the checkpoint belongs to no number of processes.
    other, resumed = run(pairs, tmp_path / "two" / "run", kind=PixelClassifier)
    assert close(one, other)
    assert close(trained, resumed, 1e-3)


@pytest.mark.slow
def test_several_processes_resume_to_the_bits_of_an_uninterrupted_training(pairs, tmp_path):
    """With dropout, whose numbers each process draws for itself."""
    for ended in start(2, tmp_path / "whole", "{'accumulate': 2}", "PixelClassifier", 0.2, run={}):
        assert ended.returncode == 0, ended.stderr
    start(2, tmp_path / "cut", "{'accumulate': 2}", "Stopping", 0.2, run={})
    for ended in start(2, tmp_path / "cut", "{'accumulate': 2}", "PixelClassifier", 0.2, run={}):
        assert ended.returncode == 0, ended.stderr
    whole, cut = (weights(tmp_path / name / "run") for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    assert curve(tmp_path / "whole" / "run") == curve(tmp_path / "cut" / "run")


@pytest.mark.slow
def test_an_error_of_one_process_is_the_error_of_all(tmp_path):
    folder = tmp_path / "two"
    bad = uneven(folder / "pairs")[3]
    bad.image.write_bytes(b"no image")
    ended = start(2, folder, run={})
    assert all("DataError" in e.stderr and bad.image.name in e.stderr for e in ended)
    assert not list((folder / "run").glob(".*partial"))


def test_a_batch_that_cannot_be_divided_is_refused(pairs, tmp_path):
    with pytest.raises(UsageError, match="cannot be divided"):
        run(pairs, tmp_path, Placement(accumulate=5))


def test_in_bf16_parts_agree_to_its_precision(pairs, tmp_path):
    one, _ = run(pairs, tmp_path / "one", amp="bf16")
    other, _ = run(pairs, tmp_path / "other", Placement(accumulate=2), amp="bf16")
    assert close({"loss": one["loss"]}, {"loss": other["loss"]}, 2e-2)


class Quiet(PixelClassifier):
    """Reads nothing for its loss."""

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        return {"loss_mean": self(images, classes).float().mean()}


def test_a_step_waits_for_its_device_twice_for_what_is_logged_and_for_the_norm_of_its_gradients() -> None:
    method, device = Quiet(), torch.device("cpu")  # gradients of tensors without numbers need the CPU
    with fake_device("cpu") as waits:
        put(method, "cpu")
        model = TrainModel(method, NAMES, device, SETTINGS, 0, Placement())
        optim = AutocastOptimWrapper(build_optimizer(method, SETTINGS), "off", device, 1.0)
        batch = {"image": torch.empty(4, 3, 32, 32), "label": torch.empty(4, 32, 32, dtype=torch.int64)}
        model.train_step({**batch, "position": torch.empty(4)}, optim)
    scalar = "aten._local_scalar_dense"
    assert waits == [Wait(TO_HOST, "repro.training.step:_scalars"),
                     Wait(scalar, "repro.training.optim:AutocastOptimWrapper.step")]  # fmt: skip
