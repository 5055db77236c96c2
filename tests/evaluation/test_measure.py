"""Measures are made in the forward pass of the evaluation, or later by themselves, and change no count."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_method import PixelClassifier, make_method
from tiny_set import TinyBenchmark, write_pairs

from repro.datasets.protocol import Protocol
from repro.errors import UsageError
from repro.evaluation.evaluate import evaluate
from repro.metrics.measured import measure_folder, part_counts, read_measure
from repro.metrics.miou import metrics_from_counts

PROTOCOL = Protocol(short_side=48, max_long_side=200, canvas=40, window=24)
BOTH = ("boundary", "bias")


@dataclasses.dataclass(frozen=True)
class Benchmark(TinyBenchmark):
    def class_kinds(self) -> tuple[str, ...]:
        return ("thing", "thing", "stuff", "stuff", "thing")


TINY = Benchmark()


class Counting(PixelClassifier):
    """Counts its forward passes and, when told so, is interrupted in one."""

    passes, stop_at = 0, -1

    def forward(self, images, classes):
        self.passes += 1
        if self.passes == self.stop_at:
            raise KeyboardInterrupt
        return super().forward(images, classes)


def counting(stop_at: int = -1) -> Counting:
    method = Counting()
    method.load_state_dict(make_method().state_dict())
    method.stop_at = stop_at
    return method


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def plain(pairs, tmp_path_factory):
    return evaluate(counting(), TINY, pairs, PROTOCOL, tmp_path_factory.mktemp("plain"))


def measured(method, pairs, folder: Path, measures=BOTH):
    return evaluate(method, TINY, pairs, PROTOCOL, folder, measures=measures, save_every=0)


def values(folder: Path) -> dict[str, float]:
    records = [read_measure(folder, name, TINY) for name in BOTH]
    return {name: value for record in records for name, value in record["values"].items()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.*")) if p.is_file()}


def same_counts(a, b) -> bool:
    return all(np.array_equal(a.arrays()[name], b.arrays()[name]) for name in a.arrays())


def test_counts_and_measures_come_from_one_pass_over_the_images(pairs, plain, tmp_path):
    method = counting()
    result = measured(method, pairs, tmp_path)
    assert method.passes == len(pairs)
    assert same_counts(result.counts(), plain.counts())
    assert {k: v for k, v in result.record.items() if k != "seconds"} == {
        k: v for k, v in plain.record.items() if k != "seconds"
    }
    assert values(tmp_path).keys() == {
        "boundary_iou", "trimap_2", "trimap_4", "trimap_8", "trimap_16",
        "stuff_as_thing", "thing_as_stuff", "foreground_bias",
    }  # fmt: skip
    assert not list(tmp_path.glob("*.partial.*"))


def test_the_bias_of_the_images_adds_up_to_that_of_the_summed_confusion(pairs, plain, tmp_path):
    from repro.metrics.bias import bias_shares, cross_counts

    measured(counting(), pairs, tmp_path, ("bias",))
    expected = bias_shares(cross_counts(plain.counts().confusion, TINY.class_kinds()))
    assert read_measure(tmp_path, "bias", TINY)["values"] == pytest.approx(expected)


def test_without_measures_nothing_is_there_but_the_evaluation(pairs, plain, tmp_path):
    evaluate(counting(), TINY, pairs, PROTOCOL, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in plain.folder.iterdir()}


def test_a_measure_switched_on_later_leaves_the_finished_counts_untouched(pairs, tmp_path):
    evaluate(counting(), TINY, pairs, PROTOCOL, tmp_path)
    before = files(tmp_path)
    measured(counting(), pairs, tmp_path)
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert read_measure(tmp_path, "boundary", TINY)["same_counts"] is True


def test_only_the_missing_measure_is_computed_and_nothing_twice(pairs, tmp_path):
    measured(counting(), pairs, tmp_path, ("bias",))
    bias = files(measure_folder(tmp_path, "bias", TINY))
    measured(counting(), pairs, tmp_path)
    assert files(measure_folder(tmp_path, "bias", TINY)) == bias
    again = counting()
    measured(again, pairs, tmp_path)
    assert again.passes == 0


def test_measures_of_other_weights_are_made_again(pairs, tmp_path):
    measured(counting(), pairs, tmp_path)
    other = counting()
    other.load_state_dict(make_method(seed=1).state_dict())
    first = values(tmp_path)
    measured(other, pairs, tmp_path)
    assert other.passes == len(pairs)
    assert values(tmp_path) != first


def test_an_interrupted_pass_goes_on_and_ends_with_the_same(pairs, tmp_path):
    measured(counting(), pairs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        measured(counting(stop_at=3), pairs, tmp_path / "cut")
    rest = counting()
    measured(rest, pairs, tmp_path / "cut")
    assert rest.passes == len(pairs) - 2
    assert values(tmp_path / "cut") == values(tmp_path / "whole")
    for part in ("boundary_iou", "trimap_4", "bias"):
        assert same_counts(*(part_counts(tmp_path / name, part, TINY) for name in ("cut", "whole")))


def test_counts_and_measures_out_of_step_begin_again(pairs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measured(counting(stop_at=3), pairs, tmp_path)
    next(tmp_path.glob("bias.*.partial.npz")).unlink()
    rest = counting()
    measured(rest, pairs, tmp_path)
    assert rest.passes == len(pairs)


def test_parts_are_counts_over_the_same_images(pairs, plain, tmp_path):
    measured(counting(), pairs, tmp_path)
    for part in ("boundary_iou", "trimap_2", "bias"):
        counts = part_counts(tmp_path, part, TINY)
        assert counts.keys == plain.counts().keys
        assert 0 <= metrics_from_counts(counts)["miou_gt"] <= 1


def test_an_unknown_measure_is_refused(pairs, tmp_path):
    with pytest.raises(UsageError, match="did you mean boundary"):
        measured(counting(), pairs, tmp_path, ("boundry",))
