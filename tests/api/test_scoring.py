"""``repro.api.score``: a run of the store for each content of a folder, and what it may enter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from scored import perfect

from repro.api import score
from repro.api.comparison import compare_runs
from repro.api.listing import run_rows
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.layout import prepared_pairs
from repro.errors import DataError, UsageError
from repro.files import read_json
from repro.interop.predictions import Predictions
from repro.requests import CompareRequest
from repro.runs.assets import Assets


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the drawn data of the smoke profile."""
    runs = tmp_path_factory.mktemp("drawn") / "runs"
    Assets(load_profile("smoke"), runs, None).ensure_data()
    return runs


@pytest.fixture
def runs(drawn: Path, tmp_path: Path) -> Path:
    shutil.copytree(drawn, tmp_path / "runs")
    return tmp_path / "runs"


def pairs_of(runs: Path, benchmark: str) -> list[Any]:
    assets = Assets(load_profile("smoke"), runs, None)
    return list(prepared_pairs(get_benchmark(benchmark), assets.ensure_data()))


def scored(runs: Path, folder: Path, benchmark: str = "A-150", **more: Any) -> dict[str, Any]:
    return score(str(folder), benchmark, profile="smoke", runs=str(runs), **more)


@pytest.mark.parametrize("name", ["A-847", "A-150", "PAS-20b"])
def test_the_labels_themselves_are_right_everywhere(name: str, runs: Path, tmp_path: Path) -> None:
    row = scored(runs, perfect(tmp_path / "other code", pairs_of(runs, name)), name)
    assert (row["name"], row["method"], row["complete"]) == ("other code", "predictions", False)
    assert [row[m] for m in ("miou_gt", "miou_union", "macc", "pacc")] == [1.0] * 4
    assert Path(row["folder"]) == runs / row["run"] / "eval" / name
    assert row["run"].startswith("other-code-scored-")
    facts = read_json(runs / row["run"] / "provenance.json")["facts"]
    assert {k: facts[k] for k in ("method", "name", "format")} == {
        "method": "predictions", "name": "other code", "format": "label pictures"
    }  # fmt: skip


def test_a_folder_is_scored_once_and_changed_files_are_another_run(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = pairs_of(runs, "A-150")
    folder = perfect(tmp_path / "p", pairs)
    first = scored(runs, folder, name="SED, official")
    with monkeypatch.context() as patch:
        patch.setattr(Predictions, "read", lambda *_: pytest.fail("scored again"))
        assert scored(runs, folder, name="SED, official") == first
    stored = (Path(first["folder"]) / "metrics.json").read_bytes()
    shutil.rmtree(folder)
    second = scored(runs, perfect(folder, pairs, wrong=9), name="SED, official")
    assert second["run"] != first["run"]
    assert 0 < second["pacc"] < 1
    assert (Path(first["folder"]) / "metrics.json").read_bytes() == stored


def test_measures_are_taken_later_beside_the_counts(runs: Path, tmp_path: Path) -> None:
    folder = perfect(tmp_path / "p", pairs_of(runs, "A-150"))
    plain = scored(runs, folder)
    row = scored(runs, folder, measures=("boundary", "size", "bias", "seen"))
    assert {k: row[k] for k in plain} == plain
    assert [row[k] for k in ("boundary_iou", "trimap_4", "recall_large", "foreground_bias")] == [1, 1, 1, 0]


def test_a_part_is_marked_and_not_compared_with_the_whole(runs: Path, tmp_path: Path) -> None:
    pairs = pairs_of(runs, "A-150")
    folder, other = perfect(tmp_path / "p", pairs), perfect(tmp_path / "other", pairs, wrong=9)
    part = scored(runs, folder, limit=1)
    assert (part["num_images"], part["part"], part["complete"]) == (1, "first 1 of 2 images", False)
    whole = scored(runs, other)
    assert whole["part"] == ""
    asked = {"runs": runs, "resamples": 200}
    with pytest.raises(UsageError, match="cannot be compared") as caught:
        compare_runs(CompareRequest(part["run"], whole["run"], **asked))
    assert "images differ" in str(caught.value.found)
    found = compare_runs(CompareRequest(part["run"], scored(runs, other, limit=1)["run"], **asked))
    assert found.lines[0].images == 1
    assert "A: a part of A-150, first 1 of 2 images" in found.notes
    scored(runs, folder)  # the whole lies beside its part, and is what is compared
    found = compare_runs(CompareRequest(part["run"], whole["run"], **asked))
    assert found.lines[0].images == 2
    assert not any("a part of" in note for note in found.notes)
    assert scored(runs, folder, limit=9)["part"] == ""


def test_the_store_lists_it_without_judging_code_and_without_the_figures_of_parts(runs: Path, tmp_path: Path) -> None:
    folder = perfect(tmp_path / "p", pairs_of(runs, "A-150"))
    scored(runs, folder, limit=1)
    (row,) = run_rows(runs)
    assert (row["state"], row["code"], row["evaluations"]) == ("finished", "same", 0)
    scored(runs, folder)
    (row,) = run_rows(runs)
    assert (row["evaluations"], row["miou_gt"]) == (1, 1.0)


def test_predictions_of_other_images_leave_no_run(runs: Path, tmp_path: Path) -> None:
    folder = perfect(tmp_path / "p", pairs_of(runs, "A-150"))
    before = {p.name for p in runs.iterdir()}
    with pytest.raises(DataError, match="not those of the images of PAS-20"):
        scored(runs, folder, "PAS-20")
    assert {p.name for p in runs.iterdir()} == before
