"""Sets of the user's own, described by a file: labels, classes, and what is said of a wrong description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repro.datasets import own_file
from repro.datasets.benchmarks import all_sets, get_benchmark
from repro.datasets.layout import prepared_pairs
from repro.datasets.own_file import read_own_set
from repro.datasets.prepare.prepare import prepare
from repro.datasets.registry import add_own_set
from repro.errors import DataError, UsageError

FILE = """
id = "Rooms"
images = "images"
masks = "masks"
mask_suffix = "_mask.png"
classes = ["wall", "chair, seat", "floor"]
stuff = ["wall", "floor"]
offset = 1
ignore = [0, 255]
"""
MASK = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)


@pytest.fixture(autouse=True)
def no_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(own_file.VARIABLE, "")


def write(
    folder: Path, text: str = FILE, mask: np.ndarray[Any, Any] = MASK, names: tuple[str, ...] = ("a", "b")
) -> Path:
    for name in names:
        for place, suffix, values in (
            ("images", ".jpg", np.zeros((*mask.shape, 3), np.uint8)),
            ("masks", "_mask.png", mask),
        ):
            path = folder / place / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
    (folder / "rooms.toml").write_text(text)
    return folder / "rooms.toml"


def test_a_described_set_is_a_set_like_any_other(tmp_path: Path) -> None:
    assert add_own_set(write(tmp_path / "home")) == "Rooms"
    rooms = get_benchmark("rooms")
    assert list(all_sets())[-1] == "Rooms"
    assert rooms.class_names() == ("wall", "chair, seat", "floor")
    assert rooms.prompt_names() == ("wall", "chair", "floor")
    assert rooms.class_kinds() == ("stuff", "thing", "stuff")
    assert rooms.root == tmp_path
    assert prepare("Rooms", tmp_path).converted == rooms.num_images == 2
    pairs = prepared_pairs(rooms, tmp_path)
    assert [p.key for p in pairs] == ["a", "b"]
    label = np.asarray(Image.open(pairs[0].label))
    np.testing.assert_array_equal(label, [[255, 0, 1], [2, 255, 0]])


def test_more_classes_than_a_byte_holds_have_labels_of_sixteen_bits(tmp_path: Path) -> None:
    names = "\n".join(f"class {i}" for i in range(300))
    text = 'images = "images"\nmasks = "masks"\nmask_suffix = "_mask.png"\nclasses = "names.txt"\nignore = 65535\n'
    place = write(tmp_path, text, np.array([[0, 255, 299, 65535]], np.uint16), ("a",))
    (tmp_path / "names.txt").write_text(names)
    rooms = read_own_set(place)
    (pair,) = rooms.list_sources(tmp_path, rooms.split())
    label = rooms.read_source(pair)
    assert (rooms.num_classes, label.dtype, label.tolist()) == (300, np.uint16, [[0, 255, 299, 65535]])


def test_classes_come_from_a_table_and_images_from_a_list(tmp_path: Path) -> None:
    text = FILE.replace('classes = ["wall", "chair, seat", "floor"]\nstuff = ["wall", "floor"]', 'classes = "c.csv"')
    place = write(tmp_path, text.replace("offset", 'list = "val.txt"\noffset'))
    (tmp_path / "c.csv").write_text("name,kind\nwall,stuff\nchair,thing\nfloor,stuff\n")
    (tmp_path / "val.txt").write_text("b\n")
    rooms = read_own_set(place)
    assert rooms.class_kinds() == ("stuff", "thing", "stuff")
    assert ([p.key for p in rooms.list_sources(tmp_path, rooms.split())], rooms.num_images) == (["b"], 1)


def test_a_description_that_changes_is_read_again(tmp_path: Path) -> None:
    place = write(tmp_path)
    assert read_own_set(place).offset == 1
    place.write_text(FILE.replace("offset = 1", "offset = 2").replace("ignore = [0, 255]", ""))
    assert (read_own_set(place).offset, read_own_set(place).ignored) == (2, (255,))


WRONG = {
    "no file": ("", "cannot be read"),
    "no TOML": (FILE + "images", "is no TOML file"),
    "no classes": (FILE.replace("classes", "# classes"), "lacks classes"),
    "no masks": (FILE.replace('masks = "masks"', ""), "lacks masks"),
    "unknown": (FILE + "ofset = 1", "did you mean offset"),
    "type": (FILE.replace("offset = 1", "offset = -1"), "offset in .* does not fit"),
    "part": (FILE + "[train]\nimages = 3\nmasks = 'masks'", "images in .* does not fit"),
    "id": (FILE.replace("Rooms", "my rooms"), "describes no data set"),
    "outside": (FILE.replace('"masks"', '"../masks"'), "describes no data set"),
    "ignored class": (FILE.replace("[0, 255]", "[2]"), "describes no data set"),
    "too large": (FILE.replace("offset = 1", "offset = 65534").replace("[0, 255]", "0"), "describes no data set"),
    "nothing": ('classes = ["a"]', "describes no data set"),
    "twice": (FILE.replace("floor", "wall"), "names wall twice"),
    "stuff": (FILE.replace('stuff = ["wall"', 'stuff = ["sky"'), "calls sky stuff"),
    "absent names": (FILE.replace('["wall", "chair, seat", "floor"]', '"c.txt"'), "a file of classes that is absent"),
}


@pytest.mark.follows("repro.datasets.own_file:_wrong", "repro.datasets.own_file:_values")
def test_a_wrong_description_is_refused_and_its_correction_is_read(tmp_path: Path) -> None:
    for number, (text, problem) in enumerate(WRONG.values()):
        folder = tmp_path / str(number)
        place = write(folder, text) if text else folder / "rooms.toml"
        with pytest.raises(UsageError, match=problem) as caught:
            add_own_set(place)
        assert f"correct {place}" in str(caught.value)
        assert read_own_set(write(folder)).id == "Rooms"


@pytest.mark.follows("repro.datasets.registry:add_own_set")
def test_an_id_that_another_set_has_is_refused(tmp_path: Path) -> None:
    place = write(tmp_path, FILE.replace("Rooms", "a-150"))
    with pytest.raises(UsageError, match="takes the id a-150") as caught:
        add_own_set(place)
    assert caught.value.mend == 'write another id = ".."'
    assert add_own_set(write(tmp_path)) == add_own_set(place) == "Rooms"
    with pytest.raises(UsageError, match="takes the id Rooms"):
        add_own_set(write(tmp_path / "another"))


@pytest.mark.follows("repro.datasets.own:OwnSet.split", "repro.datasets.own:OwnSet._files")
def test_an_absent_part_and_two_files_of_one_name_are_refused_until_the_file_is_corrected(tmp_path: Path) -> None:
    place = write(tmp_path)
    with pytest.raises(UsageError, match="Rooms has no part train") as caught:
        read_own_set(place).split("train")
    assert caught.value.mend == f"correct {place} (docs/own-data.md shows one)"
    write(tmp_path, FILE + '[train]\nimages = "images"\nmasks = "masks"')
    assert read_own_set(place).split("train").labels == "annotations_detectron2/Rooms-train"
    (tmp_path / "masks" / "more").mkdir()
    (tmp_path / "masks" / "a_mask.png").rename(tmp_path / "masks" / "more" / "b_mask.PNG")
    rooms = read_own_set(place)
    with pytest.raises(DataError, match=r"two files of .* have one name"):
        rooms.list_sources(tmp_path, rooms.split())
    corrected = read_own_set(write(tmp_path, FILE.replace('masks = "masks"', 'masks = "masks/more"')))
    assert list(corrected.mask_files(tmp_path / "masks" / "more")) == ["b"]


def test_a_value_that_is_no_class_names_the_file_the_value_and_the_description(tmp_path: Path) -> None:
    add_own_set(write(tmp_path / "home", FILE.replace("offset = 1", "offset = 0").replace("[0, 255]", "255")))
    with pytest.raises(DataError, match=r"a_mask.png holds a value outside the vocabulary of Rooms") as caught:
        prepare("Rooms", tmp_path)
    assert (caught.value.expected, str(caught.value.found)[:4]) == ("0..2 or 255 (ignored)", "3: /")
    assert "rooms.toml says offset = 0 and 3 classes" in str(caught.value.found)
    assert str(caught.value.mend).startswith("correct ")


def test_the_description_on_the_page_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "own-data.md").read_text()
    text = page.split("```toml\n")[1].split("```")[0]
    for part in ("val", "train"):
        for place, name in (("images", "hall.jpg"), ("masks", "hall_mask.png")):
            path = tmp_path / place / part / name
            path.parent.mkdir(parents=True)
            Image.fromarray(np.array([[1, 4], [0, 255]], np.uint8)).save(path)
    (tmp_path / "rooms.toml").write_text(text)
    rooms = read_own_set(tmp_path / "rooms.toml")
    assert (rooms.id, rooms.class_kinds()) == ("rooms", ("stuff", "stuff", "thing", "thing"))
    for part in ("val", "train"):
        (pair,) = rooms.list_sources(tmp_path, rooms.split(part))
        assert rooms.read_source(pair).tolist() == [[0, 3], [255, 255]]
