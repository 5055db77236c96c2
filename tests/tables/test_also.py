"""Predictions of other code as rows of a table and as sides of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from finished_table import IMAGES, finished_table
from scored import store_score
from talk import Talk, ours

from repro.runs.plan import Plan

NAME = "SED, official"
BENCHMARKS = ("A-150", "PAS-20b")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return finished_table(tmp_path / "runs", BENCHMARKS).plan


@pytest.fixture
def talk(capsys: pytest.CaptureFixture[str]) -> Talk:
    return Talk(capsys)


def report(plan: Plan, *more: object) -> tuple[object, ...]:
    runs = plan.assets.store.root
    words = ("report", "table1", "--profile", "smoke", "--runs", runs, "--results", runs.parent / "results")
    return (*words, "--benchmarks", ",".join(BENCHMARKS), "--seeds", "0,1", *more)


def compare(plan: Plan, a: str, b: str, *more: str) -> tuple[object, ...]:
    words = ("compare", a, b, "--profile", "smoke", "--runs", plan.assets.store.root, "--resamples", "200")
    return (*words, "--seeds", "0", *more)


def test_runs_of_one_name_are_one_row_that_says_what_it_is(plan: Plan, talk: Talk) -> None:
    runs = [store_score(plan, NAME, b, 0.6, IMAGES) for b in BENCHMARKS]
    text = talk.succeeds(*report(plan, "--also", "sed-official", "--html"))
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {NAME}")]
    assert row.split("|")[2].strip() == "predictions of other code"
    assert row.split("|")[4].strip() == "1"
    cells = pd.read_csv(plan.assets.store.root.parent / "results" / "table1_cells.csv")
    own = cells[cells.title == NAME]
    assert dict(zip(own.benchmark, own.run, strict=True)) == dict(zip(BENCHMARKS, runs, strict=True))
    shown = [float(v) for v in row.split("|")[5:7]]
    assert shown == [round(100 * v, 1) for v in own.miou_gt]
    assert f"{NAME}: predictions of other code, whose protocol is not known" in text
    assert NAME in (plan.assets.store.root.parent / "results" / "table1.html").read_text()
    assert NAME not in talk.succeeds(*report(plan))
    document = json.loads(talk.succeeds(*report(plan, "--also", "sed-official", "--json")))
    assert {c["status"] for c in document if c["method"] == "predictions"} == {"done"}


def test_they_are_compared_with_our_rows_on_all_their_benchmarks_with_a_note(plan: Plan, talk: Talk) -> None:
    runs = [store_score(plan, NAME, b, 0.6, IMAGES) for b in BENCHMARKS]
    text = talk.succeeds(*compare(plan, ",".join(runs), "table1:catseg-base"))
    assert text.count("Note: A: predictions of other code, whose protocol") == 1
    found = json.loads(talk.succeeds(*compare(plan, ",".join(runs), "table1:catseg-base", "--json")))
    assert {r["benchmark"] for r in found["rows"]} == set(BENCHMARKS)
    assert all(r["difference"]["low"] > 0 for r in found["rows"])
    assert len(found["notes"]) == 1
    both = json.loads(talk.succeeds(*compare(plan, runs[0], runs[0], "--json")))
    assert [n[0] for n in both["notes"]] == ["A", "B"]
    ours_alone = json.loads(talk.succeeds(*compare(plan, "table1:disa-base", "table1:catseg-base", "--json")))
    assert ours_alone["notes"] == []


def test_other_images_are_refused_as_between_our_own_runs(plan: Plan, talk: Talk) -> None:
    run = store_score(plan, NAME, "A-150", 0.6, IMAGES - 1)
    talk.refused(*compare(plan, run, "table1:catseg-base"))
    assert "images differ" in talk.error


@pytest.mark.follows("repro.runs.evaluations:_of_predictions")
def test_runs_of_several_names_and_two_of_one_benchmark_are_no_side(plan: Plan, talk: Talk) -> None:
    first, second = (store_score(plan, NAME, "A-150", right, IMAGES) for right in (0.6, 0.5))
    other = store_score(plan, "SAN", "PAS-20b", 0.6, IMAGES)
    for pair in ((first, second), (first, other)):
        mend = talk.refused(*compare(plan, ",".join(pair), "table1:catseg-base"))
        assert mend == "name one run on each side"
    talk.succeeds(*compare(plan, first, second))


@pytest.mark.follows(
    "repro.runs.scored:find_scored#1", "repro.runs.scored:find_scored#2", "repro.runs.scored_rows:with_scored"
)
def test_what_is_no_row_of_the_table_is_refused(plan: Plan, talk: Talk) -> None:
    mend = talk.refused(*report(plan, "--also", "sed"))
    assert ours(mend)[0] == "score"
    first, _ = (store_score(plan, NAME, "A-150", right, IMAGES) for right in (0.6, 0.5))
    talk.refused(*report(plan, "--also", "sed"))
    assert "several scores" in talk.message
    talk.succeeds(*report(plan, "--also", first))
    store_score(plan, "sed2", "A-150", 0.5, IMAGES, data="other images")
    mend = talk.refused(*report(plan, "--also", "sed"))
    assert "several names" in talk.message
    mend = talk.refused(*report(plan, "--also", "sed2"))
    assert "no score" in talk.message
    assert ours(mend[mend.index("repro score") :])[:2] == ["score", "FOLDER"]


@pytest.mark.follows("repro.runs.addresses.stored:stored_run#2")
def test_what_needs_a_method_is_refused_and_comparing_is_named(plan: Plan, talk: Talk) -> None:
    run, runs = store_score(plan, NAME, "A-150", 0.6, IMAGES), plan.assets.store.root
    mend = talk.refused("runs", "why", run, "--runs", runs)
    assert ours(mend) == ["compare", run, "RUN"]
    talk.succeeds(*compare(plan, run, "table1:catseg-base"))
    assert f"name: {NAME}" in talk.succeeds("describe", run, "--runs", runs)
    assert f"{NAME}, predictions of other code" in talk.succeeds("list", "--runs", runs)
