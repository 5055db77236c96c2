"""``--dataset``: the drawn A-150 described by hand gives what A-150 gives, in every command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.datasets.own_file import VARIABLE
from repro.datasets.vocabulary import load_vocabulary

METRICS = ("miou_gt", "miou_union", "fwiou", "macc", "pacc")


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    capsys.readouterr()
    assert main([str(w) for w in words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, tuple[object, ...]]:
    """A description of the drawn A-150, and the words that name its store."""
    monkeypatch.setenv(VARIABLE, "")
    store = ("--runs", tmp_path / "runs", "--profile", "smoke")
    assert main([str(w) for w in ("eval", "clip", *store, "--benchmarks", "A-150", "--device", "cpu")]) == 0
    (root,) = (tmp_path / "runs" / "cache" / "data").glob("*/ADEChallengeData2016")
    names = json.dumps(list(load_vocabulary("ade150").names))
    (tmp_path / "mine.toml").write_text(
        f'root = "{root}"\nimages = "images/validation"\nmasks = "annotations/validation"\nclasses = {names}\n'
        'offset = 1\nignore = 0\n[train]\nimages = "images/validation"\nmasks = "annotations/validation"\n'
    )
    return tmp_path / "mine.toml", store


def test_a_set_described_by_hand_is_evaluated_scored_and_tabled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], described: tuple[Path, tuple[object, ...]]
) -> None:
    place, store = described
    cpu = ("--device", "cpu", "--json")
    (known,) = answer(capsys, "eval", "clip", *store, "--benchmarks", "A-150", *cpu)
    (mine,) = answer(capsys, "eval", "clip", *store, "--dataset", place, "--save-predictions", tmp_path / "p", *cpu)
    assert mine["benchmark"] == "mine"
    assert {m: mine[m] for m in METRICS} == {m: known[m] for m in METRICS}
    scored = answer(capsys, "score", tmp_path / "p" / "mine", "--dataset", place, *store, "--json")
    assert {m: scored[m] for m in METRICS} == {m: known[m] for m in METRICS}
    table = ("table1", *store, "--methods", "clip", "--dataset", place, "--results", tmp_path / "results")
    assert main([str(w) for w in ("run", *table, "--device", "cpu")]) == 0
    with (tmp_path / "results" / "table1_cells.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["benchmark"] == "mine"
    assert float(row["miou_gt"]) == pytest.approx(known["miou_gt"], abs=1e-6)
    both = answer(capsys, "eval", "clip", *store, "--dataset", place, "--benchmarks", "A-150", *cpu)
    assert [r["benchmark"] for r in both] == ["A-150", "mine"]


def test_a_method_is_trained_on_it_and_the_run_is_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], described: tuple[Path, tuple[object, ...]]
) -> None:
    place, store = described
    words = ("train", "catseg", *store, "--iterations", "1", "--device", "cpu", "--json")
    usual, own = answer(capsys, *words), answer(capsys, *words, "--dataset", place)
    assert {k for k in usual["facts"] if usual["facts"][k] != own["facts"][k]} == {"data", "classes"}
    again = answer(capsys, *words, "--set", "train_set=mine", "--dataset", place)
    assert again["run"] == own["run"] != usual["run"]


@pytest.mark.follows("repro.runs.external:sources_unfit", "repro.datasets.layout:prepared_pairs#1")
def test_masks_that_are_absent_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], described: tuple[Path, tuple[object, ...]]
) -> None:
    place, store = described
    text = place.read_text()
    place.write_text(text.replace("annotations/validation", "annotations/val"))
    words = [str(w) for w in ("run", "table1", *store, "--methods", "clip", "--dataset", place, "--device", "cpu")]
    assert main([*words, "--results", str(tmp_path / "results")]) == 3
    said = capsys.readouterr().err
    assert "annotations/val is absent" in said
    assert f"correct {place}" in said
    place.write_text(text)
    assert main([*words, "--results", str(tmp_path / "results")]) == 0
