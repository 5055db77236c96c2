"""Predictions of other code: the three formats, what their numbers mean, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.palettes import voc_palette
from repro.datasets.prepare.rle import decode_counts, encode_mask
from repro.errors import DataError
from repro.interop.detectron2_json import JSON_FILE, read_category_ids
from repro.interop.opening import open_predictions, read_numbers
from repro.interop.predictions import NO_CLASS, Numbers

A150, A847 = get_benchmark("A-150"), get_benchmark("A-847")
SIZE = (5, 7)
Refused = Callable[[], Any]


def drawn(classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, SIZE)


def save(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def write_json(folder: Path, key: str, values: np.ndarray, ids: Any = None, compressed: bool = True) -> Path:
    """Write what detectron2's evaluator does: of each value a mask, by the path of the image."""
    entries = []
    for value in np.unique(values):
        mask = values == value
        segmentation = encode_mask(mask)
        if not compressed:
            segmentation["counts"] = decode_counts(segmentation["counts"]).tolist()
        category = int(value) if ids is None else int(ids[value])
        entries.append({"file_name": f"/data/{key}.jpg", "category_id": category, "segmentation": segmentation})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(json.dumps(entries))
    return folder


def refusal(call: Refused) -> DataError:
    with pytest.raises(DataError) as caught:
        call()
    assert caught.value.expected is not None
    assert caught.value.found is not None
    assert caught.value.mend
    return caught.value


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint8, "png"), (np.uint16, "png"), (np.int32, "tif")])
def test_a_picture_of_any_depth_gives_its_indices(tmp_path: Path, dtype: type, ending: str) -> None:
    values = drawn(150)
    save(tmp_path / f"a.{ending}", values.astype(dtype))
    np.testing.assert_array_equal(open_predictions(tmp_path, A150).read("a", SIZE), values)


@pytest.mark.follows("repro.interop.files:PicturePredictions._values#1")
def test_a_palette_in_vocs_order_gives_its_indices_and_another_is_refused(tmp_path: Path) -> None:
    values = drawn(20).astype(np.uint8)
    image = Image.fromarray(values, "P")
    image.putpalette(voc_palette().ravel().tolist())
    image.save(tmp_path / "a.png")
    opened = open_predictions(tmp_path, get_benchmark("PAS-20"))
    np.testing.assert_array_equal(opened.read("a", SIZE), values)
    image.putpalette(voc_palette()[::-1].ravel().tolist())
    image.save(tmp_path / "a.png")
    assert "palette" in refusal(lambda: opened.read("a", SIZE)).message


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "several.npz"])
@pytest.mark.parametrize("shape", [SIZE, (1, *SIZE)])
def test_an_array_gives_its_indices(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    values = drawn(847)
    stored = values.astype(np.int64).reshape(shape)
    path = tmp_path / name.replace("several", "a")
    if name == "a.npy":
        np.save(path, stored)
    elif name == "a.npz":
        np.savez_compressed(path, anything=stored)
    else:
        np.savez_compressed(path, scores=np.zeros(3), prediction=stored)
    np.testing.assert_array_equal(open_predictions(tmp_path, A847).read("a", SIZE), values)


@pytest.mark.parametrize("compressed", [True, False])
def test_detectron2s_masks_make_up_the_picture(tmp_path: Path, compressed: bool) -> None:
    values = drawn(150)
    folder = write_json(tmp_path, "a", values, compressed=compressed)
    for source in (folder, folder / JSON_FILE):
        opened = open_predictions(source, A150)
        assert list(opened.keys) == ["a"]
        np.testing.assert_array_equal(opened.read("a", SIZE), values)


def test_a_recorded_string_of_cocos_code_is_read_down_the_columns(tmp_path: Path) -> None:
    """Runs 6, 1, 40, 4, 5, 4, 5, 4, 21 over 9 x 10 pixels, and the string for them as the format's author gives it."""
    entry = {"file_name": "a.jpg", "category_id": 3, "segmentation": {"size": [9, 10], "counts": "61X13mN000`0"}}
    (tmp_path / JSON_FILE).write_text(json.dumps([entry]))
    read = open_predictions(tmp_path, A150).read("a", (9, 10))
    flat: list[int] = []
    for number, run in enumerate((6, 1, 40, 4, 5, 4, 5, 4, 21)):
        flat += [3 if number % 2 else NO_CLASS] * run
    assert [[int(v) for v in row] for row in read] == [[flat[9 * x + y] for x in range(10)] for y in range(9)]


def test_pixels_that_no_mask_covers_have_no_class(tmp_path: Path) -> None:
    values = drawn(3)
    folder = write_json(tmp_path, "a", values)
    entries = json.loads((folder / JSON_FILE).read_text())
    (folder / JSON_FILE).write_text(json.dumps([e for e in entries if e["category_id"] != 1]))
    read = open_predictions(folder, A150).read("a", SIZE)
    np.testing.assert_array_equal(read, np.where(values == 1, NO_CLASS, values))


def test_dataset_ids_of_a847_are_recognised_and_those_of_others_named(tmp_path: Path) -> None:
    values = drawn(847)
    write_json(tmp_path / "847", "a", values, A847.category_ids())
    np.testing.assert_array_equal(open_predictions(tmp_path / "847", A847).read("a", SIZE), values)
    ids = np.arange(150)[::-1] * 7 + 3
    values = drawn(150)
    write_json(tmp_path / "150", "a", values, ids)
    opened = open_predictions(tmp_path / "150", A150)
    assert "--category-ids" in str(refusal(lambda: opened.read("a", SIZE)).mend)
    for stored in (ids.tolist(), {str(c): i for i, c in enumerate(ids.tolist())}):
        (tmp_path / "ids.json").write_text(json.dumps(stored))
        numbers = read_numbers(A150, ids=tmp_path / "ids.json")
        np.testing.assert_array_equal(open_predictions(tmp_path / "150", A150, numbers).read("a", SIZE), values)


def test_255_means_no_class_only_where_it_is_none(tmp_path: Path) -> None:
    save(tmp_path / "8" / "a.png", np.array([[0, 149, 255]], np.uint8))
    assert open_predictions(tmp_path / "8", A150).read("a", (1, 3)).tolist() == [[0, 149, NO_CLASS]]
    save(tmp_path / "16" / "a.png", np.array([[255, 846, 65535]], np.uint16))
    assert open_predictions(tmp_path / "16", A847).read("a", (1, 3)).tolist() == [[255, 846, NO_CLASS]]
    (tmp_path / "signed").mkdir()
    np.save(tmp_path / "signed" / "a.npy", np.array([[-1, 3, 65535]]))
    assert open_predictions(tmp_path / "signed", A150).read("a", (1, 3)).tolist() == [[NO_CLASS, 3, NO_CLASS]]


def test_numbers_that_begin_with_one_are_shifted_when_asked(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[0, 1, 150, 255]], np.uint8))
    assert "150 (1 pixels)" in str(refusal(lambda: open_predictions(tmp_path, A150).read("a", (1, 4))).found)
    read = open_predictions(tmp_path, A150, Numbers(first=1)).read("a", (1, 4))
    assert read.tolist() == [[NO_CLASS, 0, 149, NO_CLASS]]


def test_a_folded_background_is_a_class_and_the_words_behind_it_are_none(tmp_path: Path) -> None:
    benchmark = get_benchmark("PAS-20b")
    save(tmp_path / "a.png", np.array([[0, 20]], np.uint8))
    assert open_predictions(tmp_path, benchmark).read("a", (1, 2)).tolist() == [[0, 20]]
    save(tmp_path / "a.png", np.array([[0, 21]], np.uint8))
    assert "0..20" in str(refusal(lambda: open_predictions(tmp_path, benchmark).read("a", (1, 2))).expected)


def test_the_digest_follows_the_files(tmp_path: Path) -> None:
    save(tmp_path / "a.png", drawn(9).astype(np.uint8))
    before = open_predictions(tmp_path, A150).content()
    assert open_predictions(tmp_path, A150).content() == before
    save(tmp_path / "a.png", drawn(9, seed=1).astype(np.uint8))
    assert open_predictions(tmp_path, A150).content() != before


# -- what is refused ----------------------------------------------------------------------------------------------
@pytest.mark.follows("repro.interop.predictions:Predictions.check_keys")
def test_missing_and_unknown_images_are_listed(tmp_path: Path) -> None:
    for key in ("a", "b", "x"):
        save(tmp_path / f"{key}.png", drawn(9).astype(np.uint8))
    opened = open_predictions(tmp_path, A150)
    error = refusal(lambda: opened.check_keys(["a", "b", "c", "d"], {"a", "b", "c", "d"}))
    assert error.found == "2 missing: c, d; 1 of no image of the set: x"
    (tmp_path / "x.png").unlink()
    opened = open_predictions(tmp_path, A150)
    opened.check_keys(["a"], {"a", "b", "c"})  # b is not of the part that is wanted, but of the set
    assert error.mend is not None
    assert "--limit" in error.mend


@pytest.mark.follows("repro.interop.predictions:Predictions.read#1", "repro.interop.predictions:Predictions.read#2")
def test_another_size_and_impossible_values_are_refused_with_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 149], [200, 201]], np.uint8))
    opened = open_predictions(tmp_path, A150)
    error = refusal(lambda: opened.read("a", (2, 3)))
    assert (str(path) in error.message, error.found) == (True, "2x2")
    error = refusal(lambda: opened.read("a", (2, 2)))
    assert error.found == "200 (1 pixels), 201 (1 pixels)"
    assert error.expected == "0..149, 255 or 65535 for no class"
    write_json(tmp_path / "j", "a", drawn(9))
    assert "differs in size" in refusal(lambda: open_predictions(tmp_path / "j", A150).read("a", (7, 5))).message


@pytest.mark.follows("repro.interop.files:FilePredictions._refuse_eight_bits")
def test_eight_bits_for_847_classes_are_refused_where_all_files_have_them(tmp_path: Path) -> None:
    save(tmp_path / "p" / "a.png", drawn(256).astype(np.uint8))
    assert "8 bits" in refusal(lambda: open_predictions(tmp_path / "p", A847)).message
    save(tmp_path / "p" / "b.png", drawn(847).astype(np.uint16))  # written by what chooses the depth by the values
    np.testing.assert_array_equal(open_predictions(tmp_path / "p", A847).read("a", SIZE), drawn(256))
    (tmp_path / "n").mkdir()
    np.save(tmp_path / "n" / "a.npy", drawn(256).astype(np.uint8))
    assert "8 bits" in refusal(lambda: open_predictions(tmp_path / "n", A847).read("a", SIZE)).message


@pytest.mark.follows("repro.interop.files:PicturePredictions._values#2")
def test_colours_are_no_class_indices(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((*SIZE, 3), np.uint8))
    assert "RGB" in str(refusal(lambda: open_predictions(tmp_path, A150).read("a", SIZE)).found)


@pytest.mark.follows("repro.interop.files:ArrayPredictions._values#1", "repro.interop.files:ArrayPredictions._values#2")
def test_scores_and_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((150, *SIZE), np.float32))
    assert "argmax" in str(refusal(lambda: open_predictions(tmp_path, A150).read("a", SIZE)).mend)
    np.savez(tmp_path / "b.npz", x=drawn(3), y=drawn(3))
    (tmp_path / "c.npz").write_bytes(b"not an archive")
    np.save(tmp_path / "d.npy", np.array([{}], object), allow_pickle=True)
    for key in "bcd":
        assert "cannot be read" in refusal(lambda k=key: open_predictions(tmp_path, A150).read(k, SIZE)).message  # type: ignore[misc]


@pytest.mark.follows(
    "repro.interop.detectron2_json:JsonPredictions._values", "repro.interop.detectron2_json:_read_segments"
)
@pytest.mark.parametrize("what", ["overlap", "size", "string", "polygons"])
def test_masks_that_do_not_make_a_picture_are_refused(tmp_path: Path, what: str) -> None:
    folder = write_json(tmp_path, "a", np.arange(35).reshape(SIZE) % 2)
    entries = json.loads((folder / JSON_FILE).read_text())
    if what == "overlap":
        entries.append({**entries[0], "category_id": 5})
    elif what == "size":
        entries[1]["segmentation"]["size"] = [7, 5]
    elif what == "string":
        entries[0]["segmentation"]["counts"] = "\u00ff"
    else:
        entries[0]["segmentation"] = [[0, 0, 1, 1, 0, 1]]
    (folder / JSON_FILE).write_text(json.dumps(entries))
    assert "cannot be decoded" in refusal(lambda: open_predictions(folder, A150).read("a", SIZE)).message
    (folder / JSON_FILE).write_text('{"images": []}')
    assert "no file of predictions" in refusal(lambda: open_predictions(folder, A150)).message


@pytest.mark.follows("repro.interop.detectron2_json:read_category_ids")
@pytest.mark.parametrize("text", ["[1, 2]", "{}", "[1, 1]", "no json", '{"a": 0}'])
def test_category_ids_of_another_number_of_classes_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ids.json").write_text(text)
    assert "150 different ids" in str(refusal(lambda: read_category_ids(tmp_path / "ids.json", A150)).expected)


@pytest.mark.follows("repro.interop.opening:open_predictions", "repro.interop.opening:_files")
def test_a_folder_without_or_with_mixed_predictions_is_refused(tmp_path: Path) -> None:
    assert refusal(lambda: open_predictions(tmp_path / "absent", A150)).found == "nothing of this name"
    (tmp_path / "notes.txt").touch()
    assert refusal(lambda: open_predictions(tmp_path, A150)).found == "notes.txt"
    save(tmp_path / "a.png", drawn(9).astype(np.uint8))
    np.save(tmp_path / "b.npy", drawn(9))
    assert "pictures and arrays" in refusal(lambda: open_predictions(tmp_path, A150)).message
    (tmp_path / "b.npy").unlink()
    save(tmp_path / "a.tif", drawn(9).astype(np.uint8))
    assert refusal(lambda: open_predictions(tmp_path, A150)).found == "a.png and a.tif"
