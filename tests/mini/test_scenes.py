"""Scenes: deterministic, completely labelled, varied, and with the traits the benchmarks need."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.errors import UsageError
from repro.mini.captions import CATSEG_PROMPT, caption, salient
from repro.mini.catalogue import CONCEPTS, INDEX
from repro.mini.contact_sheet import contact_sheet
from repro.mini.looks import looks
from repro.mini.patterns import PATTERNS, pattern
from repro.mini.scenes import Scene, crop_scene, render_crop, render_scene
from repro.mini.settings import SETTINGS


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    rng = np.random.default_rng(5)
    return [render_scene(rng, 64, 80) for _ in range(400)]


def test_same_generator_state_draws_same_scene() -> None:
    a, b = (render_scene(np.random.default_rng([3, 1]), 48, 56) for _ in range(2))
    assert np.array_equal(a.image, b.image)
    assert np.array_equal(a.concepts, b.concepts)
    assert np.array_equal(a.instances, b.instances)
    other = render_scene(np.random.default_rng([3, 2]), 48, 56)
    assert not np.array_equal(a.image, other.image)


def test_shapes_and_types_are_as_documented() -> None:
    scene = render_scene(np.random.default_rng(0), 50, 70)
    assert scene.image.shape == (50, 70, 3)
    assert scene.image.dtype == np.uint8
    assert scene.concepts.shape == scene.instances.shape == (50, 70)
    assert scene.concepts.dtype == scene.instances.dtype == np.int16


def test_instances_are_things_without_gaps_and_stuff_has_none(many: list[Scene]) -> None:
    thing = np.array([c.kind == "thing" for c in CONCEPTS])
    for scene in many:
        assert np.array_equal(thing[scene.concepts], scene.instances > 0)
        numbers = np.unique(scene.instances)
        assert np.array_equal(numbers[numbers > 0], np.arange(1, numbers.max() + 1))
        for number in numbers[numbers > 0]:
            assert len(np.unique(scene.concepts[scene.instances == number])) == 1


def test_every_scene_has_stuff_and_visible_sums_to_the_picture(many: list[Scene]) -> None:
    for scene in many:
        assert (scene.instances == 0).any()
        areas = [area for _, area in scene.visible]
        assert sum(areas) == scene.concepts.size
        assert areas == sorted(areas, reverse=True)


def test_every_concept_is_drawn_somewhere(many: list[Scene]) -> None:
    rng = np.random.default_rng(17)
    seen = set().union(*({c for c, _ in s.visible} for s in many))
    for name in SETTINGS:
        for _ in range(25):
            seen |= {c for c, _ in render_scene(rng, 48, 60, name).visible}
    assert {c.name for i, c in enumerate(CONCEPTS) if i not in seen} == set()


def test_sizes_range_from_tiny_to_large(many: list[Scene]) -> None:
    shares = np.concatenate([np.bincount(s.instances.ravel())[1:] / s.instances.size for s in many])
    assert np.quantile(shares, 0.1) < 0.01
    assert np.quantile(shares, 0.95) > 0.12


def test_some_scenes_hold_no_training_class(many: list[Scene]) -> None:
    from repro.datasets import vocabulary

    with (Path(vocabulary.__file__).parent / "vocab" / "coco_stuff171.csv").open(encoding="utf-8") as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    known = {i for i, c in enumerate(CONCEPTS) if c.label_in(names) is not None}
    things = [{c for c, _ in s.visible if CONCEPTS[c].kind == "thing"} for s in many]
    assert sum(bool(t) and not t & known for t in things) >= 10
    assert sum(not {c for c, _ in s.visible} & known for s in many) >= 4


def test_exclude_keeps_a_concept_out_of_its_own_setting() -> None:
    rng = np.random.default_rng(2)
    banned = {"sand", "person", "sea"}
    for _ in range(40):
        scene = render_scene(rng, 40, 48, "beach", exclude=banned)
        assert not {CONCEPTS[c].name for c, _ in scene.visible} & banned


def test_unknown_setting_and_concept_suggest_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean kitchen"):
        render_scene(np.random.default_rng(0), 32, 32, "kitchn")
    with pytest.raises(UsageError, match="did you mean zebra"):
        render_scene(np.random.default_rng(0), 32, 32, exclude=["zebr"])


def test_same_setting_varies_in_light_and_content() -> None:
    scenes = [render_scene(np.random.default_rng(i), 32, 40, "kitchen") for i in range(30)]
    means = [s.image.mean() for s in scenes]
    assert np.std(means) > 8
    assert len({tuple(sorted(c for c, _ in s.visible)) for s in scenes}) > 20


@pytest.mark.parametrize("index", range(len(CONCEPTS)), ids=lambda i: CONCEPTS[i].name)
def test_a_crop_shows_mostly_its_concept(index: int) -> None:
    rng = np.random.default_rng(index)
    shares = [(crop_scene(rng, index, 64, (0.62, 1.08)).concepts == index).mean() for _ in range(4)]
    assert min(shares) > 0.03  # a street lamp is thin
    assert np.array_equal(
        render_crop(np.random.default_rng(9), index, 32), render_crop(np.random.default_rng(9), index, 32)
    )


def test_looks_are_distinct() -> None:
    keys = {(k.texture, k.colours, k.points.tobytes()) for k in looks()}
    assert len(keys) == len(CONCEPTS)
    assert {k.texture for k in looks()} <= set(PATTERNS)


def test_synonyms_look_alike_because_they_are_one_concept() -> None:
    names = [name for c in CONCEPTS for name in c.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_stay_in_the_unit_interval(name: str) -> None:
    for shape in ((1, 1), (3, 40), (40, 33)):
        field = pattern(name, np.random.default_rng(1), *shape, 1.3)
        assert field.shape == shape
        assert field.dtype == np.float32
        assert field.min() >= 0
        assert field.max() <= 1


def test_captions_name_things_first_and_stuff_rarely() -> None:
    labels = np.full((20, 20), INDEX["grass"], np.int16)
    labels[:6, :6] = INDEX["dog"]
    labels[10:, 10:] = INDEX["horse"]
    rng = np.random.default_rng(0)
    assert salient(rng, labels, stuff=0) == [INDEX["horse"], INDEX["dog"]]
    named = [salient(rng, labels, stuff=0.2) for _ in range(500)]
    assert 0.12 < np.mean([INDEX["grass"] in n for n in named]) < 0.28
    assert all(n[-1] == INDEX["grass"] for n in named if INDEX["grass"] in n)
    assert salient(rng, np.full((4, 4), INDEX["sea"], np.int16), stuff=0) == [INDEX["sea"]]


def test_a_tiny_thing_is_overlooked() -> None:
    labels = np.full((20, 20), INDEX["snow"], np.int16)
    labels[0, 0] = INDEX["bear"]
    assert salient(np.random.default_rng(0), labels, stuff=0) == [INDEX["snow"]]


def test_captions_use_all_names_and_the_prompt_of_catseg() -> None:
    rng = np.random.default_rng(3)
    sentences = {caption(rng, [INDEX["couch"]]) for _ in range(200)}
    assert CATSEG_PROMPT.format("sofa") in sentences
    assert CATSEG_PROMPT.format("couch") in sentences
    assert "couch" in caption(rng, [INDEX["couch"]]) or "sofa" in caption(rng, [INDEX["couch"]])
    with pytest.raises(ValueError, match="at least one"):
        caption(rng, [])


def test_contact_sheet_names_every_concept(tmp_path: Path) -> None:
    scenes = [render_scene(np.random.default_rng(i), 48, 60) for i in range(3)]
    with Image.open(contact_sheet(scenes, tmp_path / "sheet.png", columns=3)) as sheet:
        per_row = max(1, 3 * 66 // 94)
        assert sheet.width == 3 * 66
        assert sheet.height >= len(CONCEPTS) // per_row * 96
        pixels = np.asarray(sheet)
    assert np.array_equal(pixels[:48, :60], scenes[0].image)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], tmp_path / "none.png")
