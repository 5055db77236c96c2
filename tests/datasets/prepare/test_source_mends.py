"""Damaged sources and labels: each way out that is printed is followed as printed, and the set is sound after it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from talk import Talk, ours, way

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify

ADE, VOC, CONTEXT, COCO = "ADEChallengeData2016", "VOCdevkit/VOC2012", "VOCdevkit/VOC2010", "coco-stuff"
MASK = f"{ADE}/annotations/validation/ADE_val_00000002.png"
COCO_MASKS = f"{COCO}/annotations/val2017"
LIST = f"{VOC}/ImageSets/Segmentation/val.txt"
JSON = f"{CONTEXT}/trainval_merged.json"
Damage = Callable[[Path], None]


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.chdir(tmp_path)
    return Talk(capsys)


def put(name: str, content: bytes) -> Damage:
    def damage(root: Path) -> None:
        (root / name).write_bytes(content)

    return damage


def picture(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def damage(root: Path) -> None:
        Image.fromarray(change(np.array(Image.open(root / name)))).save(root / name)

    return damage


def painted(value: int) -> Callable[[np.ndarray], np.ndarray]:
    def paint(mask: np.ndarray) -> np.ndarray:
        mask[3, 5] = value
        return mask

    return paint


def gone(name: str) -> Damage:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def emptied(*names: str) -> Damage:
    def damage(root: Path) -> None:
        for path in (p for name in names for p in (root / name).iterdir()):
            path.unlink()

    return damage


def renamed(root: Path) -> None:
    for path in (root / COCO_MASKS).glob("*.png"):
        path.rename(path.with_name(f"{path.stem}_labelTrainIds.png"))


def coloured(root: Path) -> None:
    path = root / COCO_MASKS / "000000000139.png"
    image = Image.open(path).convert("P")
    image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    image.save(path)


def folder_for_a_list(root: Path) -> None:
    (root / LIST).unlink()
    (root / LIST).mkdir()


def rle(change: Callable[[dict], None]) -> Damage:
    def damage(root: Path) -> None:
        document = json.loads((root / JSON).read_text())
        change(document)
        (root / JSON).write_text(json.dumps(document))

    return damage


def matlab(**values: object) -> Damage:
    def damage(root: Path) -> None:
        from scipy.io import savemat

        savemat(sorted((root / CONTEXT / "trainval").glob("*.mat"))[0], values)

    return damage


def cut_matlab(root: Path) -> None:
    sorted((root / CONTEXT / "trainval").glob("*.mat"))[0].write_bytes(b"MATLAB 5.0")


SOURCES = [
    way("repro.datasets.layout:source_pairs", "coco-stuff", emptied(COCO_MASKS, f"{COCO}/images/val2017")),
    way("repro.datasets.layout:_present", "PAS-20", gone(f"{VOC}/JPEGImages/2009_003703.jpg")),
    way("repro.datasets.data_set:DataSet.mask_files", "coco-stuff", renamed),
    way("repro.datasets.listing:need", "A-150", gone(ADE)),
    way("repro.datasets.listing:read_ids", "PAS-20", put(LIST, b"../x\n")),
    way("repro.datasets.texts:plain_name", "PAS-20", put(LIST, b"a/b\n")),
    way("repro.datasets.texts:check_text#1", "PAS-20", folder_for_a_list),
    way("repro.datasets.texts:check_text#2", "PAS-20", put(LIST, b"\x89PNG\r\n\x1a\n" + bytes(40))),
    way("repro.datasets.texts:read_text", "PAS-20", put(LIST, b"2009_003703\n" * 2000 + b"\xff\xfe")),
    way("repro.datasets.texts:read_document", "PC-59", put(JSON, b'{"images": [')),
    way("repro.datasets.sets.pc59:Context59.list_sources", "PC-59", put(JSON, b"{}")),
    way("repro.datasets.sets.pc59:Context59.read_source", "PC-59",
        rle(lambda d: d["annos_segmentation"][0]["segmentation"].update(size=[1, 1]))),
    way("repro.datasets.sets.pc459:read_label_map#1", "PC-459", cut_matlab),
    way("repro.datasets.sets.pc459:read_label_map#2", "PC-459", matlab(LabelMap=np.full((4, 4), -1))),
    way("repro.datasets.sets.pc459:read_label_map#3", "PC-459", matlab(LabelMap=np.full((4, 4), 70000))),
    way("repro.datasets.images:read_mask#1", "coco-stuff", coloured),
    way("repro.datasets.palettes:check_palette", "coco-stuff", coloured),
    way("repro.datasets.images:read_mask#2", "coco-stuff",
        picture(f"{COCO_MASKS}/000000000139.png", lambda m: np.stack([m] * 3, -1))),
    way("repro.datasets.prepare.formats:perform", "A-150", picture(MASK, lambda m: m[:-1])),
    way("repro.datasets.prepare.formats:convert_source", "A-150", picture(MASK, painted(200))),
    way("repro.datasets.images:unreadable#2", "A-150", put(MASK, b"\x89PNG")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage"), SOURCES)
def test_sources_that_are_fetched_again_as_the_mend_says_are_prepared(
    request: pytest.FixtureRequest, talk: Talk, tmp_path: Path, name: str, damage: Damage
) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    folder = root / get_benchmark(name).folder
    sound = shutil.copytree(folder, tmp_path / "sound")
    words = ["data", "prepare", name, "--data-root", root, *(["--split", "val"] if name == "coco-stuff" else [])]
    damage(root)
    mend = talk.refused(*words)
    assert "unpack" in mend or "fetch" in mend
    shutil.rmtree(folder, ignore_errors=True) if "fetch" not in mend else None
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_dir() and (sound / path.relative_to(folder)).is_file():
            path.rmdir()
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    talk.succeeds(*(ours(mend) if "repro data" in mend else words))
    assert prepared_pairs(get_benchmark(name), root, "val")


def unlink_one(labels: Path) -> None:
    next(labels.glob("*.png")).unlink()


def note(**values: object) -> Damage:
    def damage(labels: Path) -> None:
        kept = json.loads(marker_path(labels).read_text())
        marker_path(labels).write_text(json.dumps({**kept, **values}))

    return damage


def by_others(labels: Path) -> None:
    marker_path(labels).unlink()


def half_by_others(labels: Path) -> None:
    by_others(labels)
    unlink_one(labels)


def all_labels(labels: Path) -> None:
    shutil.rmtree(labels)


def sourceless(labels: Path) -> None:
    """Some labels of others without any source: the download is asked for after the command."""
    half_by_others(labels)
    shutil.rmtree(labels.parents[1] / "annotations")
    shutil.rmtree(labels.parents[1] / "images")


def image_gone(labels: Path) -> None:
    (labels.parents[1] / "images/validation/ADE_val_00000002.jpg").unlink()


LABELS = [
    way("repro.datasets.layout:prepared_pairs#1", all_labels),
    way("repro.datasets.layout:prepared_pairs#2", half_by_others),
    way("repro.datasets.layout:prepared_pairs#3", image_gone),
    way("repro.datasets.layout:_expected_keys#1", note(complete=False)),
    way("repro.datasets.layout:_expected_keys#2", note(rules="abc")),
    way("repro.datasets.layout:_expected_keys#3", unlink_one),
    way("repro.datasets.layout:_expected_keys#4", sourceless),
]


@pytest.mark.parametrize("damage", LABELS)
def test_labels_that_cannot_be_used_are_made_again_by_the_command(
    talk: Talk, mini_real: Path, photographs: Path, damage: Damage
) -> None:
    labels = prepare("A-150", mini_real).folder
    damage(labels)
    mend = talk.refused_by(lambda: prepared_pairs(get_benchmark("A-150"), mini_real))
    if "unpack" in mend:
        shutil.copytree(photographs / ADE, mini_real / ADE, dirs_exist_ok=True, copy_function=shutil.copyfile)
    elif talk(*ours(mend)) != 0:  # a later message: the sources are to be fetched
        assert talk.message not in talk.error
        assert "unpack" in talk.error
        shutil.copytree(photographs / ADE, mini_real / ADE, dirs_exist_ok=True, copy_function=shutil.copyfile)
        talk.succeeds(*ours(mend))
    assert len(prepared_pairs(get_benchmark("A-150"), mini_real)) == 9


def moved(mend: str, tmp_path: Path) -> None:
    """Move what a mend says elsewhere."""
    words = shlex.split(mend)
    shutil.move(words[words.index("move") + 1], tmp_path / "elsewhere")


@pytest.mark.follows("repro.datasets.prepare.prepare:_Work.compared")
def test_labels_of_others_that_differ_are_moved_and_made(talk: Talk, mini_real: Path, tmp_path: Path) -> None:
    labels = prepare("A-150", mini_real).folder
    by_others(labels)
    picture("ADE_val_00000002.png", painted(3))(labels)
    mend = talk.refused("data", "prepare", "A-150", "--data-root", mini_real)
    moved(mend, tmp_path)
    talk.succeeds(*ours(mend))
    assert verify("A-150", mini_real, 9, against_sources=True).ok


@pytest.mark.follows("repro.datasets.prepare.before:refuse_others")
def test_labels_of_others_are_moved_before_they_are_made_again(talk: Talk, mini_real: Path, tmp_path: Path) -> None:
    by_others(prepare("A-150", mini_real).folder)
    mend = talk.refused("data", "prepare", "A-150", "--data-root", mini_real, "--again")
    moved(mend, tmp_path)
    talk.succeeds(*ours(mend))
    assert verify("A-150", mini_real, 9, against_sources=True).ok


@pytest.mark.follows("repro.datasets.prepare.before:refuse_strangers")
def test_labels_of_no_image_are_moved_out(talk: Talk, mini_real: Path, tmp_path: Path) -> None:
    labels = prepare("A-150", mini_real).folder
    shutil.copyfile(labels / "ADE_val_00000002.png", labels / "ADE_val_00000099.png")
    words = ["data", "prepare", "A-150", "--data-root", mini_real, "--again"]
    assert str(labels) in talk.refused(*words)
    shutil.move(labels / "ADE_val_00000099.png", tmp_path)
    talk.succeeds(*words)


@pytest.mark.follows("repro.datasets.prepare.prepare:_Work.run", "repro.datasets.listing:check_targets")
def test_a_link_that_leads_out_is_renamed(talk: Talk, mini_real: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    folder = prepare("A-150", mini_real).folder
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "outside", target_is_directory=True)
    mend = talk.refused("data", "prepare", "A-150", "--data-root", mini_real)
    folder.rename(folder.with_name("renamed"))
    talk.succeeds(*ours(mend))
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.follows("repro.datasets.prepare.origin:outdated")
def test_labels_of_older_sources_are_made_again(talk: Talk, mini_real: Path) -> None:
    from repro.datasets.prepare.origin import refuse_unfit

    benchmark = get_benchmark("A-150")
    prepare("A-150", mini_real)
    picture(MASK, painted(3))(mini_real)
    mend = talk.refused_by(lambda: refuse_unfit(benchmark, mini_real))
    talk.succeeds(*ours(mend))
    refuse_unfit(benchmark, mini_real)
    assert verify("A-150", mini_real, 9, against_sources=True).ok


@pytest.mark.follows("repro.datasets.verify.verify:_preparation_problems#1")
def test_a_set_that_is_absent_is_fetched_and_prepared(talk: Talk, photographs: Path, tmp_path: Path) -> None:
    (problem,) = verify("A-150", tmp_path).problems
    assert "unpack" in problem.mend
    shutil.copytree(photographs / ADE, tmp_path / ADE, copy_function=shutil.copyfile)
    (problem,) = verify("A-150", tmp_path, 9).problems
    assert "nothing is prepared" in problem.message
    talk.succeeds(*ours(problem.mend))
    assert verify("A-150", tmp_path, 9).ok


@pytest.mark.follows("repro.datasets.verify.verify:_file_problems#4")
def test_labels_of_images_that_left_the_list_are_removed_by_the_command(talk: Talk, mini_real: Path) -> None:
    prepare("PAS-20", mini_real)
    listing = mini_real / LIST
    listing.write_text("\n".join(listing.read_text().split()[1:]) + "\n")
    problems = [p for p in verify("PAS-20", mini_real, 18).problems if p.kind == "orphan"]
    assert len(problems) == 1
    talk.succeeds(*ours(problems[0].mend))
    assert verify("PAS-20", mini_real, 18).ok


@pytest.mark.follows("repro.datasets.verify.verify:_compare#1")
def test_a_source_that_cannot_be_compared_is_fetched_again(talk: Talk, mini_real: Path) -> None:
    prepare("A-150", mini_real)
    whole = (mini_real / MASK).read_bytes()
    picture(MASK, painted(200))(mini_real)
    problem = next(p for p in verify("A-150", mini_real, 9, against_sources=True).problems if p.kind == "pixels")
    (mini_real / MASK).write_bytes(whole)
    talk.succeeds(*ours(problem.mend))
    assert verify("A-150", mini_real, 9, against_sources=True).ok


@pytest.mark.follows("repro.datasets.parallel:parallel")
def test_with_fewer_jobs_a_killed_worker_is_done_without(
    talk: Talk, mini_real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import concurrent.futures
    from concurrent.futures.process import BrokenProcessPool

    def broken(*_: object, **__: object) -> object:
        raise BrokenProcessPool("killed")

    monkeypatch.setattr(concurrent.futures.ProcessPoolExecutor, "map", broken)
    words = ["data", "prepare", "A-150", "--data-root", mini_real, "--jobs"]
    assert "fewer --jobs" in talk.refused(*words, "2")
    talk.succeeds(*words, "1")


@pytest.mark.follows("repro.datasets.data_set:DataSet.split")
def test_a_split_is_named_as_the_mend_says(talk: Talk, mini_real: Path) -> None:
    words = ["data", "prepare", "A-150", "--data-root", mini_real]
    talk.refused_by(lambda: get_benchmark("A-150").split("test"))
    talk.succeeds(*words, *shlex.split(talk.mend))
