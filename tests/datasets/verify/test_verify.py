"""Verification on real samples: what the report says, where it is written, and what it is set against."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify

SETS = [
    ("A-150", "val", 9),
    ("A-847", "train", 3),
    ("PAS-20", "val", 19),
    ("PAS-20b", "val", 19),
    ("coco-stuff", "val", 8),
]
CONTEXT = [("PC-59", "val", 4), ("PC-459", "val", 4)]


def tree(root: Path) -> dict[str, tuple[int, int]]:
    found = [Path(top) / name for top, _, names in os.walk(root) for name in names]
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


def repaint(path: Path, change: int) -> None:
    """Another legal class in one pixel."""
    label = np.array(Image.open(path))
    label[3, 5] = change if label[3, 5] != change else change + 1
    Image.fromarray(label).save(path)


def prepared(request: pytest.FixtureRequest, name: str, split: str) -> tuple[Path, Path]:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    return root, prepare(name, root, split=split).folder


@pytest.mark.parametrize(("name", "split", "count"), [*SETS, *CONTEXT])
def test_every_label_equals_its_source_and_one_changed_pixel_is_found(
    request: pytest.FixtureRequest, name: str, split: str, count: int
) -> None:
    root, folder = prepared(request, name, split)
    sound = verify(name, root, count, split=split, against_sources=True)
    assert sound.ok, str(sound)
    assert sound.compared
    assert "every label equals its source" in str(sound)
    marker_path(folder).unlink()  # as the official scripts leave it: no histogram to compare with
    label = sorted(folder.glob(f"*{get_benchmark(name).label_suffix}"))[0]
    repaint(label, 3)
    report = verify(name, root, count, split=split, against_sources=True)
    assert [p.kind for p in report.problems] == ["pixels"]
    assert report.problems[0].files == (str(label),)
    assert "in 1 of" in report.problems[0].message
    assert "first at row 3, column 5" in report.problems[0].message


def test_labels_of_others_without_the_shift_by_one_are_found_unasked(mini_real: Path) -> None:
    folder = mini_real / "ADEChallengeData2016"
    target = folder / "annotations_detectron2" / "validation"
    target.mkdir(parents=True)
    for path in (folder / "annotations" / "validation").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 0, 255, np.minimum(mask, 149)).astype(np.uint8)).save(target / path.name)
    report = verify("A-150", mini_real, 9)
    assert [p.kind for p in report.problems] == ["pixels"] * 9
    assert report.prepared_by == "other scripts"


def test_comparing_without_sources_says_so(mini_real: Path) -> None:
    prepare("A-150", mini_real)
    shutil.rmtree(mini_real / "ADEChallengeData2016" / "annotations")
    report = verify("A-150", mini_real, 9, against_sources=True)
    assert [p.kind for p in report.problems] == ["pixels"]
    assert "absent" in report.problems[0].message
    assert not report.compared


def test_missing_and_stray_files_are_named_and_the_rest_is_still_read(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    images = mini_real / "ADEChallengeData2016" / "images" / "validation"
    (folder / "ADE_val_00000001.png").unlink()
    shutil.copyfile(folder / "ADE_val_00000003.png", folder / "ADE_val_00009999.png")
    (folder / "notes.txt").touch()
    (folder / ".hidden").touch()
    broken = images / "ADE_val_00000002.jpg"
    broken.write_bytes(broken.read_bytes()[:3000])
    report = verify("A-150", mini_real, 9)
    found = {p.kind: p for p in report.problems}
    assert sorted(p.kind for p in report.problems) == ["image", "missing", "orphan", "orphan"]
    assert found["missing"].files == (str(folder / "ADE_val_00000001.png"),)
    assert found["missing"].mend == f"repro data prepare A-150 --data-root {mini_real}"
    assert {Path(f).name for p in report.problems if p.kind == "orphan" for f in p.files} == {
        "ADE_val_00009999.png",
        "notes.txt",
    }
    assert found["image"].files == (str(broken),)
    assert (report.images, report.labels) == (8, 9)
    assert report.classes_present > 30  # labels were read all the same


def test_a_label_whose_image_is_gone_is_missing_its_image(mini_real: Path) -> None:
    prepare("PAS-20", mini_real)
    image = mini_real / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2009_003703.jpg"
    image.unlink()
    report = verify("PAS-20", mini_real, 19)
    assert [(p.kind, p.files) for p in report.problems] == [("missing", (str(image),))]
    assert "http" in report.problems[0].mend


def test_an_interrupted_preparation_is_said_to_be_one(mini_real: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("A-150", mini_real, progress=stop)
    report = verify("A-150", mini_real, 9)
    assert [p.kind for p in report.problems] == ["preparation", "missing"]
    assert "interrupted: 4 of 9 labels" in report.problems[0].message
    assert len(report.problems[1].files) == 5


def test_dropped_images_count_as_images_of_the_set(mini_real: Path) -> None:
    voc = mini_real / "VOCdevkit" / "VOC2012"
    mask = voc / "SegmentationClassAug" / "2009_003703.png"
    Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    folder = prepare("PAS-20", mini_real).folder
    for _ in range(2):
        report = verify("PAS-20", mini_real, 19)
        assert report.ok, str(report)
        assert (report.images, report.labels, report.dropped) == (19, 18, 1)
        marker_path(folder).unlink(missing_ok=True)  # the second time as the official scripts leave it


def test_the_report_is_written_as_json_and_text_where_asked_and_nowhere_else(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("PAS-20b", mini_real)
    before = tree(mini_real)
    out = tmp_path / "reports"
    words = ["data", "verify", "PAS-20b", "--data-root", str(mini_real), "--out", str(out)]
    assert main(words) == 3  # 19 images are no complete set
    text = capsys.readouterr().out
    assert "19 of 1,449" in text
    assert "--expected-count 19" in text
    assert sorted(p.name for p in out.iterdir()) == ["PAS-20b-val.json", "PAS-20b-val.txt"]
    assert tree(mini_real) == before
    record = json.loads((out / "PAS-20b-val.json").read_text())
    assert [p["kind"] for p in record["problems"]] == ["count"]
    assert main([*words, "--expected-count", "19", "--against-sources", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["ok"]
    record = json.loads((out / "PAS-20b-val.json").read_text())
    assert record["ok"]
    assert record["compared"]
    labels = [read_label(p.label) for p in prepared_pairs(get_benchmark("PAS-20b"), mini_real)]
    table = (out / "PAS-20b-val.txt").read_text().splitlines()
    background = next(line for line in table if line.endswith("  background")).split()
    assert int(background[1].replace(",", "")) == sum(int((x == 20).sum()) for x in labels)
    assert int(table[-1].split()[0].replace(",", "")) == sum(int((x == 255).sum()) for x in labels)


@pytest.mark.parametrize(("name", "count"), [("A-847", 2000), ("A-150", 2000), ("PC-59", 5104), ("PC-459", 5104),
                                             ("PAS-20", 1449), ("PAS-20b", 1449), ("coco-stuff", 118_287)])  # fmt: skip
def test_published_counts_are_demanded_unless_a_sample_is_named(name: str, count: int, tmp_path: Path) -> None:
    assert verify(name, tmp_path).expected_images == count


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_the_index_pickle_of_ade20k_is_never_executed(mini_real: Path, tmp_path: Path) -> None:
    target = tmp_path / "executed"
    index = mini_real / "ADE20K_2021_17_01" / "index_ade20k.pkl"
    index.write_bytes(pickle.dumps({"filename": [_Bomb(target)], "folder": []}))
    assert prepare("A-847", mini_real, split="train").images == 3
    assert verify("A-847", mini_real, 3, split="train", against_sources=True).ok
    assert not target.exists()
    pickle.loads(index.read_bytes())  # noqa: S301 - it would have
    assert target.exists()


def test_no_module_that_reads_data_sets_unpickles() -> None:
    import repro.datasets

    modules = list(Path(next(iter(repro.datasets.__path__))).rglob("*.py"))
    assert len(modules) > 10
    for word in ("import pickle", "allow_pickle=True", "weights_only=False", "read_pickle", "joblib"):
        assert [p.name for p in modules if word in p.read_text()] == [], word


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(
    ("content", "said"), [(b"../x\n", "line 1"), ("2007_001457\n".encode("utf-16"), "UTF-16"), (b"", "empty")]
)
def test_a_list_that_cannot_be_read_is_a_problem_of_the_report(
    mini_real: Path, content: bytes, said: str, prepared: bool
) -> None:
    path = mini_real / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    right = path.read_bytes()
    if prepared:
        prepare("PAS-20", mini_real)
    path.write_bytes(content)
    (problem,) = verify("PAS-20", mini_real, 19).problems
    assert problem.kind == "preparation"
    assert str(path) in problem.message
    assert said in problem.message
    assert problem.mend
    path.write_bytes(right)
    if prepared:
        assert verify("PAS-20", mini_real, 19).ok
