"""Training and evaluation: the ways out of what the engine refuses, on a handful of images."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_method import PixelClassifier, make_method
from PIL import Image
from talk import Talk, ours, way
from tiny_set import NAMES, TinyBenchmark, TinyPair, write_pairs
from torch import Tensor

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.layout import prepared_pairs
from repro.datasets.protocol import Protocol
from repro.errors import DataError
from repro.evaluation.evaluate import evaluate
from repro.evaluation.infer import SlidingWindow
from repro.training.settings import Placement, TrainSettings
from repro.training.train import train
from repro.training.train_set import TrainSet

pytest.importorskip("mmseg")
PROTOCOL = Protocol(short_side=48, max_long_side=96, canvas=48, window=48)
SETTINGS = TrainSettings(
    iterations=2, batch_size=2, lr=1e-2, short_side=32, crop=32, workers=0, checkpoint_every=100, log_every=1
)
SMOKE = ["--profile", "smoke", "--device", "cpu", "--benchmarks", "PAS-20"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[TinyPair]:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def fit(pairs: Any, folder: Path, method: Any = None, placement: Placement | None = None, **values: Any) -> None:
    settings = dataclasses.replace(SETTINGS, **values)
    train(method or make_method(), settings, pairs, NAMES, folder, 3, progress=False, method_name="pixel",
          placement=placement or Placement())  # fmt: skip


@pytest.fixture
def sources(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the drawn sources, nothing prepared."""
    return Path(shutil.copytree(drawn, tmp_path / "my data"))


@pytest.mark.follows("repro.evaluation.evaluate:evaluate")
def test_without_images_the_set_is_prepared_by_the_command(talk: Talk, sources: Path) -> None:
    benchmark = get_benchmark("PAS-20")
    mend = talk.refused_by(lambda: evaluate(make_method(), benchmark, [], PROTOCOL, Path("out")))
    talk.succeeds(*ours(mend, DIR=sources))
    assert prepared_pairs(benchmark, sources)


@pytest.mark.follows("repro.training.train:_check#1")
def test_without_training_images_the_set_is_prepared_by_the_command(talk: Talk, sources: Path) -> None:
    mend = talk.refused_by(lambda: fit([], Path("out")))
    talk.succeeds(*ours(mend, DIR=sources))
    assert prepared_pairs(get_benchmark("coco-stuff"), sources)


@pytest.mark.follows("repro.evaluation.counting:CountingLoop._write")
def test_images_without_a_label_are_looked_at_by_the_command(
    talk: Talk, sources: Path, pairs: list[TinyPair], tmp_path: Path
) -> None:
    void = tmp_path / "void.png"
    Image.fromarray(np.full(np.asarray(Image.open(pairs[0].label)).shape, 255, np.uint8)).save(void)
    one = [dataclasses.replace(pairs[0], label=void)]
    benchmark: Any = TinyBenchmark(id="A-150")
    mend = talk.refused_by(lambda: evaluate(make_method(), benchmark, one, PROTOCOL, Path("out"), progress=False))
    talk(*ours(mend, DIR=sources))
    assert "nothing is prepared" in talk.out + talk.error
    assert talk.message not in talk.out + talk.error


class Quiet(PixelClassifier):
    """Of void labels the loss is a number: 0."""

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        return {"loss": 0.0 * self(images, classes).sum()}


@pytest.mark.follows("repro.training.divergence:need_labels")
def test_a_training_on_void_labels_is_refused_and_the_command_looks_at_them(
    talk: Talk, sources: Path, pairs: list[TinyPair], tmp_path: Path
) -> None:
    void = []
    for pair in pairs:
        label = tmp_path / pair.label.name
        Image.fromarray(np.full(np.asarray(Image.open(pair.label)).shape, 255, np.uint8)).save(label)
        void.append(dataclasses.replace(pair, label=label))
    for _ in range(2):  # of a method whose loss is then 0; the second call does not go on from a checkpoint
        with pytest.raises(DataError, match="of the first 4 training crops"):
            fit(void, tmp_path / "zero", Quiet(), checkpoint_every=1)
    mend = talk.refused_by(lambda: fit(void, tmp_path / "run"))
    assert not (tmp_path / "run" / "weights.pth").exists()
    talk(*ours(mend, DIR=sources))
    assert "nothing is prepared" in talk.out + talk.error
    fit(pairs, tmp_path / "other")


@pytest.mark.follows("repro.metrics.counts:_confusion")
def test_labels_outside_the_vocabulary_are_found_by_the_command(talk: Talk, sources: Path) -> None:
    from repro.metrics.counts import confusion_matrix

    label = np.full((2, 2), 30, np.uint8)
    mend = talk.refused_by(lambda: confusion_matrix(np.zeros((2, 2), np.int64), label, 20, 255))
    talk.succeeds("data", "prepare", "A-150", "--data-root", sources)
    labels = sources / get_benchmark("A-150").folder / get_benchmark("A-150").split(None).labels
    path = next(labels.glob("*.png"))
    Image.fromarray(np.full_like(np.asarray(Image.open(path)), 180)).save(path)
    talk(*ours(mend, BENCHMARK="A-150", DIR=sources))
    assert "180" in talk.out + talk.error


def wrong_label(folder: Path, value: int, rows: int = 0) -> TinyPair:
    pair = write_pairs(folder, 1)[0]
    label = np.array(Image.open(pair.label))
    label[3, 3] = value
    Image.fromarray(label[rows:]).save(pair.label)
    return pair


@pytest.mark.parametrize(
    ("value", "rows"),
    [way("repro.training.train_set:TrainSet.load#1", 0, 1), way("repro.training.train_set:TrainSet.load#2", 77, 0)],
)
def test_training_labels_that_do_not_fit_are_made_again_by_the_command(
    talk: Talk, sources: Path, tmp_path: Path, value: int, rows: int
) -> None:
    data = TrainSet([wrong_label(tmp_path / "pairs", value, rows)], len(NAMES), SETTINGS, 0)
    mend = talk.refused_by(lambda: data.load(0))
    talk.succeeds(*ours(mend, ROOT=sources))
    good = TrainSet(prepared_pairs(get_benchmark("coco-stuff"), sources), 171, SETTINGS, 0)
    good.load(0)


@pytest.mark.parametrize(
    "label",
    [
        way("repro.datasets.images:check_label#1", np.zeros((4, 4), np.uint8)),
        way("repro.datasets.images:check_label#2", np.full((8, 8), 200, np.uint8)),
    ],
)
def test_labels_that_do_not_fit_a_benchmark_are_made_again_by_the_command(
    talk: Talk, sources: Path, label: np.ndarray
) -> None:
    from repro.datasets.images import check_label

    benchmark = get_benchmark("A-150")
    mend = talk.refused_by(lambda: check_label(label, benchmark, Path("x.png"), (8, 8)))
    talk.succeeds(*ours(mend, ROOT=sources))
    assert prepared_pairs(benchmark, sources)


@pytest.mark.follows("repro.training.train:_check#2")
def test_a_batch_that_can_be_divided_is_trained_on(talk: Talk, pairs: list[TinyPair]) -> None:
    talk.refused_by(lambda: fit(pairs, Path("out"), placement=Placement(accumulate=3)))
    assert "--accumulate" in talk.mend
    fit(pairs, Path("out"), placement=Placement(accumulate=2))


class Exploding(PixelClassifier):
    """A loss that is no number where the rate is high."""

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        self.high = lr > 1
        return super().param_groups(lr, weight_decay)

    def loss(self, images: Any, labels: Any, classes: Any) -> dict[str, torch.Tensor]:
        values = super().loss(images, labels, classes)
        return {**values, "loss_ce": values["loss_ce"] * (float("nan") if self.high else 1)}


@pytest.mark.follows("repro.training.divergence:diverged")
def test_with_a_lower_rate_a_training_that_diverged_ends(talk: Talk, pairs: list[TinyPair]) -> None:
    talk.refused_by(lambda: fit(pairs, Path("first"), Exploding(), lr=10.0))
    assert talk.mend.startswith("lower lr")
    assert Path(talk.mend.rpartition("the batch in ")[2]).is_file()
    fit(pairs, Path("second"), Exploding(), lr=1e-3)


@pytest.mark.follows("repro.training.step:_compiled")
def test_without_compile_a_step_over_some_classes_is_trained(talk: Talk, pairs: list[TinyPair]) -> None:
    talk.refused_by(lambda: fit(pairs, Path("out"), placement=Placement(compile=True), classes_per_step=2))
    assert "leave --compile out" in talk.mend
    fit(pairs, Path("out"), classes_per_step=2)


@pytest.mark.follows("repro.training.determinism:deterministic")
def test_without_deterministic_kernels_the_same_is_computed(talk: Talk) -> None:
    from repro.training.determinism import deterministic

    def kernel() -> None:
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("x does not have a deterministic implementation")

    def call(wanted: bool) -> None:
        with deterministic(wanted):
            kernel()

    assert "leave out --deterministic" in talk.refused_by(lambda: call(True))
    call(False)


@pytest.mark.follows("repro.evaluation.infer:SlidingWindow.labels")
def test_what_returns_nan_is_looked_for_by_doctor_and_in_the_weights(talk: Talk) -> None:
    window, method = SlidingWindow(PROTOCOL), make_method()
    logits = torch.full((1, 3, 12, 12), torch.nan)
    mend = talk.refused_by(lambda: window.labels(method, logits, (48, 48)))
    talk.succeeds(*ours(mend.replace("doctor,", "doctor then")))
    window.labels(method, torch.zeros(1, 3, 12, 12), (48, 48))


@pytest.mark.follows("repro.evaluation.zero_shot:class_signal")
def test_without_the_check_no_labelled_patches_are_needed(talk: Talk, store: Path) -> None:
    from repro.evaluation.zero_shot import class_signal

    tower: Any = None
    mend = talk.refused_by(lambda: class_signal(tower, [], ["cat", "dog"]))
    assert "--zero-shot-bar 0" in mend
    talk.succeeds("train", "catseg", *SMOKE[:4], "--zero-shot-bar", "0", "--iterations", "1", "--runs", store)


@pytest.mark.follows("repro.methods.speedups:Speedups.check#1", "repro.methods.speedups:Speedups.check#2")
def test_what_this_machine_cannot_do_is_left_out(talk: Talk, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import repro.methods.speedups as speedups

    monkeypatch.setattr(speedups, "_can_compile", lambda _: False)
    call = ["eval", "clip", *SMOKE, "--runs", store]
    for option in ("--tf32", "--cuda-graphs", "--compile"):
        assert "leave" in talk.refused(*call, option)
    talk.succeeds(*call)


Give = Callable[[Path], None]


def no_label_map(path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def palette(path: Path) -> None:
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    image.putpalette(list(range(7, 7 + 48)))
    image.save(path)


LABELS = [
    way("repro.datasets.images:read_label#1", palette),
    way("repro.datasets.images:read_label#2", no_label_map),
    way("repro.datasets.images:unreadable#1", None),
]


@pytest.mark.parametrize("give", LABELS)
def test_a_label_that_is_fetched_again_is_read(talk: Talk, give: Give | None) -> None:
    from repro.datasets.images import read_label

    if give:
        give(Path("label.png"))
    assert "fetch the file again" in talk.refused_by(lambda: read_label(Path("label.png")))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("label.png")
    read_label(Path("label.png"))


@pytest.mark.follows("repro.training.train:_refuse_other")
def test_weights_of_another_training_are_moved_away(talk: Talk, pairs: list[TinyPair], tmp_path: Path) -> None:
    fit(pairs, Path("my out"))
    mend = talk.refused_by(lambda: fit(pairs, Path("my out"), lr=1e-3))
    words = shlex.split(mend)
    shutil.move(words[words.index("move") + 1], tmp_path / "away")
    fit(pairs, Path("my out"), lr=1e-3)
