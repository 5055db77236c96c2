"""Figures show what the method offers, for the images and classes that were asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_method import make_method
from PIL import Image

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.protocol import Protocol
from repro.errors import RunError, UsageError, WeightsError
from repro.measuring.figures import (
    ImageData,
    choose_classes,
    choose_pairs,
    image_data,
    load_trained,
    photo_data,
    words_of,
)
from repro.reports.figures.draw import FiguresRequest, draw_figures
from repro.runs.addresses.stored import stored_run
from repro.runs.plan import make_plan

PAIRS = [SimpleNamespace(key=f"image{n}") for n in range(10)]
PROTOCOL = Protocol(short_side=20, max_long_side=80, canvas=20, window=12)


def data_of(**maps: np.ndarray) -> ImageData:
    rng = np.random.default_rng(0)
    label = np.repeat(np.array([[0, 1], [2, 255]], np.uint8), 16, 0).repeat(16, 1)
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return ImageData("k", image, label, label.astype(np.int64) % 3, (0, 2), maps)


def test_images_are_spread_evenly_or_those_named():
    assert [p.key for p in choose_pairs(PAIRS, None, 3)] == ["image0", "image4", "image9"]
    assert [p.key for p in choose_pairs(PAIRS, None, 99)] == [p.key for p in PAIRS]
    assert [p.key for p in choose_pairs(PAIRS, ["image7", "image2"], 1)] == ["image7", "image2"]
    with pytest.raises(UsageError, match="did you mean image"):
        choose_pairs(PAIRS, ["imag7"], 1)


def test_classes_are_the_largest_or_those_named():
    benchmark = get_benchmark("PC-59")
    label = np.array([[3] * 5 + [7] * 9 + [255] * 20 + [1]])
    assert choose_classes(label, benchmark, None, 2) == (7, 3)
    first = benchmark.class_names()[4].split(",")[0]
    assert choose_classes(label, benchmark, [first], 2) == (4,)
    with pytest.raises(UsageError, match="unknown class"):
        choose_classes(label, benchmark, ["zeppelin"], 2)


def test_a_folded_background_is_no_class_of_a_figure():
    benchmark = get_benchmark("PAS-20b")
    assert choose_classes(np.full((4, 4), 20), benchmark, None, 3) == ()
    with pytest.raises(UsageError, match="unknown class"):
        choose_classes(np.zeros((4, 4), int), benchmark, ["background"], 1)


def small_benchmark():
    return SimpleNamespace(
        id="small",
        background_index=None,
        class_names=lambda: ("sky", "dog", "sea"),
        prompt_names=lambda: ("sky", "dog", "sea"),
    )


@pytest.fixture
def pair(tmp_path: Path):
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(tmp_path / "i.png")
    Image.fromarray(rng.integers(0, 3, (24, 30), dtype=np.uint8)).save(tmp_path / "l.png")
    return SimpleNamespace(key="i", image=tmp_path / "i.png", label=tmp_path / "l.png")


RUN = SimpleNamespace(profile=SimpleNamespace(protocol=PROTOCOL), entry=SimpleNamespace(name="fake"))


def test_maps_are_those_of_the_chosen_classes_in_their_order(pair, monkeypatch: pytest.MonkeyPatch):
    method = make_method().eval()
    maps = torch.arange(3.0).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    monkeypatch.setattr(type(method), "diagnostics", lambda self, images, classes: {"saliency": maps})
    data = image_data(RUN, method, small_benchmark(), pair, ["sea", "sky"], 9)
    assert data.classes == (2, 0)
    assert data.maps["saliency"].shape == (2, 4, 5)
    assert [m.mean() for m in data.maps["saliency"]] == [2, 0]
    assert data.prediction.shape == data.label.shape == (24, 30)


def test_a_picture_of_ones_own_is_segmented_into_the_sets_classes_and_those_looked_for(pair, monkeypatch):
    method = make_method().eval()
    asked = []

    def maps(self, images, classes):
        asked.append(tuple(classes))
        return {"attention": torch.arange(float(len(classes))).view(1, -1, 1, 1).expand(1, -1, 4, 5)}

    monkeypatch.setattr(type(method), "diagnostics", maps)
    words = words_of(small_benchmark(), ["lighthouse", "Dog"])
    assert words.names == ("sky", "dog", "sea", "lighthouse")  # a name that the set has is not asked for twice
    data = photo_data(RUN, method, words, "i", pair.image, ["lighthouse", "dog"])
    assert asked == [words.prompts]
    assert (data.label, data.classes, data.key) == (None, (3, 1), "i")
    assert [m.mean() for m in data.maps["attention"]] == [3, 1]
    assert data.prediction.max() <= 3


def test_own_names_stand_before_a_folded_background():
    benchmark = get_benchmark("PAS-20b")
    words = words_of(benchmark, ["lighthouse"])
    assert words.names[20:] == ("lighthouse", "background")
    assert words.background_index == 21
    assert words.prompts[:21] == (*benchmark.prompt_names()[:20], "lighthouse")
    assert words.prompts[21:] == benchmark.prompt_names()[20:]


@pytest.mark.parametrize(("kind", "classes"), [("maps", None), ("qualitative", ["dog"])])
def test_a_picture_of_ones_own_needs_classes_to_look_for(tmp_path: Path, kind, classes):
    request = FiguresRequest(tmp_path, kind, run=["a", "b"], image=[tmp_path / "photo.jpg"], classes=classes)
    with pytest.raises(UsageError, match="has no labels to choose by"):
        draw_figures(request)


def test_a_method_without_diagnostics_offers_no_map(pair):
    assert image_data(RUN, make_method().eval(), small_benchmark(), pair, None, 2).maps == {}


def test_a_map_of_another_shape_is_refused_by_name(pair, monkeypatch: pytest.MonkeyPatch):
    method = make_method().eval()
    monkeypatch.setattr(type(method), "diagnostics", lambda self, i, c: {"saliency": torch.zeros(1, 2, 4, 4)})
    with pytest.raises(RunError, match="'saliency'"):
        image_data(RUN, method, small_benchmark(), pair, None, 2)


def panels(path: Path) -> tuple[int, int]:
    return Image.open(path).size


def test_panels_are_those_the_method_offers(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from repro.reports.figures.maps import explain_figure

    names = ["sky", "dog", "sea"]
    maps = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    explain_figure(data_of(), names, "caption", tmp_path / "without.png")
    explain_figure(data_of(saliency=maps, foreground=maps > 0.5), names, "caption", tmp_path / "with.png")
    explain_figure(dataclasses.replace(data_of(attention=maps), label=None), names, "c", tmp_path / "unlabelled.png")
    without, with_, unlabelled = (panels(tmp_path / f"{name}.png") for name in ("without", "with", "unlabelled"))
    assert without[0] < with_[0]
    assert without[1] == with_[1]
    assert unlabelled == without  # attention in the place of the ground truth


def test_a_correlation_figure_has_a_column_a_method(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from repro.reports.figures.maps import correlation_figure

    data = data_of(correlation=np.zeros((2, 4, 4), np.float32))  # a constant map must not divide by zero
    widths = []
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        correlation_figure([(f"m{n}", data) for n in range(count)], ["sky", "dog", "sea"], "caption", path)
        widths.append(panels(path)[0])
    assert widths[0] < widths[1]


def test_an_unknown_run_is_answered_with_those_there_are(tmp_path: Path):
    with pytest.raises(UsageError, match="unknown run"):
        stored_run("catseg-smoke-base-s0-0123456789", tmp_path)


def test_nothing_is_trained_for_a_figure(tmp_path: Path):
    plan = make_plan(load_table("table1"), load_profile("smoke"), tmp_path, methods=["catseg"])
    with pytest.raises(WeightsError, match="not trained"):
        load_trained(plan.runs[0], plan.runs[0].id, "cpu")
    assert not list(tmp_path.iterdir())
