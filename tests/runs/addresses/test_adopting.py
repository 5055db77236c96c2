"""Stores of version 0.1.0 are shown, never used unasked, and can be taken over; runs are known by their provenance."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from fake_runs import draw_counts, plan_of, store_counts, write_made

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.errors import UsageError
from repro.files import read_json, write_json
from repro.reports.tables.frame import notes
from repro.runs.addresses.adopting import adopt, differences, pieces
from repro.runs.addresses.code import MADE_BEFORE
from repro.runs.addresses.judging import training_subject
from repro.runs.addresses.stored import find_run, stored_run
from repro.runs.execute import asked_of
from repro.runs.plan import Run
from repro.runs.status import DONE, STALE, plan_status

ROWS = ("clip-base", "catseg-base", "disa-base")


def as_version_0_1_0(folder: Path) -> Path:
    """Give a stored run the form version 0.1.0 left: another name, a digest of its sources, no trace."""
    record = read_json(folder / "provenance.json")
    facts, asked = record["facts"], record.pop("asked")
    facts["code"] = "0123456789ab"
    del facts["classes"]
    lines = [f"{k} = {v!r}" for k, v in {"profile": asked["profile"], "row": asked["row"], **facts}.items()]
    (folder / "config.py").write_text('"""Resolved."""\n\n' + "\n".join(lines) + "\n")
    write_json(folder / "provenance.json", record)
    for path in folder.rglob("code.json"):
        path.unlink()
    for path in folder.rglob("cell.json"):
        cell = read_json(path)
        del cell["data"]
        write_json(path, {**cell, "key": "fedcba987654"})
    if asked["method"] != "clip":
        (folder / "weights.pth").write_bytes(b"w")
    return folder.rename(folder.with_name(folder.name[:-10] + "0123456789"))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    plan = plan_of(tmp_path, benchmarks=["A-150", "PC-59"])
    for row in ROWS:
        for name in ("A-150", "PC-59"):
            folder = store_counts(plan, row, name, draw_counts(get_benchmark(name), 4, 0.6))
        as_version_0_1_0(folder.parents[1])
    return tmp_path


def states(runs: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for state in plan_status(plan_of(runs, benchmarks=["A-150", "PC-59"])):
        if state.cell.run.row.id in ROWS:
            found.setdefault(state.cell.run.row.id, []).append(state.status)
    return found


def test_a_store_of_0_1_0_is_stale_not_missing_and_nothing_of_it_is_touched(old: Path) -> None:
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file()}
    assert states(old) == {row: [STALE, STALE] for row in ROWS}
    reasons = {s.stale for s in plan_status(plan_of(old)) if s.cell.run.row.id == "disa-base" and s.stale}
    (name,) = (p.name for p in old.glob("disa-*"))
    assert reasons == {f"{MADE_BEFORE} ({name})"}
    assert {p: p.read_bytes() for p in old.rglob("*") if p.is_file()} == before


def test_what_is_taken_over_is_done_and_every_table_says_so(old: Path) -> None:
    for name in sorted(p.name for p in old.glob("*-s0-*")):
        taken = adopt(name, old, None, "known to be right")
        assert [t for t in taken if t.startswith("evaluation")] == ["evaluation on A-150", "evaluation on PC-59"]
    assert states(old) == {row: [DONE, DONE] for row in ROWS}
    plan = plan_of(old, benchmarks=["A-150", "PC-59"])
    cells = plan_status(plan)
    said = [line for line in notes(plan, cells) if line.startswith("Taken over by hand")]
    assert len(said) == len(ROWS)
    assert all(f"known to be right; {MADE_BEFORE}" in line for line in said)
    assert adopt(find_run(plan.assets.store, "disa"), old, None, "") == []  # all of it is used


def test_why_says_what_a_run_rests_on_and_how_to_take_it_over(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = (p.name for p in old.glob("disa-*"))
    assert main(["runs", "why", run, "--runs", str(old)]) == 1
    said = capsys.readouterr().out
    assert "evaluation on PC-59: not judged" in said
    assert f"repro runs adopt {run}" in said
    assert main(["runs", "why", f"{run}/A-150", "--runs", str(old), "--json"]) == 1
    rests = json.loads(capsys.readouterr().out)["rests on"]
    assert {r["what"] for r in rests} == {"training", "evaluation on A-150"}
    assert main(["runs", "adopt", run, "--runs", str(old)]) == 0
    assert main(["runs", "why", run, "--runs", str(old)]) == 0
    assert "taken over by hand" in capsys.readouterr().out


def test_another_option_is_another_run_also_of_the_past(old: Path) -> None:
    (folder,) = old.glob("disa-*")
    record = read_json(folder / "provenance.json")
    record["facts"]["options"]["k"] = 48
    write_json(folder / "provenance.json", record)
    assert states(old)["disa-base"] == ["missing", "missing"]


@pytest.mark.parametrize("tower", ["convnext-base", "a.tower-s1-of.2", "tour-élevée"])
def test_a_run_is_read_from_its_provenance_whatever_its_name_holds(tmp_path: Path, tower: str) -> None:
    plan = plan_of(tmp_path)
    base = next(r for r in plan.runs if r.row.id == "disa-base")
    profile = dataclasses.replace(base.profile, towers={**base.profile.towers, tower: base.tower})
    row = dataclasses.replace(base.row, tower=tower, options=base.facts["options"])
    run = Run(row, profile, base.tower, base.entry, 3, base.assets.under(profile))
    write_made(run, run.place.path, training_subject(run))
    write_json(run.place.path / "provenance.json", {"run": run.id, "asked": asked_of(run), "facts": run.facts})
    found = stored_run(run.id, tmp_path)
    assert (found.entry.name, found.profile.name, found.row.tower, found.seed) == ("disa", "smoke", tower, 3)
    assert found.options == run.options
    assert found.address == run.address
    (training,) = [p for p in pieces(run.id, tmp_path) if p.what == "training"]
    assert training.verdict.state == "same"
    renamed = tmp_path / "a run-with-s5-another.name"
    shutil.move(run.place.path, renamed)
    assert stored_run(renamed.name, tmp_path).facts == run.facts


def test_an_unknown_run_and_an_ambiguous_beginning_are_answered(old: Path) -> None:
    store = plan_of(old).assets.store
    with pytest.raises(UsageError, match="unknown run"):
        find_run(store, "nothing")
    (old / "disa-2").mkdir()
    shutil.copy(next(old.glob("disa-smoke*")) / "provenance.json", old / "disa-2")
    with pytest.raises(UsageError, match="begins several runs"):
        find_run(store, "disa")


def test_differences_name_the_innermost_value() -> None:
    then = {"options": {"k": 96, "heads": 1}, "seed": 0}
    assert differences(then, {"options": {"k": 48, "heads": 1}, "seed": 0}) == ["options.k: 96 then, 48 now"]
