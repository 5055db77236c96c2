"""No figure of other data is shown: evaluations, trainings, maps and towers are keyed by what the files hold."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.datasets import contents
from repro.datasets.benchmarks import BENCHMARKS, get_benchmark
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path
from repro.datasets.prepare.origin import origin_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.fingerprint import names_and_sizes
from repro.datasets.writing import write_picture
from repro.errors import DataError
from repro.measuring.maps import MapCell
from repro.metrics.counts import Counts
from repro.reports.tables.frame import notes
from repro.runs.addresses.past import PastRun
from repro.runs.assets import Assets
from repro.runs.execute import asked_of
from repro.runs.plan import Plan, make_plan, train_set

ADE = "ADEChallengeData2016"


def evaluated(root: Path, runs: Path, capsys: pytest.CaptureFixture[str], name: str, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    command = ["eval", "clip", "--profile", "smoke", "--data-root", str(root), "--runs", str(runs), "--device", "cpu"]
    assert main([*command, "--benchmarks", name, "--json", *words]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert isinstance(row, dict)
    return row


def replaced(path: Path) -> None:
    """Another label of the same size in pixels."""
    label = read_label(path)
    write_picture(path, np.where(label < 200, (label + 3) % 20, label).astype(label.dtype))


@pytest.mark.parametrize(("name", "split"), [("A-847", "train"), ("PC-459", "val"), ("PAS-20", "val")])
def test_replaced_labels_give_another_figure_in_another_folder(
    request: pytest.FixtureRequest, name: str, split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    prepare(name, root, split=split)
    runs = tmp_path / "runs"
    first = evaluated(root, runs, capsys, name, "--split", split)
    assert evaluated(root, runs, capsys, name, "--split", split) == first
    for pair in prepared_pairs(get_benchmark(name), root, split):
        size = pair.label.stat().st_size
        replaced(pair.label)
        assert name == "PAS-20" or pair.label.stat().st_size == size  # TIFFs are not compressed
    second = evaluated(root, runs, capsys, name, "--split", split)
    assert second["folder"] != first["folder"]
    truth = [Counts.load(Path(row["folder"]) / "counts.npz") for row in (first, second)]
    assert not np.array_equal(truth[0].classes, truth[1].classes)


def test_a_second_look_reads_no_file_for_its_key(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**15))
    prepare("A-150", mini_real)
    evaluated(mini_real, tmp_path / "runs", capsys, "A-150")
    evaluated(mini_real, tmp_path / "runs", capsys, "A-150")  # by now the store has a cache
    monkeypatch.setattr(contents, "content_digest", lambda path: pytest.fail(f"read {path}"))
    evaluated(mini_real, tmp_path / "runs", capsys, "A-150")


def test_the_hidden_view_is_made_again_when_a_source_is_corrected(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = evaluated(mini_real, tmp_path / "runs", capsys, "A-150")
    assert evaluated(mini_real, tmp_path / "runs", capsys, "A-150") == first
    for path in (mini_real / ADE / "annotations" / "validation").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask > 0, (mask + 2) % 150 + 1, 0).astype(np.uint8)).save(path)
    second = evaluated(mini_real, tmp_path / "runs", capsys, "A-150")
    assert second["miou_gt"] != first["miou_gt"]
    assert second["folder"] != first["folder"]
    # An image that is taken out of the source is no longer evaluated.
    for folder in ("annotations", "images"):
        next((mini_real / ADE / folder / "validation").glob("ADE_val_00000001.*")).unlink()
    assert evaluated(mini_real, tmp_path / "runs", capsys, "A-150")["num_images"] == 8


def test_a_view_without_a_labelled_pixel_is_refused_until_it_is_corrected(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = {p: p.read_bytes() for p in (mini_real / ADE / "annotations" / "validation").iterdir()}
    for path in masks:
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    words = ["eval", "clip", "--profile", "smoke", "--data-root", str(mini_real), "--benchmarks", "A-150"]
    for _ in range(2):
        assert main([*words, "--runs", str(tmp_path / "runs"), "--device", "cpu"]) == 3
        assert "no pixel of 9 images has a class" in capsys.readouterr().err
    for path, data in masks.items():
        path.write_bytes(data)
    assert evaluated(mini_real, tmp_path / "runs", capsys, "A-150")["miou_gt"] is not None


def test_a_folder_of_the_user_made_from_other_sources_is_refused_with_the_command(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("A-150", mini_real)
    path = mini_real / ADE / "annotations" / "validation" / "ADE_val_00000001.png"
    mask = np.array(Image.open(path))
    mask[:9] = 3
    Image.fromarray(mask).save(path)
    words = ["eval", "clip", "--profile", "smoke", "--data-root", str(mini_real), "--benchmarks", "A-150"]
    assert main([*words, "--runs", str(tmp_path / "runs"), "--device", "cpu"]) == 3
    assert f"repro data prepare A-150 --data-root {mini_real} --again" in capsys.readouterr().err
    assert main(["data", "prepare", "A-150", "--data-root", str(mini_real), "--again"]) == 0
    evaluated(mini_real, tmp_path / "runs", capsys, "A-150")


def official(root: Path, raw: bool = False) -> Path:
    target = root / ADE / "annotations_detectron2" / "validation"
    target.mkdir(parents=True)
    for path in (root / ADE / "annotations" / "validation").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 150, 0, mask).astype(np.uint8) if raw else mask - 1).save(target / path.name)
    return target


def test_labels_of_others_are_compared_before_a_figure_is_printed(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = official(mini_real, raw=True)
    words = ["eval", "clip", "--profile", "smoke", "--data-root", str(mini_real), "--benchmarks", "A-150"]
    assert main([*words, "--runs", str(tmp_path / "runs"), "--device", "cpu"]) == 3
    assert "9 of 9 labels" in capsys.readouterr().err
    shutil.rmtree(labels)
    official(mini_real)
    row = evaluated(mini_real, tmp_path / "runs", capsys, "A-150")
    assert row["labels"] == ""
    evaluated(mini_real, tmp_path / "runs", capsys, "A-150")
    monkeypatch.setattr("repro.datasets.prepare.prepare.compare_others", lambda *a: pytest.fail("compared again"))
    evaluated(mini_real, tmp_path / "runs", capsys, "A-150")
    assert not marker_path(labels).exists()  # a named data root is only read


def test_figures_of_labels_that_could_not_be_compared_say_so(
    mini_real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = get_benchmark("A-150")
    part = dataclasses.replace(benchmark.splits[0], num_images=9, source_images="gone")
    official(mini_real)
    shutil.rmtree(mini_real / ADE / "annotations")
    monkeypatch.setitem(BENCHMARKS, "A-150", dataclasses.replace(benchmark, splits=(part,)))
    words = ["eval", "clip", "--profile", "smoke", "--data-root", str(mini_real), "--benchmarks", "A-150"]
    assert main([*words, "--runs", str(tmp_path / "runs"), "--device", "cpu"]) == 0
    assert "A-150: labels made by others, not compared with the rule." in capsys.readouterr().out


# -- tables -------------------------------------------------------------------------------------------------------
def plan(root: Path, runs: Path, table: str = "table1") -> Plan:
    return make_plan(load_table(table), load_profile("paper"), runs, data_root=root, benchmarks=["A-150"])


def keys(root: Path, runs: Path) -> dict[str, str]:
    """What a training, an evaluation, a map and an aligned tower are called."""
    made = plan(root, runs)
    trained = next(c for c in made.cells if c.run.train)
    plain = next(c for c in made.cells if not c.run.train)
    maps = MapCell(plain)
    assets = Assets(made.profile, runs, root)
    towers = [t for t in made.profile.towers if assets.tower_parts(t)]
    found = {"training": trained.run.address, "evaluation": plain.key, "maps": json.dumps(maps.facts)}
    assert towers
    return found | {"tower": json.dumps(assets.tower_key(towers[0]))}


def test_training_and_evaluation_maps_and_towers_follow_the_content_of_their_data(
    mini_real: Path, tmp_path: Path
) -> None:
    prepare("A-150", mini_real)
    prepare("coco-stuff", mini_real)
    runs = tmp_path / "runs"
    first = keys(mini_real, runs)
    assert keys(mini_real, runs) == first
    assert not runs.exists()  # looking makes no folder
    replaced(prepared_pairs(get_benchmark("A-150"), mini_real)[0].label)
    second = keys(mini_real, runs)
    assert {k for k in first if first[k] != second[k]} == {"evaluation", "maps"}
    replaced(prepared_pairs(get_benchmark("coco-stuff"), mini_real)[0].label)
    third = keys(mini_real, runs)
    assert {k for k in first if second[k] != third[k]} == {"training", "tower"}


def test_cells_wait_for_labels_that_are_of_other_sources_or_all_void(mini_real: Path, tmp_path: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    benchmark = get_benchmark("A-150")
    profile = load_profile("paper")
    assert Assets(profile, tmp_path / "runs", mini_real).missing_data(benchmark) == []
    path = mini_real / ADE / "annotations" / "validation" / "ADE_val_00000001.png"
    mask = np.array(Image.open(path))
    Image.fromarray(np.flipud(mask)).save(path)
    (missing,) = Assets(profile, tmp_path / "runs", mini_real).missing_data(benchmark)
    assert "made from other sources" in missing.what
    assert missing.mend.endswith("--again")
    note = json.loads(marker_path(folder).read_text())
    del note["origin"], note["adopted"]  # version 0.1.0 was content with it
    origin_path(folder).unlink()
    marker_path(folder).write_text(json.dumps({**note, "histogram": {"255": 9}}))
    (missing,) = Assets(profile, tmp_path / "runs", mini_real).missing_data(benchmark)
    assert "no pixel of 9 images has a class" in missing.what


def test_a_table_compares_labels_of_others_and_says_where_it_cannot(mini_real: Path, tmp_path: Path) -> None:
    labels = official(mini_real)
    made = plan(mini_real, tmp_path / "runs")
    line = "A-150: labels made by others, not compared with the rule."
    benchmark = get_benchmark("A-150")
    made.assets.compare(benchmark)
    assert line not in notes(made, [])
    shutil.rmtree(labels)
    official(mini_real, raw=True)
    with pytest.raises(DataError, match="9 of 9 labels"):
        plan(mini_real, tmp_path / "runs").assets.compare(benchmark)
    shutil.rmtree(mini_real / ADE / "annotations")
    assert line in notes(made, [])


def test_a_training_of_0_1_0_on_named_data_is_known_by_names_and_sizes(mini_real: Path, tmp_path: Path) -> None:
    prepare("coco-stuff", mini_real)
    run = next(r for r in plan(mini_real, tmp_path / "runs").runs if r.train)
    asked = asked_of(run)
    name = f"{run.entry.name}-{run.profile.name}-{run.row.tower}-s{run.seed}-0123456789"
    facts = {**run.facts, "data": names_and_sizes("coco-stuff", mini_real)}
    past = PastRun(tmp_path / name, run.profile.name, str(asked["row"]), facts)
    assert facts["data"] != run.facts["data"]
    assert past.is_of(run)
    assert not PastRun(tmp_path / name, run.profile.name, run.row.id, {**facts, "data": "0" * 16}).is_of(run)
    assert train_set(run.profile).id == "coco-stuff"
