"""The miniature's panoptic sets, read back from their files and compared with the scenes they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repro.datasets.images import read_image
from repro.datasets.panoptic import PANOPTIC, panoptic_vocabulary, read_ids, read_panoptic
from repro.datasets.vocabulary import load_vocabulary
from repro.mini.catalogue import CONCEPTS
from repro.mini.panoptic import draw_panoptic_scene, panoptic_key, synth_panoptic
from repro.mini.synth import MiniSizes, draw_scene

SIZES = MiniSizes(train=1, ade=3, context=1, voc=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("panoptic")
    synth_panoptic(folder, 3, SIZES)
    return folder


@pytest.mark.parametrize("name", PANOPTIC)
def test_files_hold_every_object_and_every_stuff_class_of_the_scenes(root: Path, name: str) -> None:
    data = read_panoptic(*PANOPTIC[name].paths(root))
    known = panoptic_vocabulary(PANOPTIC[name].vocabulary)
    assert (data.names, data.things) == (known.names, known.things)
    assert len(data.images) == SIZES.ade
    ade = name == "ade-panoptic"
    spelled = load_vocabulary("ade150").names if ade else [n.removesuffix("-merged") for n in known.names]
    for index, item in enumerate(data.images):
        stem, scene = draw_panoptic_scene(3, name, index, SIZES)
        ids = read_ids(item.mask)
        assert item.key == stem
        assert {s.id for s in item.segments} == set(np.unique(ids)) - {0}
        label_of = {c: CONCEPTS[c].label_in(spelled) for c in np.unique(scene.concepts)}
        unlabelled = np.isin(scene.concepts, [c for c, label in label_of.items() if label is None])
        assert ((ids == 0) == unlabelled).all()
        for segment in item.segments:
            mask = ids == segment.id
            assert {label_of[c] for c in np.unique(scene.concepts[mask])} == {segment.category}
            rows, columns = np.nonzero(mask)
            assert segment.box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
            if data.things[segment.category]:
                assert len(np.unique(scene.instances[mask])) == 1
        stuff = [s.category for s in item.segments if not data.things[s.category]]
        assert len(stuff) == len(set(stuff))


def test_ade_shows_the_scenes_of_a150_and_coco_scenes_of_its_own(root: Path) -> None:
    _, scene = draw_panoptic_scene(3, "ade-panoptic", 1, SIZES)
    assert (scene.image == draw_scene(3, "ade", 1, SIZES).image).all()
    stem, scene = draw_panoptic_scene(3, "coco-panoptic", 1, SIZES)
    stored = read_image(root / "coco-stuff" / "images" / "val2017" / f"{stem}.jpg")
    assert np.abs(stored.astype(int) - scene.image).mean() < 6
    assert stored.shape != draw_scene(3, "train", 1, SIZES).image.shape or (
        np.abs(stored.astype(int) - draw_scene(3, "train", 1, SIZES).image).mean() > 6
    )


def test_finished_sets_are_left_alone_and_another_seed_replaces_them(tmp_path: Path) -> None:
    sizes = MiniSizes(train=1, ade=1, context=1, voc=1)
    synth_panoptic(tmp_path, 0, sizes)
    (png,) = (tmp_path / PANOPTIC["ade-panoptic"].masks).glob("*.png")
    stamp, content = png.stat().st_mtime_ns, png.read_bytes()
    synth_panoptic(tmp_path, 0, sizes)
    assert png.stat().st_mtime_ns == stamp
    synth_panoptic(tmp_path, 1, sizes)
    assert png.read_bytes() != content
    assert panoptic_key(0, sizes) != panoptic_key(1, sizes)
