"""Qualitative figures: images chosen by the counts, published colours, panels that show what was predicted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from finished_table import finished_table
from PIL import Image

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.palettes import voc_palette
from repro.metrics.counts import Counts, CountsBuilder
from repro.reports.figures.colours import class_colours
from repro.reports.figures.qualitative import (
    Example,
    benchmark_colours,
    chosen_images,
    comparison_figure,
    image_miou,
)


def counts_of(right: list[float]) -> Counts:
    """One image a value: of class 0 that share of its pixels is right, the rest is called class 1."""
    builder = CountsBuilder(3, 255)
    for i, share in enumerate(right):
        label = np.zeros((10, 10), np.uint8)
        prediction = np.where(np.arange(100).reshape(10, 10) < 100 * share, 0, 1)
        builder.add(f"i{i}", prediction, label)
    return builder.build()


def test_the_miou_of_an_image_is_over_its_own_classes():
    rng = np.random.default_rng(0)
    builder, expected = CountsBuilder(5, 255), []
    for i in range(6):
        label, prediction = rng.integers(0, 4, (8, 8)), rng.integers(0, 5, (8, 8))
        builder.add(f"i{i}", prediction, label)
        expected.append(
            np.mean([((label == c) & (prediction == c)).sum() / ((label == c) | (prediction == c)).sum()
                     for c in np.unique(label)])
        )  # fmt: skip
    builder.add("void", np.zeros((2, 2), int), np.full((2, 2), 255))
    found = image_miou(builder.build())
    np.testing.assert_allclose(found[:-1], expected)
    assert np.isnan(found[-1])


def test_wins_losses_and_failures_follow_from_the_counts():
    a, b = counts_of([0.9, 0.5, 0.2, 0.1, 0.6]), counts_of([0.1, 0.4, 0.9, 0.1, 0.3])
    found = chosen_images([a], [b], 2)
    assert found == {"wins": ["i0", "i4"], "losses": ["i2"], "failures": ["i3", "i1"]}


def test_several_seeds_choose_by_their_mean():
    one, other, base = counts_of([0.9, 0.6]), counts_of([0.1, 0.6]), counts_of([0.4, 0.4])
    assert chosen_images([one], [base], 1)["wins"] == ["i0"]
    assert chosen_images([one, other], [base], 1)["wins"] == ["i1"]


def test_counts_of_other_images_are_refused():
    with pytest.raises(ValueError, match="different images"):
        chosen_images([counts_of([0.5])], [counts_of([0.5, 0.5])], 1)


def test_the_voc_map_is_that_of_the_devkit():
    colours = voc_palette()[:21].tolist()
    assert colours[:3] == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert colours[8] == [64, 0, 0]
    assert colours[15] == [192, 128, 128]
    assert colours[20] == [0, 64, 128]
    assert len(np.unique(voc_palette(), axis=0)) == 256


def test_voc_benchmarks_take_the_voc_map_and_its_black_background():
    assert benchmark_colours(get_benchmark("PAS-20")).tolist() == voc_palette()[1:21].tolist()
    folded = benchmark_colours(get_benchmark("PAS-20b"))
    assert folded[-1].tolist() == [0, 0, 0]
    assert folded[:-1].tolist() == voc_palette()[1:21].tolist()


@pytest.mark.parametrize("name", ["A-847", "PC-459"])
def test_vocabularies_without_a_published_map_take_colours_by_name(name: str):
    benchmark = get_benchmark(name)
    names = [n.split(",")[0].strip() for n in benchmark.class_names()]
    assert benchmark_colours(benchmark).tolist() == class_colours(names).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "known"), [("A-150", {0: [120, 120, 120], 2: [6, 230, 230]}), ("PC-59", {})])
def test_published_maps_are_used_where_their_classes_are_ours(name: str, known: dict[int, list[int]]):
    pytest.importorskip("mmseg")
    benchmark = get_benchmark(name)
    names = [n.split(",")[0].strip() for n in benchmark.class_names()]
    found = benchmark_colours(benchmark)
    assert found.tolist() != class_colours(names).tolist()
    assert len(np.unique(found, axis=0)) >= len(names) - 1  # the published ADE palette has one colour twice
    for index, colour in known.items():
        assert found[index].tolist() == colour


def example(label: np.ndarray, **predictions: np.ndarray) -> Example:
    image = np.full((*label.shape, 3), 128, np.uint8)
    return Example("key", image, label, predictions, dict.fromkeys(predictions, 0.5))


def test_panels_show_the_classes_and_leave_void_white():
    pytest.importorskip("matplotlib")
    label = np.array([[0, 1], [2, 255]], np.uint8)
    colours = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    figure = comparison_figure([example(label, A=label % 3, B=label * 0)], ["x", "y", "z"], colours, "caption")
    panels = [a for a in figure.axes if a.images]
    assert [p.get_title() for p in panels] == ["image", "ground truth", "A", "B"]
    truth, b = (np.asarray(panels[i].images[0].get_array()) for i in (1, 3))
    assert truth[1, 1].tolist() == [1, 1, 1]
    assert truth[0, 0].argmax() == 0
    assert truth[0, 1].argmax() == 1
    np.testing.assert_allclose(b, np.broadcast_to(b[0, 0], b.shape))
    legend = next(a.get_legend() for a in figure.axes if a.get_legend())
    assert {t.get_text() for t in legend.get_texts()} == {"x", "y", "z"}
    assert panels[2].get_xlabel() == "mIoU 50.0"


def test_the_command_draws_the_chosen_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("matplotlib")
    import repro.datasets.layout as layout
    import repro.measuring.figures as figure_data
    from repro.reports.figures import draw

    finished_table(tmp_path / "runs", ("PAS-20b",))
    keys = [f"image_{i:03d}" for i in range(16)]
    pairs = []
    for key in keys:
        Image.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(tmp_path / f"{key}.jpg")
        Image.fromarray(np.zeros((24, 32), np.uint8)).save(tmp_path / f"{key}.png")
        pairs.append(SimpleNamespace(key=key, image=tmp_path / f"{key}.jpg", label=tmp_path / f"{key}.png"))
    monkeypatch.setattr(layout, "prepared_pairs", lambda *_: pairs)
    monkeypatch.setattr("repro.runs.assets.Assets.ensure_data", lambda *_: tmp_path)
    monkeypatch.setattr(figure_data, "load_trained", lambda *_: None)
    predicted: list[Any] = []

    def predict(_run: Any, _method: Any, _benchmark: Any, image: np.ndarray) -> np.ndarray:
        predicted.append(image)
        return np.zeros(image.shape[:2], np.int64)

    headings: set[tuple[str, ...]] = set()
    real_figure, real_run = draw.comparison_figure, draw.stored_run

    def figure(examples: list[Any], *given: Any) -> Any:
        headings.update(tuple(e.predictions) for e in examples)
        return real_figure(examples, *given)

    def trained_elsewhere(*given: Any) -> Any:
        run = real_run(*given)
        return dataclasses.replace(run, row=dataclasses.replace(run.row, title="as another table calls it"))

    monkeypatch.setattr(draw, "comparison_figure", figure)
    monkeypatch.setattr(draw, "stored_run", trained_elsewhere)
    monkeypatch.setattr(figure_data, "predict_classes", predict)
    words = ["figures", "qualitative", "--run", "table1:disa-base,table1:catseg-base", "--profile", "smoke"]
    words += ["--runs", str(tmp_path / "runs"), "--benchmark", "PAS-20b", "--count", "2", "--out", str(tmp_path / "o")]
    assert main([*words, "--device", "cpu"]) == 0
    written = {p.name for p in (tmp_path / "o").iterdir()}
    assert {"PAS-20b_wins.pdf", "PAS-20b_wins.png", "PAS-20b_failures.png"} <= written
    assert headings == {("DiSa", "CAT-Seg")}
    assert len(predicted) % 2 == 0
    assert len(predicted) >= 8  # two runs, at least two wins and two failures
    assert main([*words, "--run", "table1:disa-base"]) == 2
    assert "needs two runs" in capsys.readouterr().err
