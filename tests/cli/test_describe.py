"""``repro describe`` and ``repro list``: what is there, what is done, from what it was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from finished_table import finished_table

from repro.cli.main import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    finished_table(folder, ("A-150", "PAS-20b"))
    return folder


def said(capsys: pytest.CaptureFixture[str], runs: Path, *words: str) -> Any:
    capsys.readouterr()
    assert main([*words, "--runs", str(runs), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_says_what_is_done_and_from_what_it_was_made(runs: Path, capsys: pytest.CaptureFixture[str]):
    run = next(p.name for p in runs.glob("disa-*-s1-*"))
    found = said(capsys, runs, "describe", run[:-4])
    assert found["run"] == run
    assert found["training"] == {"state": "interrupted or under way", "iterations": 100, "of": found["made from"]["train"]["iterations"], "last loss": 0.01}  # fmt: skip  # noqa: E501
    assert {b: e["state"] for b, e in found["evaluations"].items()} == {"A-150": "finished", "PAS-20b": "finished"}
    metrics = json.loads((runs / run / "eval" / "A-150" / "metrics.json").read_text())
    assert found["evaluations"]["A-150"]["miou_gt"] == metrics["miou_gt"]
    assert {found["code"][k] for k in ("training", "evaluation on A-150", "evaluation on PAS-20b")} == {"same"}
    assert "table1: DiSa" in found["used by"]
    assert found["made by"]["command"] == "repro run table1"
    assert set(found["made from"]) >= {"options", "tower", "train", "data"}


def test_a_run_of_other_code_says_so(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    run = next(runs.glob("catseg-*-s0-*"))
    shutil.copytree(run, tmp_path / run.name)
    kept = json.loads((run / "code.json").read_text())
    kept["made"]["source"] = "0000"
    (tmp_path / run.name / "code.json").write_text(json.dumps(kept))
    found = said(capsys, tmp_path, "describe", run.name)
    assert found["code"]["training"].startswith("stale: the training computes something else now: it kept no trace")
    assert found["used by"] == []
    assert any(line.startswith("table1: CAT-Seg uses catseg-") for line in found["not used by"])
    assert found["training"]["state"] == "interrupted or under way"


def test_finished_weights_are_a_finished_training(runs: Path, capsys: pytest.CaptureFixture[str]):
    run = next(runs.glob("catseg-*-s1-*"))
    (run / "weights.pth").write_bytes(b"x")
    found = said(capsys, runs, "describe", run.name)
    assert found["training"]["state"] == "finished"
    assert found["training"]["iterations"] == found["training"]["of"]
    (run / "weights.pth").unlink()


def test_table_method_and_benchmark_say_what_is_done(runs: Path, capsys: pytest.CaptureFixture[str]):
    table = said(capsys, runs, "describe", "table1", "--profile", "smoke")
    assert [k for k, v in table["done"].items() if v == "A-150, PAS-20b" and "DiSa" in k]
    method = said(capsys, runs, "describe", "disa")
    assert len(method[f"runs in {runs}"]) == 2
    benchmark = said(capsys, runs, "describe", "pas-20b")
    assert len(benchmark["evaluated runs"]) == 5
    assert all(line.startswith("PAS-20b: mIoU") for line in benchmark["evaluated runs"].values())


def test_the_list_gives_the_state_of_every_run(runs: Path, capsys: pytest.CaptureFixture[str]):
    found = said(capsys, runs, "list")
    assert found["runs"] == list(found["run states"]) == sorted(p.name for p in runs.iterdir())
    assert all("evaluated on A-150, PAS-20b" in state for state in found["run states"].values())
    assert sum("not trained" in state for state in found["run states"].values()) == 1


def test_an_ambiguous_prefix_names_what_it_begins(runs: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["describe", "disa-", "--runs", str(runs)]) == 2
    said_instead = capsys.readouterr().err
    assert "begins several runs" in said_instead
    assert said_instead.count("disa-smoke") == 2
