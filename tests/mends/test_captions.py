"""Labels from captions: the ways out of sources and folders that cannot be used."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from caption_files import jpeg, stand_in, write_coco, write_shard
from talk import Talk, goes_on, ours, page, way

from repro.captions import convert, load_vocabulary
from repro.captions.image_set import LabelSet


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


def tsv(path: str = "my captions.tsv", rows: int = 4) -> Path:
    Path(path).write_text("".join(f"{n}.jpg\tdog cat of\n" for n in range(rows)))
    return Path(path)


def call(*more: object, source: object = "my captions.tsv", out: object = "out") -> list[object]:
    return ["data", "captions", source, "--out", out, *more]


def two_kinds(talk: Talk) -> None:
    write_coco(Path("c.json"), [(1, "a.jpg")], [(1, "dog")])


def packed(talk: Talk) -> None:
    Path("a.tsv.gz").write_bytes(gzip.compress(tsv().read_bytes()))


def binary(talk: Talk) -> None:
    Path("b.tsv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def instances(talk: Talk) -> None:
    Path("instances.json").write_text('{"images": [], "categories": []}')
    write_coco(Path("captions.json"), [(1, "a.jpg")], [(1, "dog")])


def compressed_shard(talk: Talk) -> None:
    write_shard(Path("x.tar"), ["dog"])
    Path("packed").mkdir()
    Path("packed/x.tar").write_bytes(gzip.compress(Path("x.tar").read_bytes()))


def no_caption(talk: Talk) -> None:
    write_coco(Path("none.json"), [(1, "a.jpg")], [])


def finished(talk: Talk) -> None:
    talk.succeeds(*call(source=tsv("other.tsv", 3)))


def filled(talk: Talk) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").touch()


def changed(talk: Talk) -> None:
    """A shard that was changed after it was written, by labels that were not finished."""
    talk.succeeds(*call())
    Path("out/provenance.json").unlink()
    shard = next(Path("out/shards").glob("*.jsonl"))
    shard.write_text(shard.read_text().replace("dog", "cow"))


def latin(talk: Talk) -> None:
    Path("terms.txt").write_bytes(b"caf\xe9")


HANDS = [  # place, what is wrong, the call, what the mend says to call instead
    way("repro.captions.sources:find_files#2", two_kinds, call(source="."), call("--format", "tsv", source=".")),
    way("repro.captions.sources:_cut_tsv", binary, call(source="b.tsv"), call()),
    way("repro.captions.sources:_read_coco", instances, call(source="instances.json"),
        call(source="captions.json")),
    way("repro.captions.archive:check", compressed_shard, call(source="packed"), call(source="x.tar")),
    way("repro.captions.convert:_claim#1", finished, call(), call(out="another")),
    way("repro.captions.convert:_claim#2", filled, call(), call(out="another")),
    way("repro.captions.convert:_finish#1", changed, call(), call(out="another")),
    way("repro.captions.convert:_finish#2", no_caption, call(source="none.json"), call(out="another")),
    way("repro.captions.phrases:Exclusions.read", latin, call("--exclude", "terms.txt"), call()),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "first", "instead"), HANDS)
def test_the_call_with_the_change_the_mend_asks_for_succeeds(
    talk: Talk, wrong: Callable[[Talk], None], first: list[object], instead: list[object]
) -> None:
    tsv()
    wrong(talk)
    mend = talk.refused(*first)
    for word in map(str, instead):
        assert not word.startswith("--") or word == "--out" or word in mend
    if "docs/" in mend:
        assert "--format" in page(mend)
    talk.succeeds(*instead)


@pytest.mark.follows("repro.captions.convert:_readable")
def test_a_source_without_permission_is_shown_by_the_command(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    converter = sys.modules["repro.captions.convert"]
    path = tsv()

    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))  # the superuser, who may run this, is never refused

    with monkeypatch.context() as refused:
        refused.setattr(converter.sources, "make_plan", refuse)
        mend = talk.refused(*call())
    shown = subprocess.run(["sh", "-c", mend], capture_output=True, text=True, check=True).stdout
    assert path.name in shown
    talk.succeeds(*call())


@pytest.mark.follows("repro.captions.convert:_convert")
def test_with_fewer_jobs_a_process_that_was_ended_is_done_without(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures.process import BrokenProcessPool

    converter = sys.modules["repro.captions.convert"]
    real = converter.parallel

    def ended(function: object, tasks: object, jobs: int, **more: object) -> object:
        if jobs > 1:
            raise BrokenProcessPool("killed")
        return real(function, tasks, jobs, **more)

    monkeypatch.setattr(converter, "parallel", ended)
    tsv()
    assert "fewer --jobs" in talk.refused(*call("--jobs", "2"))
    talk.succeeds(*call("--jobs", "1"))


@pytest.mark.follows("repro.captions.labels:load_vocabulary")
def test_labels_that_are_not_finished_are_made_by_the_command(talk: Talk, tmp_path: Path) -> None:
    mend = talk.refused_by(lambda: load_vocabulary(tmp_path / "my labels"))
    talk.succeeds(*ours(mend, SOURCE=tsv()))
    assert load_vocabulary(tmp_path / "my labels") == {"dog": 4, "cat": 4}


def labelled(images: list[tuple[int, str]]) -> LabelSet:
    """A set of images below images/, the first of which is there, with labels in labels/."""
    convert(write_coco(Path("c.json"), images, [(i, "dog") for i, _ in images]), Path("labels"))
    Path("images").mkdir(exist_ok=True)
    Path("images/a.jpg").write_bytes(jpeg(10))
    return LabelSet(Path("labels"), Path("images"), side=32)


@pytest.mark.follows("repro.captions.image_set:LabelSet.__init__")
def test_with_a_lower_min_count_there_are_images(talk: Talk) -> None:
    labelled([(1, "a.jpg")])
    assert talk.refused_by(lambda: LabelSet(Path("labels"), Path("images"), min_count=9)) == "lower min_count"
    assert len(LabelSet(Path("labels"), Path("images"), min_count=1)) == 1


@pytest.mark.follows("repro.captions.image_set:LabelSet.record")
def test_labels_that_changed_are_made_again(talk: Talk) -> None:
    data = labelled([(1, "a.jpg")])
    shard = next(Path("labels/shards").glob("*.jsonl"))
    shard.write_text("\n" * 200)
    mend = talk.refused_by(lambda: data.record(0))
    talk.succeeds(*ours(mend, SOURCE="c.json", DIR="anew"))
    assert LabelSet(Path("anew"), Path("images")).record(0).labels == ("dog",)


@pytest.mark.follows("repro.captions.image_set:LabelSet.load#1", "repro.captions.image_set:LabelSet.load#2")
def test_images_in_archives_are_fetched_again(talk: Talk) -> None:
    data = labelled([(1, "a.jpg")])
    shard = next(Path("labels/shards").glob("*.jsonl"))
    record = json.loads(shard.read_text())
    shard.write_text(json.dumps({**record, "image": "https://example.org/a.jpg"}) + "\n")
    away = LabelSet(Path("labels"), Path("images"))
    assert "docs/captions.md" in talk.refused_by(lambda: away.load(away.record(0)))
    assert "webdataset" in page(talk.mend)
    Path("archives").mkdir()
    write_shard(Path("archives/x.tar"), ["dog"])
    whole = Path("archives/x.tar").read_bytes()
    talk.succeeds(*call(source="archives", out="labels of archives"))
    data = LabelSet(Path("labels of archives"), Path("archives"))
    Path("archives/x.tar").write_bytes(bytes(len(whole)))
    talk.refused_by(lambda: data.load(data.record(0)))
    Path("archives/x.tar").write_bytes(whole)
    shutil.rmtree("labels of archives")
    talk.succeeds(*call(source="archives", out="labels of archives"))
    goes_on(talk, lambda: data.load(data.record(0)))
