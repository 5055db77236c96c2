"""Predictions that are saved and scored have the figures of the evaluation that made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_method import make_method
from PIL import Image
from tiny_set import TinyBenchmark, TinyPair, write_pairs

from repro.datasets.benchmarks import BENCHMARKS, Benchmark, get_benchmark
from repro.datasets.images import read_label
from repro.datasets.protocol import Protocol
from repro.errors import UsageError
from repro.evaluation.counting import CountingLoop
from repro.evaluation.many import evaluate_together
from repro.evaluation.result import EvalResult
from repro.evaluation.saved import NOTE
from repro.evaluation.scoring import score_predictions
from repro.files import read_json
from repro.interop.opening import open_predictions
from repro.interop.predictions import Predictions
from repro.metrics.measured import MEASURES, read_measure

PROTOCOL = Protocol(short_side=48, max_long_side=200, canvas=48, window=32, overlap=0.5)
PATHS = ("seconds", "fingerprint", "protocol", "protocol_digest", "hardware")


def pairs_of(benchmark: Benchmark, folder: Path, count: int = 3) -> list[Any]:
    """Images with labels of all classes of ``benchmark``, a few pixels of which are ignored."""
    pairs = write_pairs(folder, count)
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng(number)
        shape = np.asarray(Image.open(pair.image)).shape[:2]
        label = rng.integers(0, benchmark.num_classes, shape)
        void = 65535 if benchmark.num_classes > 255 else 255
        label = np.where(rng.random(shape) < 0.1, void, label)
        Image.fromarray(label.astype(np.uint16 if benchmark.num_classes > 255 else np.uint8)).save(pair.label)
    return list(pairs)


def evaluated(benchmark: Any, pairs: Any, out: Path, **more: Any) -> EvalResult:
    return evaluate_together(make_method(), benchmark, pairs, PROTOCOL, out, progress=False, **more)


def figures(result: EvalResult) -> dict[str, Any]:
    return {k: v for k, v in result.record.items() if k not in PATHS}


def same(a: EvalResult, b: EvalResult) -> None:
    assert figures(a) == figures(b)
    ours, theirs = a.counts().arrays(), b.counts().arrays()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.mark.parametrize("name", [*BENCHMARKS])
def test_saved_predictions_have_the_figures_of_their_evaluation_to_the_bit(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    pairs = pairs_of(benchmark, tmp_path / "data")
    measures = (*MEASURES,)
    own = evaluated(benchmark, pairs, tmp_path / "own", measures=measures, save=tmp_path / "saved")
    predictions = open_predictions(tmp_path / "saved", benchmark)
    predictions.check_keys([p.key for p in pairs], {p.key for p in pairs})
    scored = score_predictions(
        predictions, benchmark, pairs, tmp_path / "scored", "x", measures=measures, progress=False
    )
    same(own, scored)
    for measure in measures:
        values = [read_measure(r.folder, measure, benchmark) for r in (own, scored)]
        assert values[0] is not None
        assert values[1] is not None
        assert values[0]["values"] == values[1]["values"]
    wide = {np.asarray(Image.open(p)).dtype for p in (tmp_path / "saved").glob("*.png")}
    assert wide == {np.dtype(np.uint8 if benchmark.num_classes < 256 else np.uint16)}
    assert read_json(tmp_path / "saved" / NOTE)["complete"] is True


@pytest.fixture
def pairs(tmp_path: Path) -> list[TinyPair]:
    return write_pairs(tmp_path / "data", 4)


def test_a_finished_evaluation_is_repeated_for_predictions_that_were_not_saved(
    pairs: list[TinyPair], tmp_path: Path
) -> None:
    benchmark: Any = TinyBenchmark()
    first = evaluated(benchmark, pairs, tmp_path / "out")
    before = (tmp_path / "out" / "counts.npz").stat().st_mtime_ns
    again = evaluated(benchmark, pairs, tmp_path / "out", save=tmp_path / "saved")
    assert again.record == first.record
    assert (tmp_path / "out" / "counts.npz").stat().st_mtime_ns == before
    assert len(list((tmp_path / "saved").glob("*.png"))) == len(pairs)
    (tmp_path / "saved" / f"{pairs[0].key}.png").unlink()
    evaluated(benchmark, pairs, tmp_path / "out", save=tmp_path / "saved")
    assert len(list((tmp_path / "saved").glob("*.png"))) == len(pairs)


def test_what_was_counted_before_saving_began_is_predicted_again(
    pairs: list[TinyPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark: Any = TinyBenchmark()

    count = CountingLoop.add

    def killed(loop: CountingLoop, *image: Any) -> None:
        if len(loop.builder) == 2:
            raise KeyboardInterrupt
        count(loop, *image)

    with monkeypatch.context() as patch:
        patch.setattr(CountingLoop, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluated(benchmark, pairs, tmp_path / "out")
    assert list((tmp_path / "out").glob("*.partial.npz"))
    resumed = evaluated(benchmark, pairs, tmp_path / "out", save=tmp_path / "saved")
    assert len(list((tmp_path / "saved").glob("*.png"))) == len(pairs)
    same(resumed, evaluated(benchmark, pairs, tmp_path / "whole"))


@pytest.mark.follows("repro.evaluation.saved:SavedPredictions.open")
@pytest.mark.parametrize("what", ["files", "another evaluation"])
def test_a_folder_with_something_else_is_refused_and_left_as_it_is(
    what: str, pairs: list[TinyPair], tmp_path: Path
) -> None:
    benchmark: Any = TinyBenchmark()
    folder = tmp_path / "saved"
    if what == "files":
        folder.mkdir()
        (folder / "mine.png").write_bytes(b"mine")
    else:
        evaluated(benchmark, pairs[:2], tmp_path / "two", save=folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(UsageError, match="something other") as caught:
        evaluated(benchmark, pairs, tmp_path / "out", save=folder)
    assert caught.value.mend == "name another folder: --save-predictions DIR"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


class Stored(Predictions):
    """Predictions that are right but for what ``wrong`` makes of them; ``read`` counts the images."""

    format = "test"

    def __init__(self, pairs: list[TinyPair], hole: bool = False, stop: int | None = None) -> None:
        self.pairs, self.hole, self.stop, self.asked = {p.key: p for p in pairs}, hole, stop, list[str]()

    @property
    def keys(self) -> Any:
        return self.pairs.keys()

    def content(self) -> str:
        return "x"

    def _values(self, key: str, size: tuple[int, int]) -> Any:
        raise NotImplementedError

    def read(self, key: str, size: tuple[int, int]) -> Any:
        if self.stop == len(self.asked):
            raise KeyboardInterrupt
        self.asked.append(key)
        label = read_label(self.pairs[key].label).astype(np.int64)
        found = np.where(label == 255, 0, label)
        if self.hole:
            found[: size[0] // 2] = -1
        return found


def test_a_pixel_without_a_class_is_wrong_and_no_classs_prediction(pairs: list[TinyPair], tmp_path: Path) -> None:
    benchmark: Any = TinyBenchmark()
    result = score_predictions(Stored(pairs, hole=True), benchmark, pairs, tmp_path / "out", "x", progress=False)  # type: ignore[arg-type]
    hits, truth = [0] * 5, [0] * 5
    for pair in pairs:
        label = np.asarray(Image.open(pair.label))
        for row, line in enumerate(label):
            for value in line:
                if value != 255:
                    truth[value] += 1
                    hits[value] += row >= label.shape[0] // 2
    rows = result.per_class
    assert [r["ground_truth"] for r in rows] == truth
    assert [r["prediction"] for r in rows] == hits  # what is predicted is right
    assert result.metrics["pacc"] == sum(hits) / sum(truth)
    assert result.metrics["miou_gt"] == pytest.approx(np.mean([h / t for h, t in zip(hits, truth, strict=True)]))


def test_measures_of_pixels_without_a_class_know_no_class_for_them(tmp_path: Path) -> None:
    benchmark = get_benchmark("PAS-20b")
    pairs = pairs_of(benchmark, tmp_path / "data")
    values = []
    for hole in (False, True):
        out = tmp_path / str(hole)
        score_predictions(Stored(pairs, hole=hole), benchmark, pairs, out, "x", measures=(*MEASURES,), progress=False)
        values.append({k: v for m in MEASURES for k, v in (read_measure(out, m, benchmark) or {})["values"].items()})
    assert {values[0][k] for k in ("boundary_iou", "trimap_4")} == {1.0}
    assert 0 < values[1]["trimap_4"] < 0.6
    assert values[1]["boundary_iou"] < 1
    assert values[1]["stuff_as_thing"] == values[1]["thing_as_stuff"] == 0


def test_an_interrupted_score_continues_and_a_finished_one_is_read(pairs: list[TinyPair], tmp_path: Path) -> None:
    benchmark: Any = TinyBenchmark()

    def score(source: Stored) -> EvalResult:
        return score_predictions(source, benchmark, pairs, tmp_path / "out", "x", progress=False)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        score(Stored(pairs, stop=3))
    rest = Stored(pairs)
    result = score(rest)
    assert rest.asked == [pairs[3].key]
    assert result.record["num_images"] == 4
    assert result.metrics["miou_gt"] == 1.0
    untouched = Stored(pairs, stop=0)
    assert score(untouched).record == result.record
