"""repro data captions end to end: the same files after a kill, by several processes, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from caption_files import stand_in, write_coco, write_shard

from repro.captions import convert, iterate_labels, load_labels, load_vocabulary
from repro.captions import convert as convert_function
from repro.captions.phrases import MODELS
from repro.cli.main import main
from repro.errors import DataError, ResourceError, UsageError
from repro.hashing import file_digest

converter = sys.modules["repro.captions.convert"]
SAMPLE = Path(__file__).with_name("captions_sample.tsv")
needs_spacy = pytest.mark.skipif(
    not any(importlib.util.find_spec(m) for m in MODELS),
    reason="needs the extra captions: pip install 'repro-ovseg[captions]' -c constraints.txt",
)


@pytest.fixture
def words(monkeypatch):
    """Every word is a label: quick, and without spaCy."""
    stand_in(monkeypatch)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def write_tsv(path: Path, rows: int = 23) -> Path:
    path.write_text("".join(f"{n}.jpg\tdog cat{n % 3} photo of\n" for n in range(rows)))
    return path


@pytest.mark.usefixtures("words")
def test_labels_vocabulary_and_counts_agree(tmp_path):
    provenance = convert(write_tsv(tmp_path / "a.tsv"), tmp_path / "out", shard_images=5)
    labels = load_labels(tmp_path / "out")
    assert len(labels) == 23
    assert labels["7.jpg"] == ("dog", "cat1")
    assert load_vocabulary(tmp_path / "out") == {"dog": 23, "cat0": 8, "cat1": 8, "cat2": 7}
    counts = provenance["counts"]
    assert (counts["images"], counts["labels"], counts["vocabulary"]) == (23, 46, 4)
    assert (counts["chunks"], counts["without_noun"], counts["generic"]) == (92, 23, 23)
    assert provenance["shards"] == 5


@pytest.mark.usefixtures("words")
def test_provenance_holds_digests_of_the_list_the_source_and_the_vocabulary(tmp_path):
    generic = tmp_path / "generic.txt"
    generic.write_text("=dog\n")
    source = write_tsv(tmp_path / "a.tsv")
    provenance = convert(source, tmp_path / "out", exclusions=generic)
    assert provenance["exclusions"] == {
        "file": "generic.txt",
        "sha256": file_digest(generic),
        "substrings": 0,
        "phrases": 1,
    }
    assert provenance["sources"][0]["sha256"] == file_digest(source)
    assert provenance["vocabulary_sha256"] == file_digest(tmp_path / "out" / "vocabulary.tsv")
    assert provenance["parser"] == {"spacy": "0", "model": "words 0"}
    assert "photo" in load_vocabulary(tmp_path / "out")
    assert "dog" not in load_vocabulary(tmp_path / "out")


@pytest.mark.usefixtures("words")
def test_rare_labels_and_the_images_left_without_one_can_be_left_out(tmp_path):
    (tmp_path / "a.tsv").write_text("1.jpg\tdog cat\n2.jpg\tdog\n3.jpg\tcow\n4.jpg\tof\n")
    convert(tmp_path / "a.tsv", tmp_path / "out")
    assert load_labels(tmp_path / "out", min_count=2) == {"1.jpg": ("dog",), "2.jpg": ("dog",)}
    assert [i.image for i in iterate_labels(tmp_path / "out")] == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.usefixtures("words")
def test_an_image_named_in_two_shards_has_the_labels_of_both(tmp_path):
    (tmp_path / "a.tsv").write_text("1.jpg\tdog cat\n2.jpg\tdog\n1.jpg\tcow dog\n")
    convert(tmp_path / "a.tsv", tmp_path / "out", shard_images=1)
    assert load_labels(tmp_path / "out") == {"1.jpg": ("dog", "cat", "cow"), "2.jpg": ("dog",)}


@pytest.mark.usefixtures("words")
def test_an_archives_records_say_where_the_images_lie(tmp_path):
    write_shard(tmp_path / "00000.tar", ["dog"])
    write_shard(tmp_path / "00001.tar", ["cat"])
    convert(tmp_path, tmp_path / "out", "webdataset")
    record = list(iterate_labels(tmp_path / "out"))[1]
    assert (record.image, record.archive, record.labels) == ("00001.tar/000010000.jpg", "00001.tar", ("cat",))
    content = (tmp_path / "00001.tar").read_bytes()[record.offset : record.offset + record.bytes]
    assert content.startswith(b"\xff\xd8")
    assert content.endswith(b"\xff\xd9")


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("stop_after", [0, 1, 3, 4])
def test_stopped_anywhere_the_same_call_ends_with_the_same_files(tmp_path, monkeypatch, stop_after):
    source = write_tsv(tmp_path / "a.tsv")
    convert(source, tmp_path / "whole", shard_images=5)
    work, done = converter._work, []

    def stopping(task):
        if len(done) == stop_after:
            raise KeyboardInterrupt
        done.append(task)
        work(task)

    monkeypatch.setattr(converter, "_work", stopping)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "part", shard_images=5)
    with pytest.raises(DataError, match="no finished labels"):
        load_labels(tmp_path / "part")
    monkeypatch.setattr(converter, "_work", lambda task: (done.append(task), work(task)))
    convert(source, tmp_path / "part", shard_images=5)
    assert len(done) == 5
    assert files(tmp_path / "part") == files(tmp_path / "whole")


@pytest.mark.usefixtures("words")
def test_a_shard_without_its_report_or_with_lost_bytes_is_made_again(tmp_path):
    source, out = write_tsv(tmp_path / "a.tsv"), tmp_path / "out"
    convert(source, out, shard_images=5)
    before = files(out)
    (out / "shards" / "000001.json").unlink()
    (out / "shards" / "000003.jsonl").write_text("")
    convert(source, out, shard_images=5)
    assert files(out) == before


@pytest.mark.usefixtures("words")
def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path):
    source, out = write_tsv(tmp_path / "a.tsv"), tmp_path / "out"
    out.mkdir()
    (out / ".plan.json.17.partial").write_text("{")
    convert(source, out)
    assert not [name for name in files(out) if name.endswith(".partial")]


@pytest.mark.usefixtures("words")
def test_a_changed_shard_is_found_out(tmp_path):
    source, out = write_tsv(tmp_path / "a.tsv"), tmp_path / "out"
    convert(source, out)
    shard = out / "shards" / "000000.jsonl"
    shard.write_bytes(shard.read_bytes().replace(b"dog", b"god"))
    (out / "provenance.json").unlink()
    with pytest.raises(DataError, match="was changed"):
        convert(source, out)


@pytest.mark.usefixtures("words")
def test_finished_work_is_not_done_again(tmp_path, monkeypatch):
    source, out = write_tsv(tmp_path / "a.tsv"), tmp_path / "out"
    first = convert(source, out)
    monkeypatch.setattr(converter, "_work", lambda task: pytest.fail("worked again"))
    monkeypatch.setattr(converter, "_finish", lambda *_: pytest.fail("counted again"))
    assert convert(source, out) == first


@pytest.mark.usefixtures("words")
def test_captions_of_an_archive_replaced_under_its_size_and_time_are_read_again(tmp_path, monkeypatch):
    archive, out = write_shard(tmp_path / "a.tar", ["big dog", "big cat"]), tmp_path / "out"
    convert(archive, out)
    assert load_vocabulary(out) == {"big": 2, "dog": 1, "cat": 1}
    before = archive.stat()
    archive.write_bytes(archive.read_bytes().replace(b"big dog", b"big cow"))
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))
    convert(archive, out)
    assert load_vocabulary(out) == {"big": 2, "cow": 1, "cat": 1}
    kept = files(out)
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))  # touched, the same content: nothing is parsed
    monkeypatch.setattr(converter.phrases, "extract", lambda *a: pytest.fail("parsed again"))
    convert(archive, out)
    assert files(out).keys() == kept.keys()
    assert [c for n, c in files(out).items() if n.endswith(".jsonl")] == [
        c for n, c in kept.items() if n.endswith(".jsonl")
    ]


@pytest.mark.usefixtures("words")
def test_labels_made_otherwise_and_strange_folders_are_refused(tmp_path):
    source, out = write_tsv(tmp_path / "a.tsv"), tmp_path / "out"
    convert(source, out, shard_images=5)
    before = files(out)
    with pytest.raises(UsageError, match="shard_images differ"):
        convert(source, out, shard_images=6)
    (tmp_path / "list").write_text("dog\n")
    with pytest.raises(UsageError, match="exclusions differ"):
        convert(source, out, shard_images=5, exclusions=tmp_path / "list")
    source.write_text(source.read_text() + "new.jpg\tcow\n")
    with pytest.raises(UsageError, match="sources differ"):
        convert(source, out, shard_images=5)
    assert files(out) == before
    with pytest.raises(UsageError, match="not an empty folder"):
        convert(source, tmp_path)
    with pytest.raises(UsageError, match="1 or more"):
        convert(source, tmp_path / "new", shard_images=0)


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("content", ["", "no tab\n", "1.jpg\t\n"])
def test_a_source_without_a_usable_pair_is_a_data_error(tmp_path, content):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(DataError, match="no usable pair"):
        convert(tmp_path / "a.tsv", tmp_path / "out")


@pytest.mark.usefixtures("words")
def test_the_command_prints_a_summary_or_the_provenance(tmp_path, capsys):
    source = write_coco(tmp_path / "c.json", [(1, "a.jpg"), (2, "b.jpg")], [(1, "dog"), (1, "cow"), (9, "x")])
    assert main(["data", "captions", str(source), "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "1 images with 2 captions: 2 labels" in text
    assert "1 x caption of an unknown image" in text
    assert "annotations[2]" in text
    assert main(["data", "captions", str(source), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["images_without_caption"] == 1


def test_without_spacy_the_command_ends_with_code_5_and_the_install_command(tmp_path, monkeypatch, capsys):
    def absent():
        raise ResourceError("labels need spaCy", mend="pip install 'repro-ovseg[captions]'")

    monkeypatch.setattr(converter.phrases, "parser_versions", absent)
    source = write_tsv(tmp_path / "a.tsv")
    assert main(["data", "captions", str(source), "--out", str(tmp_path / "out")]) == 5
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {support!r})
from caption_files import extract_words
from repro.captions import convert, phrases

def slowly(*arguments):
    time.sleep(0.3)
    return extract_words(*arguments)

phrases.parser_versions = lambda: {{"spacy": "0", "model": "words 0"}}
phrases.extract = slowly
convert(Path({source!r}), Path({out!r}), shard_images=20)
"""


def test_killed_in_the_middle_it_goes_on_to_the_same_files(tmp_path, monkeypatch):
    support = str(Path(__file__).parents[1] / "support")
    part, whole = tmp_path / "part", tmp_path / "whole"
    script = KILLED.format(support=support, source=str(SAMPLE), out=str(part))
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        wait_for(lambda: len(list(part.glob("shards/*.json"))) >= 2, process)
        process.send_signal(signal.SIGKILL)
    finished = len(list(part.glob("shards/*.json")))
    assert 2 <= finished < 10
    assert not (part / "provenance.json").exists()
    stand_in(monkeypatch)
    steps = []
    convert_function(SAMPLE, part, shard_images=20, progress=lambda *step: steps.append(step))
    convert_function(SAMPLE, whole, shard_images=20)
    assert steps[0] == (finished, 10)
    assert files(part) == files(whole)


@needs_spacy
@pytest.mark.slow
def test_spacy_in_two_processes_killed_and_continued_writes_what_one_process_does(tmp_path):
    pytest.importorskip("spacy")

    def command(out: Path, jobs: int) -> list[str]:
        words = ["data", "captions", str(SAMPLE), "--out", str(out), "--shard-images", "10", "--jobs", str(jobs)]
        return [sys.executable, "-m", "repro", *words]

    part, whole = tmp_path / "part", tmp_path / "whole"
    with subprocess.Popen(command(part, 2)) as process:
        wait_for(lambda: len(list(part.glob("shards/*.json"))) >= 2, process)
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(alive(w) for w in workers))
    assert main(command(part, 2)[3:]) == 0
    assert main(command(whole, 1)[3:]) == 0
    assert len(load_labels(part)) > 190
    assert files(part) == files(whole)


def wait_for(condition, process=None, seconds=240.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        assert process is None or process.poll() is None, "the command ended before"
        time.sleep(0.02)


def children(parent: int) -> list[int]:
    return [int(w) for t in Path(f"/proc/{parent}/task").iterdir() for w in (t / "children").read_text().split()]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
