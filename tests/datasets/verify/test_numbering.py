"""COCO-Stuff that is numbered from another start is named, and COCO-Stuff that is not never is."""

from __future__ import annotations

import dataclasses
import shutil
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from talk import Talk, ours

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.prepare.prepare import prepare
from repro.datasets.sets.coco_stuff import DATA_SET
from repro.datasets.verify import numbering
from repro.datasets.verify.numbering import check_numbering, official_shares, wrong_numbering
from repro.datasets.verify.verify import verify
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import DataError
from repro.mini.draw import draw_miniature

COCO = "coco-stuff"
NEVER = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
"""Values of the eleven categories without annotations."""


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.chdir(tmp_path)
    return Talk(capsys)


def drawn_counts(count: int, seed: int) -> list[int]:
    """In how many of ``count`` images each class occurs, drawn with the official shares."""
    return np.random.default_rng(seed).binomial(count, official_shares()).tolist()


def renumbered(images: list[int], meant: tuple[int | None, ...]) -> list[int]:
    """The counts of labels that mean other classes."""
    return [0 if m is None else images[m] for m in meant]


def test_the_counts_are_of_the_classes_of_the_vocabulary_and_person_is_in_most_images() -> None:
    text = (numbering.COUNTS / "coco_stuff171.csv").read_text().splitlines()[1:]
    names = [line.split(",")[1] for line in text]
    assert names == [row["name"] for row in load_vocabulary("coco_stuff171").rows]
    assert names[int(official_shares().argmax())] == "person"
    assert official_shares()[0] == pytest.approx(66_808 / 123_287, rel=1e-4)


def test_every_table_of_the_benchmarks_is_in_the_package() -> None:
    root = numbering.COUNTS.parents[3]
    with (root / "pyproject.toml").open("rb") as stream:
        patterns = tomllib.load(stream)["tool"]["setuptools"]["package-data"]["repro"]
    packaged = {path for pattern in patterns for path in (root / "repro").glob(pattern)}
    tables = set((root / "repro" / "datasets").rglob("*.csv"))
    assert numbering.COUNTS / "coco_stuff171.csv" in tables
    assert tables <= packaged


@pytest.mark.parametrize("count", [10, 21, 100, 5000, 118_287])
def test_images_of_the_official_shares_are_taken_as_they_are(count: int) -> None:
    assert {wrong_numbering(drawn_counts(count, seed), count) for seed in range(200)} == {""}


@pytest.mark.parametrize("count", [10, 21, 100, 5000])
@pytest.mark.parametrize("which", range(5))
def test_every_other_numbering_is_named(which: int, count: int) -> None:
    words = {
        wrong_numbering(renumbered(drawn_counts(count, seed), numbering._meant()[which]), count) for seed in range(50)
    }
    assert words == {numbering._NUMBERINGS[which]}


def real_labels(root: Path) -> list[np.ndarray]:
    paths = sorted((root / COCO / "annotations").glob("*/*.png"))
    return [DATA_SET.convert_mask(np.asarray(Image.open(path))) for path in paths]


def test_real_photographs_are_of_the_official_classes(photographs: Path) -> None:
    labels = real_labels(photographs)
    having = Counter(v for label in labels for v in np.unique(label).tolist())
    assert wrong_numbering([having[i] for i in range(171)], len(labels)) == ""


@pytest.mark.parametrize("shift", [1, -1])
def test_labels_of_others_off_by_one_are_found_without_their_sources(mini_real: Path, shift: int) -> None:
    folder = mini_real / COCO
    target = folder / "annotations_detectron2" / "train2017"
    target.mkdir(parents=True)
    for path in sorted((folder / "annotations" / "train2017").iterdir()):
        label = DATA_SET.convert_mask(np.asarray(Image.open(path))).astype(int)
        moved = np.where(label == 255, 255, label + shift)
        Image.fromarray(np.where((moved < 0) | (moved > 170), 255, moved).astype(np.uint8)).save(target / path.name)
    shutil.rmtree(folder / "annotations")
    report = verify(COCO, mini_real, expected_count=13)
    (problem,) = report.problems
    assert problem.kind == "histogram"
    assert "off by one" in problem.message
    assert "stuffthingmaps_trainval2017.zip" in problem.mend


@pytest.mark.follows("repro.datasets.verify.numbering:check_numbering")
def test_masks_off_by_one_are_refused_even_where_every_value_could_occur(mini_real: Path, talk: Talk) -> None:
    folder = mini_real / COCO / "annotations" / "train2017"
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    for path in kept:
        mask = np.asarray(Image.open(path)).astype(int)
        moved = np.where(mask == 255, 255, mask + 1)
        moved[np.isin(moved, [*NEVER, 182])] = 255  # what cannot occur would be an error by itself
        Image.fromarray(moved.astype(np.uint8)).save(path)
    for _ in range(2):
        with pytest.raises(DataError, match="not those of COCO-Stuff") as error:
            prepare(COCO, mini_real)
        assert "masks 1..182" in str(error.value)
    for path, data in kept.items():
        path.write_bytes(data)
    mend = error.value.mend or ""
    assert str(folder.parent) in mend
    talk.succeeds(*ours(mend))
    assert verify(COCO, mini_real, expected_count=13).ok


@pytest.mark.follows("repro.datasets.verify.numbering:check_numbering")
def test_labels_off_by_one_that_verify_finds_are_made_again_by_its_command(mini_real: Path, talk: Talk) -> None:
    folder = mini_real / COCO
    labels = prepare(COCO, mini_real).folder
    for path in labels.glob("*.png"):
        label = np.asarray(Image.open(path)).astype(int)
        Image.fromarray(np.where(label >= 170, 255, label + 1).astype(np.uint8)).save(path)
    mend = next(p.mend for p in verify(COCO, mini_real, 13).problems if "off by one" in p.message)
    assert str(folder / "annotations") in mend
    talk.succeeds(*ours(mend))
    assert verify(COCO, mini_real, 13, against_sources=True).ok


def test_masks_of_another_numbering_are_all_to_be_fetched_not_one(mini_real: Path) -> None:
    for path in (mini_real / COCO / "annotations" / "train2017").iterdir():
        mask = np.asarray(Image.open(path)).astype(int)
        Image.fromarray(np.where(mask == 255, 0, mask + 1).astype(np.uint8)).save(path)
    with pytest.raises(DataError, match="outside the vocabulary") as error:
        prepare(COCO, mini_real)
    assert "1..182" in str(error.value.found)
    assert "fetch all annotations of coco-stuff again" in str(error.value.mend)


def test_a_whole_set_of_other_classes_is_refused_and_a_sample_is_not() -> None:
    benchmark = get_benchmark(COCO)
    part = dataclasses.replace(benchmark.splits[0], num_images=400)
    own = dict.fromkeys(range(171), 40)
    check_numbering(benchmark, Path("data"), part, own, 399, "again")
    with pytest.raises(DataError, match="in 400 images") as error:
        check_numbering(benchmark, Path("data"), part, own, 400, "again")
    assert "total variation" in str(error.value)
    official = {i: round(share * 400) for i, share in enumerate(official_shares())}
    check_numbering(benchmark, Path("data"), part, official, 400, "again")


def test_the_drawn_world_is_not_taken_for_a_wrong_numbering(tmp_path: Path) -> None:
    draw_miniature(tmp_path, 7, {"train": 40, "ade": 1, "context": 1, "voc": 1}, prepared=False)
    assert prepare(COCO, tmp_path).images == 40
    assert verify(COCO, tmp_path, expected_count=40).ok
