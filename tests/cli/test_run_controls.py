"""``repro run controls`` in the smoke profile: what it prints, keeps and says under other tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.hardware import cpu_count, cpu_name
from repro.measuring.controls import OVERFIT, START, TEACHER, TITLES, TRAINED

WORDS = ["--profile", "smoke", "--methods", "disa,clip", "--benchmarks", "PAS-20"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controls")


def call(store: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main([*words, "--runs", str(store / "my runs"), "--results", str(store / "results")])
    return code, capsys.readouterr().out


@pytest.fixture
def taken(store: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    code, out = call(store, capsys, "run", "controls", *WORDS, "--device", "cpu", "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_every_control_that_makes_sense_is_taken(taken: list[dict[str, Any]]) -> None:
    assert [(c["row"], c["control"]) for c in taken] == [
        *(("disa", kind) for kind in (OVERFIT, START, TRAINED)),
        ("densevlm", TEACHER),
    ]
    assert all(c["status"] == "done" and isinstance(c["holds"], bool) and c["text"] for c in taken)
    assert "after 3 steps" in taken[0]["text"]


def test_what_was_taken_is_not_taken_again(
    taken: list[dict[str, Any]], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {p: p.stat().st_mtime_ns for p in (store / "my runs").rglob("*.json") if "controls" in p.parts}
    assert files
    code, out = call(store, capsys, "run", "controls", *WORDS, "--dry-run", "--json")
    assert code == 0
    assert json.loads(out) == taken
    code, out = call(store, capsys, "report", "controls", *WORDS, "--html")
    assert code == 0
    assert all(title in out for title in TITLES.values())
    assert f"- Hardware: {cpu_name()}, {cpu_count()} cores." in (store / "results" / "controls.md").read_text()
    assert (store / "results" / "controls.html").is_file()
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_other_tables_name_the_controls_that_do_not_hold(
    taken: list[dict[str, Any]], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [c for c in taken if not c["holds"] and c["row"] == "disa"]
    assert failing  # after three steps
    _, out = call(store, capsys, "report", "table1", *WORDS)
    notes = [line for line in out.splitlines() if line.startswith("- Control does not hold: DiSa")]
    assert len(notes) == len(failing)
    assert all(any(c["text"] in line for line in notes) for c in failing)
    _, out = call(store, capsys, "report", "table1", *WORDS, "--seeds", "1")
    assert "Control does not hold: DiSa" not in out


def test_a_plan_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = call(tmp_path, capsys, "run", "controls", *WORDS, "--dry-run")
    assert code == 0
    assert "4 missing of 4 controls" in out
    assert not (tmp_path / "results").exists()
