"""Reading the three formats of captions, whole, faulty and hostile."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import tarfile
from pathlib import Path

import pytest
from caption_files import add_member, jpeg, write_coco, write_shard

from repro.captions import archive, load_vocabulary, sources
from repro.captions.sources import Tally, find_files, make_plan, read_shard
from repro.errors import DataError, UsageError


def read(source: Path, format_: str = "auto", images: int = 1000):
    """{image: captions} of all shards, their number, and what was counted."""
    plan = make_plan(*find_files(source, format_), images)
    tally = plan.tally
    records = [r for shard in plan.shards for r in read_shard(plan.format, shard, tally)]
    return {r.image: r.captions for r in records}, len(plan.shards), tally


def test_tsv_has_an_image_and_a_caption_a_row(tmp_path):
    path = tmp_path / "cc12m.tsv"
    path.write_bytes("\ufeffhttps://a/1.jpg\tA dog\r\nhttps://a/2.jpg\tÜber 東京\nhttps://a/3.jpg\tno end".encode())
    found, _, tally = read(path)
    assert found == {"https://a/1.jpg": ["A dog"], "https://a/2.jpg": ["Über 東京"], "https://a/3.jpg": ["no end"]}
    assert not tally.malformed


@pytest.mark.parametrize("images", [1, 2, 3, 7, 100])
def test_cutting_a_tsv_neither_loses_nor_repeats_a_row(tmp_path, images):
    path = tmp_path / "a.tsv"
    rows = [f"{n}.jpg\tcaption {'x' * (n + 1)}" for n in range(7)]
    path.write_text("\n".join(rows) + "\n")
    found, shards, _ = read(path, images=images)
    assert [f"{i}\t{c}" for i, (c,) in found.items()] == rows
    assert shards == -(-7 // images)


def test_faulty_rows_are_counted_by_reason_and_named_by_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_ROW", 64)
    monkeypatch.setattr(sources, "MAX_CAPTION", 30)
    rows = [
        b"1.jpg\tfine",
        b"one column",
        b"a\tb\tc",
        b"2.jpg\tcaf\xe9",
        b"\tno image",
        b"x" * 200,
        b"3.jpg\t" + b"y" * 40,
    ]
    (tmp_path / "a.tsv").write_bytes(b"\n".join([*rows, b"4.jpg\tfine too"]))
    found, _, tally = read(tmp_path / "a.tsv")
    assert list(found) == ["1.jpg", "4.jpg"]
    assert tally.malformed == {
        "row has not two columns": 2,
        "row is not UTF-8": 1,
        "no image name": 1,
        "row longer than 64 bytes": 1,
        "caption longer than 30 characters": 1,
    }
    assert tally.examples[0] == ("a.tsv:2", "row has not two columns")
    assert len(tally.examples) == sources.EXAMPLES


def test_empty_and_repeated_captions_are_counted_and_captions_of_an_image_joined(tmp_path):
    (tmp_path / "a.tsv").write_text("1.jpg\tA dog\n2.jpg\t \n1.jpg\tA cat\n1.jpg\tA  dog\n")
    found, _, tally = read(tmp_path / "a.tsv")
    assert found == {"1.jpg": ["A dog", "A cat"], "2.jpg": []}
    assert (tally.counts["empty_captions"], tally.counts["duplicate_captions"]) == (1, 1)
    assert (tally.counts["pairs"], tally.counts["images"], tally.counts["captions"]) == (4, 2, 2)


def test_coco_captions_are_gathered_by_image(tmp_path):
    images = [(7, "b.jpg"), (3, "a.jpg"), (9, "none.jpg")]
    path = write_coco(tmp_path / "captions_val.json", images, [(3, "one"), (7, "two\n"), (3, "three")])
    found, shards, tally = read(path, images=1)
    assert found == {"b.jpg": ["two"], "a.jpg": ["one", "three"]}
    assert shards == 2
    assert tally.counts["images_without_caption"] == 1


def test_faulty_coco_entries_are_counted(tmp_path):
    images = [(1, "a.jpg"), (1, "again.jpg"), (2, ""), (None, "c.jpg")]
    captions = [(1, "fine"), (5, "of no image"), (1, 17), (2, "no name"), ([], "list")]
    found, _, tally = read(write_coco(tmp_path / "c.json", images, captions))
    assert found == {"a.jpg": ["fine"]}
    assert tally.malformed == {
        "image id comes twice": 1,
        "image without id": 1,
        "caption of an unknown image": 2,
        "caption is not text": 1,
        "no image name": 1,
    }


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"images": []}', '{"images": {}, "annotations": []}', "[" * 100_000]
)
def test_json_of_another_kind_is_a_data_error(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(DataError, match="not a file of COCO captions"):
        read(tmp_path / "c.json")


def test_an_absurdly_large_json_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_JSON", 10)
    (tmp_path / "c.json").write_text(" " * 11)
    with pytest.raises(DataError, match="11 bytes"):
        read(tmp_path / "c.json")


def test_a_name_that_is_not_unicode_is_counted(tmp_path):
    path = write_coco(tmp_path / "c.json", [(1, "\ud800.jpg"), (2, "b.jpg")], [(1, "a dog"), (2, "a \udfff b")])
    found, _, tally = read(path)
    assert found == {"b.jpg": ["a ? b"]}
    assert tally.malformed == {"no image name": 1}


def test_webdataset_samples_are_read_in_place(tmp_path):
    path = write_shard(tmp_path / "00000.tar", ["A dog", None, "", "Über 東京"])
    plan = make_plan("webdataset", [path], 1)
    tally = Tally()
    records = read_shard("webdataset", plan.shards[0], tally)
    assert {r.image: r.captions for r in records} == {
        "00000.tar/000000000.jpg": ["A dog"],
        "00000.tar/000000002.jpg": [],
        "00000.tar/000000003.jpg": ["Über 東京"],
    }
    assert tally.counts["images_without_caption"] == 1
    assert not tally.malformed
    place = records[2].place
    assert path.read_bytes()[place.offset : place.offset + place.bytes] == jpeg(3)
    assert list(tmp_path.iterdir()) == [path]


def test_the_text_member_goes_before_the_json_and_the_json_serves_without_it(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add_member(tar, "x/1.jpg", jpeg(1))
        add_member(tar, "x/1.json", json.dumps({"caption": "from json"}).encode())
        add_member(tar, "x/2.JPG", jpeg(2))
        add_member(tar, "x/2.txt", b"from text")
        add_member(tar, "x/2.json", json.dumps({"caption": "from json"}).encode())
        add_member(tar, "x/3.jpg", jpeg(3))
        add_member(tar, "x/3.json", b"[1]")
        add_member(tar, "x/4.txt", b"no image")
        add_member(tar, "x/5.cls", b"0")
    found, _, tally = read(tmp_path / "a.tar")
    assert found == {"a.tar/x/1.jpg": ["from json"], "a.tar/x/2.JPG": ["from text"]}
    assert tally.malformed == {"caption without an image": 1}


def hostile(tmp_path: Path) -> Path:
    """An archive that tries to write outside, to link outside, and to fill the memory; one sample is sound."""
    path = tmp_path / "hostile.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("../outside.txt", "/etc/outside.txt", "a/../../outside.jpg", "..\\outside.txt", "C:/outside.txt"):
            add_member(tar, name, b"text")
        add_member(tar, "link.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add_member(tar, "hard.txt", type=tarfile.LNKTYPE, linkname="good.txt")
        add_member(tar, "device.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        add_member(tar, "pipe.txt", type=tarfile.FIFOTYPE)
        add_member(tar, "big.jpg", jpeg(1))
        add_member(tar, "big.txt", b"x" * (archive.MAX_TEXT + 1))
        add_member(tar, "latin.jpg", jpeg(2))
        add_member(tar, "latin.txt", b"caf\xe9")
        add_member(tar, "good.jpg", jpeg(3))
        add_member(tar, "good.txt", b"A dog")
        add_member(tar, "good.txt", b"A second text")
        add_member(tar, "deep.jpg", jpeg(4))
        add_member(tar, "deep.json", b"[" * 100_000)
    return path


def test_a_hostile_archive_yields_its_sound_sample_and_leaves_the_disk_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {p.name for p in tmp_path.parent.iterdir()}
    found, _, tally = read(hostile(tmp_path))
    assert found == {"hostile.tar/good.jpg": ["A dog"]}
    assert tally.malformed == {
        "member's name leads out of the archive": 5,
        "member is a link, a device or sparse": 4,
        f"caption member larger than {archive.MAX_TEXT:,} bytes": 1,
        "caption is not UTF-8 text or JSON": 2,
        "sample has two captions": 1,
    }
    assert {p.name for p in tmp_path.parent.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.tar"]


def test_a_header_that_claims_a_terabyte_ends_the_archive_and_keeps_what_precedes(tmp_path):
    path = write_shard(tmp_path / "a.tar", ["A dog"])
    header = tarfile.TarInfo("claim.txt")
    header.size = 1 << 40
    sound = path.read_bytes().rstrip(b"\0")
    sound += b"\0" * (-len(sound) % 512)
    path.write_bytes(sound + header.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    found, _, tally = read(path)
    assert found == {"a.tar/a0000.jpg": ["A dog"]}
    assert sum(tally.malformed.values()) == 1


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGLINK])
def test_an_extended_header_that_would_fill_the_memory_is_not_read(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(archive, "MAX_TEXT", 1 << 14)
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, 1 << 20
    path = write_shard(tmp_path / "a.tar", ["A dog"])
    sound = path.read_bytes().rstrip(b"\0")
    sound += b"\0" * (-len(sound) % 512)
    path.write_bytes(sound + header.tobuf(tarfile.GNU_FORMAT) + b"x" * (1 << 20) + b"\0" * 1024)
    found, _, tally = read(path)
    assert found == {"a.tar/a0000.jpg": ["A dog"]}
    assert tally.examples == [(f"a.tar: a header claims {1 << 20} bytes", "archive is damaged or breaks off")]


@pytest.mark.parametrize("keep", [0.4, 0.6, 0.8])
def test_an_archive_that_breaks_off_is_counted_and_its_beginning_kept(tmp_path, keep):
    path = write_shard(tmp_path / "a.tar", [f"caption {n}" for n in range(20)])
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[: int(len(content) * keep)])
    found, _, tally = read(path)
    assert 20 * keep - 3 < len(found) < 20 * keep + 2
    assert sum(tally.malformed.values()) >= 1


def test_garbage_in_place_of_a_header_is_not_taken_for_the_end(tmp_path):
    path = write_shard(tmp_path / "a.tar", ["A dog", "A cat"])
    with tarfile.open(path) as tar:
        second = tar.getmember("a0001.jpg").offset
    content = bytearray(path.read_bytes())
    content[second : second + 512] = b"garbage!" * 64
    path.write_bytes(content)
    found, _, tally = read(path)
    assert list(found) == ["a.tar/a0000.jpg"]
    assert tally.malformed == {"archive is damaged or breaks off": 1}


def test_members_of_an_archive_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 6)
    found, _, tally = read(write_shard(tmp_path / "a.tar", ["a dog"] * 5))
    assert len(found) == 2
    assert tally.malformed == {"archive has more than 6 members": 1}


def test_a_compressed_archive_is_refused_by_what_it_is(tmp_path):
    path = write_shard(tmp_path / "a.tar", ["A dog"])
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="a compressed file"):
        read(path)
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match="uncompressed tar"):
        read(path)


def test_the_format_is_told_by_suffix_and_a_mixed_folder_needs_it_named(tmp_path):
    write_shard(tmp_path / "00001.tar", ["b"])
    write_shard(tmp_path / "00000.tar", ["a"])
    format_, files = find_files(tmp_path, "auto")
    assert (format_, [f.name for f in files]) == ("webdataset", ["00000.tar", "00001.tar"])
    (tmp_path / "x.tsv").write_text("1\ta\n")
    with pytest.raises(UsageError, match="--format"):
        find_files(tmp_path, "auto")
    assert find_files(tmp_path, "tsv") == ("tsv", [tmp_path / "x.tsv"])
    (tmp_path / "noext").write_text("1\ta\n")
    assert find_files(tmp_path / "noext", "tsv")[0] == "tsv"
    with pytest.raises(UsageError, match="cannot tell"):
        find_files(tmp_path / "noext", "auto")
    with pytest.raises(UsageError, match="did you mean coco"):
        find_files(tmp_path, "cocoa")
    with pytest.raises(DataError, match="absent"):
        find_files(tmp_path / "nothing", "auto")


OUTSIDE = ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:/a.jpg", "a\0b.jpg", "a\x1b[2J.jpg"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_image_name_that_leads_out_of_its_folder_is_counted_and_named_by_line(tmp_path, name):
    (tmp_path / "a.tsv").write_text(f"1.jpg\tA dog\n{name}\tA cat\nx/2.jpg\tA cow\nhttps://a/../3.jpg\tA pig\n")
    found, _, tally = read(tmp_path / "a.tsv")
    assert list(found) == ["1.jpg", "x/2.jpg", "https://a/../3.jpg"]
    assert tally.examples == [("a.tsv:2", "image name leads out of its folder")]
    found, _, tally = read(write_coco(tmp_path / "c.json", [(1, "1.jpg"), (2, name)], [(1, "a dog"), (2, "a cat")]))
    assert list(found) == ["1.jpg"]
    assert tally.malformed == {"image name leads out of its folder": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_rows_in_utf_16_are_refused_by_name(tmp_path, encoding):
    (tmp_path / "a.tsv").write_bytes("".join(f"{n}.jpg\tA dog\n" for n in range(9)).encode(encoding))
    with pytest.raises(DataError, match="text in UTF-16") as caught:
        read(tmp_path / "a.tsv")
    assert str(tmp_path / "a.tsv") in caught.value.message


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (gzip.compress, "a gzip file"),
        (lambda b: b.decode().encode("utf-16"), "text in UTF-16"),
        (lambda b: b[:5000], "truncated JSON: it breaks off at byte 5,000"),
        (lambda b: b[:5000] + b"\xff" + b[5000:], "byte 5,000 is no UTF-8"),
    ],
)
def test_damaged_captions_are_named_by_what_they_are_and_never_printed(tmp_path, change, found):
    path = write_coco(tmp_path / "c.json", [(n, f"{n}.jpg") for n in range(999)], [(1, "dog")])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="not a file of COCO captions") as caught:
        read(path)
    assert str(caught.value.found).startswith(found)
    assert len(str(caught.value)) < 2048


def test_the_commands_of_messages_can_be_pasted_and_remove_nothing(tmp_path):
    folder = tmp_path / "my labels; $(x)"
    with pytest.raises(DataError) as caught:
        load_vocabulary(folder)
    assert shlex.split(caught.value.mend) == ["repro", "data", "captions", "SOURCE", "--out", str(folder)]
    package = Path(sources.__file__).parent
    assert not [p for p in package.glob("*.py") if re.search(r"""["' ]rm |or remove""", p.read_text())]
