"""Lists and JSON files that are not what they should be, and names in them that lead elsewhere."""

from __future__ import annotations

import codecs
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.layout import prepared_pairs, source_pairs
from repro.datasets.panoptic import read_panoptic
from repro.datasets.prepare.prepare import prepare
from repro.datasets.texts import kind_of, plain_name
from repro.errors import DataError

LIST = Path("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt")
LIMIT = 2048
"""Bytes of the longest message."""


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


ELSEWHERE = ["../../../../outside", "/etc/outside", "sub/2007_001311", "..\\outside", "a\0b", ".hidden", "x" * 400]


@pytest.mark.parametrize("entry", ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_an_entry_of_a_list_that_leads_elsewhere_is_named_and_nothing_is_written(
    mini_real: Path, tmp_path: Path, entry: str
) -> None:
    path = mini_real / LIST
    path.write_text(path.read_text() + f"{entry}\n")
    before, line = everything_below(tmp_path), len(path.read_text().splitlines())
    with pytest.raises(DataError) as caught:
        prepare("PAS-20", mini_real)
    assert f"{path}, line {line}: " in caught.value.message
    assert repr(entry[:20])[:-1] in caught.value.message
    assert len(str(caught.value)) < LIMIT
    assert everything_below(tmp_path) == before


def test_an_entry_does_not_overwrite_a_source_mask(mini_real: Path) -> None:
    path = mini_real / LIST
    mask = mini_real / "VOCdevkit/VOC2012/SegmentationClassAug/2007_001763.png"
    content = mask.read_bytes()
    path.write_text("2007_001311\n../../SegmentationClassAug/2007_001763\n")
    with pytest.raises(DataError, match=r"line 2: .* is not the name of a file"):
        prepare("PAS-20", mini_real)
    assert mask.read_bytes() == content


@pytest.mark.parametrize("name", ["PC-459", "PC-59"])
def test_the_list_of_pascal_context_is_confined_too(context_root: Path, name: str) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "pascalcontext_val.txt"
    if name == "PC-59":  # its list serves to tell what is complete
        prepare(name, context_root)
        (context_root / "VOCdevkit/VOC2010/annotations_detectron2/.pc59_val.prepared.json").unlink()
    path.write_text("../2008_008376\n")
    with pytest.raises(DataError, match=r"line 1: '../2008_008376' is not the name of a file"):
        prepared_pairs(get_benchmark(name), context_root) if name == "PC-59" else prepare(name, context_root)


@pytest.mark.parametrize("entry", ["../2008_008376.jpg", "/tmp/x.jpg", "", ".jpg", 7, None, "a/b.jpg"])
def test_a_file_name_of_the_pascal_context_json_that_leads_elsewhere_is_named(
    context_root: Path, entry: object
) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    document = json.loads(path.read_text())
    document["images"][1]["file_name"] = entry
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="is not the name of a file") as caught:
        prepare("PC-59", context_root)
    assert f"{path}, file_name of image '2': " in caught.value.message
    assert not (path.parent / "annotations_detectron2").exists()


@pytest.mark.parametrize(("where", "index"), [("images", 0), ("annotations", 1)])
def test_a_file_name_of_a_panoptic_json_that_leads_elsewhere_is_named(
    photographs: Path, tmp_path: Path, where: str, index: int
) -> None:
    (source,) = (photographs / "coco_panoptic_sample").rglob("panoptic_examples.json")
    document = json.loads(source.read_text())
    assert len(read_panoptic(source, tmp_path, tmp_path).images) == 2
    document[where][index]["file_name"] = "../../secret.png"
    path = tmp_path / "p.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"file_name of .*'../../secret.png' is not the name of a file"):
        read_panoptic(path, tmp_path, tmp_path)


def test_plain_names_of_the_sets_are_accepted() -> None:
    for name in ("2007_001311", "ADE_val_00000001", "000000000139.jpg", "COCO train 1.jpg", "-x", "Straße", "a..b"):
        assert plain_name(name, Path("list"), "line 1", None) == name


def test_a_list_with_a_byte_order_mark_is_read(mini_real: Path) -> None:
    path = mini_real / LIST
    keys = path.read_text().split()
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert [p.key for p in source_pairs(get_benchmark("PAS-20"), mini_real)] == sorted(keys)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_list_in_another_encoding_is_named(mini_real: Path, encoding: str) -> None:
    path = mini_real / LIST
    path.write_bytes(path.read_text().encode(encoding))
    with pytest.raises(DataError, match="is not a list of images") as caught:
        prepare("PAS-20", mini_real)
    assert str(path) in caught.value.message
    if encoding != "utf-32":
        assert caught.value.found == "text in UTF-16"
    assert str(caught.value.expected).endswith("UTF-8")


Change = Callable[[bytes], bytes]
DAMAGE: list[tuple[Change, str]] = [
    (gzip.compress, "a gzip file"),
    (lambda b: b.decode().encode("utf-16"), "text in UTF-16"),
    (lambda b: b.decode().encode("utf-16-le"), "text in UTF-16"),
    (lambda b: b"<!DOCTYPE html><html>" + b"x" * 9999, "HTML"),
    (lambda b: b[:5000], "truncated JSON: it breaks off at byte 5,000"),
    (lambda b: b[:6000] + b"}}" + b[6000:], "damaged JSON: "),
    (lambda b: b[:6000] + b"\xff\xfe" + b[6000:], "byte 6,000 is no UTF-8"),
    (lambda b: b"", "an empty file"),
    (lambda b: b"[" + b + b"]", "a JSON list"),
    (lambda b: b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    (lambda b: b"not json " * 3000, "text that is no JSON"),
    (lambda b: b"[" * 100_000, "RecursionError"),
]


@pytest.mark.parametrize(("change", "found"), DAMAGE, ids=[found for _, found in DAMAGE])
def test_damaged_json_is_named_by_what_it_is_and_never_printed(context_root: Path, change: Change, found: str) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="is not the annotation file of PASCAL-Context") as caught:
        prepare("PC-59", context_root)
    assert str(path) in caught.value.message
    assert str(caught.value.found).startswith(found)
    assert "annos_segmentation" in str(caught.value.expected)
    assert len(str(caught.value)) < LIMIT
    assert caught.value.__cause__ is None or len(repr(caught.value.__cause__)) < LIMIT


@pytest.mark.parametrize(
    "change", [lambda d: d.update(images=["x" * 9000]), lambda d: d["images"][0].update(image_id={"x" * 9000: 1})]
)
def test_json_of_another_kind_is_not_printed_either(context_root: Path, change: Callable[[Any], None]) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="not the annotation file") as caught:
        prepare("PC-59", context_root)
    assert len(str(caught.value)) < LIMIT


@pytest.mark.parametrize(("change", "found"), DAMAGE, ids=[found for _, found in DAMAGE])
def test_a_damaged_panoptic_json_is_named_by_what_it_is(
    photographs: Path, tmp_path: Path, change: Change, found: str
) -> None:
    (source,) = (photographs / "coco_panoptic_sample").rglob("panoptic_examples.json")
    path = tmp_path / "p.json"
    path.write_bytes(change(source.read_bytes()))
    with pytest.raises(DataError, match="is not a panoptic annotation file") as caught:
        read_panoptic(path, tmp_path, tmp_path)
    assert str(caught.value.found).startswith(found)
    assert len(str(caught.value)) < LIMIT


def test_a_json_with_a_byte_order_mark_is_read(context_root: Path) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert prepare("PC-59", context_root).images == 4


def test_text_is_not_mistaken_for_anything_else() -> None:
    for text in (b"2007_001311\n", b"\xef\xbb\xbf2007", "Straße\n東京\n".encode(), b'{"a": 1}', b" "):
        assert kind_of(text) is None
    assert kind_of(os.urandom(0)) == "an empty file"
    assert kind_of(b"\0" * 100) == "a binary file"
