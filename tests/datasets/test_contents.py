"""Data are known by content: every replaced byte is another key, and what was read once is not read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from repro.datasets import contents
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.contents import Contents
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.fingerprint import fingerprint, names_and_sizes
from repro.datasets.writing import write_picture

SETS = [("A-150", "val"), ("A-847", "train"), ("PAS-20", "val"), ("PAS-20b", "val"), ("coco-stuff", "val"),
        ("PC-59", "val"), ("PC-459", "val")]  # fmt: skip


@pytest.fixture(autouse=True)
def young_files_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**15))


def replace_keeping_size(path: Path) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("name", "split"), SETS)
def test_one_changed_byte_of_any_image_or_label_is_another_key(
    request: pytest.FixtureRequest, name: str, split: str, tmp_path: Path
) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    prepare(name, root, split=split)
    cache = tmp_path / "cache"
    cache.mkdir()
    first = fingerprint(name, root, split, cache)
    by_size = names_and_sizes(name, root, split)
    keys = {first}
    pair = prepared_pairs(get_benchmark(name), root, split)[-1]
    for path in (pair.label, pair.image):
        replace_keeping_size(path)
        keys.add(fingerprint(name, root, split, cache))
        replace_keeping_size(path)
        assert fingerprint(name, root, split, cache) == first
    assert len(keys) == 3
    assert names_and_sizes(name, root, split) == by_size  # what version 0.1.0 looked at saw nothing of it


def test_replaced_labels_of_an_uncompressed_tiff_have_the_same_size_and_another_key(mini_real: Path) -> None:
    prepare("A-847", mini_real, split="train")
    before, old = fingerprint("A-847", mini_real, "train"), names_and_sizes("A-847", mini_real, "train")
    for pair in prepared_pairs(get_benchmark("A-847"), mini_real, "train"):
        write_picture(pair.label, np.full_like(read_label(pair.label), 3))
    assert names_and_sizes("A-847", mini_real, "train") == old
    assert fingerprint("A-847", mini_real, "train") != before


def test_a_touched_file_and_a_moved_root_have_the_same_key(mini_real: Path, tmp_path: Path) -> None:
    prepare("PAS-20", mini_real)
    first = fingerprint("PAS-20", mini_real)
    for pair in prepared_pairs(get_benchmark("PAS-20"), mini_real):
        os.utime(pair.label, ns=(1, 1))
    assert fingerprint("PAS-20", mini_real) == first
    shutil.move(mini_real, tmp_path / "elsewhere")
    assert fingerprint("PAS-20", tmp_path / "elsewhere") == first


def test_what_was_read_once_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    index = tmp_path / "cache" / "contents" / "index.json"
    index.parents[1].mkdir()
    found = Contents(index).digests(paths)
    read: list[Path] = []
    plain = contents.content_digest

    def counting(path: Path) -> str:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(contents, "content_digest", counting)
    assert Contents(index).digests(paths) == found
    assert read == []
    # The same bytes under another time stamp, another inode: read, and found to be the same.
    os.utime(paths[0], ns=(5, 5))
    shutil.copy2(paths[1], tmp_path / "copy")
    (tmp_path / "copy").replace(paths[1])
    assert Contents(index).digests(paths) == found
    assert read == paths[:2]
    # Other bytes of the same size under the old time stamp.
    stat = paths[2].stat()
    paths[2].write_text("x")
    os.utime(paths[2], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Contents(index).digests(paths)[2] != found[2]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_an_entry_of_another_size_time_or_inode_is_not_believed(tmp_path: Path, place: int) -> None:
    path, index = tmp_path / "a", tmp_path / "cache" / "contents" / "index.json"
    path.write_text("a")
    index.parents[1].mkdir()
    right = Contents(index).digests([path])
    value = json.loads(index.read_text())
    value["files"][str(path)][-1] = "0" * 16
    index.write_text(json.dumps(value))
    assert Contents(index).digests([path]) == ["0" * 16]  # an entry that fits is believed
    value["files"][str(path)][place] += 1
    index.write_text(json.dumps(value))
    assert Contents(index).digests([path]) == right


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "files": {"a": 3}}', "null"])
def test_a_damaged_index_is_read_as_none(tmp_path: Path, text: str) -> None:
    path, index = tmp_path / "a", tmp_path / "cache" / "contents" / "index.json"
    path.write_text("a")
    index.parent.mkdir(parents=True)
    index.write_text(text)
    assert Contents(index).digests([path]) == Contents().digests([path])


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a")
    Contents(tmp_path / "cache" / "contents" / "index.json").digests([path])
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 10**15)
    path, index = tmp_path / "a", tmp_path / "cache" / "contents" / "index.json"
    path.write_text("a")
    index.parents[1].mkdir()
    Contents(index).digests([path])
    assert json.loads(index.read_text())["files"] == {}
