"""Every data set is one module, and the sets of val2017 are prepared and verified like the others."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.configuration.profiles import load_profile
from repro.datasets import registry
from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS, get_benchmark
from repro.datasets.data_set import DataSet, OutsideVocabularyError
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import UsageError
from repro.mini.panoptic import synth_panoptic
from repro.mini.synth import MiniSizes, synth
from repro.runs.assets import Assets
from repro.runs.data import set_ids

VAL_SETS = ("COCO-Stuff-val", "COCO-Object")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, sizes = tmp_path_factory.mktemp("miniature"), MiniSizes(train=5, ade=4, context=4, voc=4)
    synth(root, seed=3, sizes=sizes)
    synth_panoptic(root, 3, sizes)
    return root


def _official(mask: np.ndarray, things_only: bool) -> np.ndarray:
    """The label by a loop over the classes, as a second implementation of both rules."""
    label = np.full(mask.shape, 80 if things_only else 255, np.uint8)
    for row in load_vocabulary("coco_stuff171").rows:
        if not things_only or row["kind"] == "thing":
            label[mask == int(row["stuffthingmaps_value"])] = int(row["index"])
    return label


def _equal_the_official_rule(name: str, root: Path) -> int:
    pairs = prepared_pairs(get_benchmark(name), root)
    for pair in pairs:
        source = np.asarray(Image.open(root / "coco-stuff/annotations/val2017" / f"{pair.key}.png"))
        made = np.asarray(Image.open(pair.label))
        np.testing.assert_array_equal(made, _official(source, name == "COCO-Object"), strict=True)
    return len(pairs)


@pytest.mark.parametrize("name", VAL_SETS)
def test_the_drawn_val2017_is_prepared_and_verified(name: str, drawn: Path) -> None:
    prepare(name, drawn)
    assert _equal_the_official_rule(name, drawn) == 4
    report = verify(name, drawn, expected_count=4)
    assert report.ok, str(report)
    assert report.classes_present > 3


def test_a_further_set_is_prepared_when_asked_for_and_leaves_the_miniature_alone(tmp_path: Path) -> None:
    assets = Assets(load_profile("smoke"), tmp_path, None)
    coco, root = get_benchmark("COCO-Object"), assets.ensure_data()
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert not (root / coco.folder / coco.split().labels).exists()
    assert assets.ensure_set(coco) == root
    assert len(prepared_pairs(coco, root)) == 2
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("name", VAL_SETS)
def test_real_val2017_masks_equal_the_official_rule(name: str, photographs: Path, tmp_path: Path) -> None:
    for part in ("images", "annotations"):
        shutil.copytree(photographs / "coco-stuff" / part / "val2017", tmp_path / "coco-stuff" / part / "val2017")
    prepare(name, tmp_path)
    assert _equal_the_official_rule(name, tmp_path) > 0


def test_coco_object_folds_stuff_and_unlabelled_and_refuses_what_no_mask_holds() -> None:
    coco = get_benchmark("COCO-Object")
    assert coco.convert_mask(np.array([[0, 89, 91, 181, 255]], np.uint8)).tolist() == [[0, 79, 80, 80, 80]]
    with pytest.raises(OutsideVocabularyError):
        coco.convert_mask(np.array([[200]], np.uint8))
    assert coco.num_classes == 81
    kinds = load_vocabulary("coco_stuff171").kinds
    assert kinds == ("thing",) * 80 + ("stuff",) * 91
    assert coco.prompt_names()[:80] == load_vocabulary("coco_object80").prompts
    assert len(coco.prompt_names()) == 171


def test_every_module_is_a_set_and_the_six_are_named_once() -> None:
    known = registry.data_sets()
    assert {*BENCHMARKS, *TRAIN_SETS, *VAL_SETS} <= known.keys()
    assert not set(VAL_SETS) & BENCHMARKS.keys()
    assert len({name.casefold() for name in known}) == len(known)  # ids are case-blind
    for name, data_set in known.items():
        assert data_set.id == name
        assert data_set.instructions


class _Point:
    group, name, value = registry.ENTRY_POINT_GROUP, "mine", "mine:DATA_SET"

    def __init__(self, found: object) -> None:
        self.found = found

    def load(self) -> object:
        return self.found


def test_another_package_brings_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def known_with(found: object) -> dict[str, DataSet]:
        monkeypatch.setattr("repro.announced.entry_points", lambda group: [_Point(found)])
        return registry.installed_sets.__wrapped__()

    mine = dataclasses.replace(get_benchmark("PAS-20"), id="mine")
    assert known_with(mine)["mine"] is mine
    with pytest.raises(UsageError, match="takes the id PAS-20"):
        known_with(dataclasses.replace(mine, id="PAS-20"))
    with pytest.raises(UsageError, match="is not a DataSet"):
        known_with("PAS-20")


def test_all_means_the_papers_sets_and_the_others_that_are_there(tmp_path: Path) -> None:
    papers = [*BENCHMARKS, *TRAIN_SETS]
    assert set_ids([], tmp_path) == set_ids(["all"], tmp_path) == papers
    (tmp_path / "coco-stuff" / "images" / "val2017").mkdir(parents=True)
    assert set_ids([], tmp_path) == [*papers, "COCO-Object", "COCO-Stuff-val"]
    assert set_ids(["cityscapes"], tmp_path) == ["Cityscapes"]
