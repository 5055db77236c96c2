"""``repro compare``, ``check``, ``report``, ``figures`` and ``runs``: the ways out, on a store of drawn masks."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import draw_counts, plan_of, store_counts
from talk import Talk, options, ours, way

from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark

IMAGES = 12
FEW = ["--resamples", "100"]
SMOKE = ["--profile", "smoke"]


def fill(root: Path, rows: Sequence[str], name: str = "PAS-20", seeds: Sequence[int] = (0,), **counts: Any) -> None:
    plan = plan_of(root, seeds=seeds)
    for row in rows:
        for seed in seeds:
            store_counts(plan, row, name, draw_counts(get_benchmark(name), IMAGES, 0.6, seed=seed), seed, **counts)


@pytest.fixture
def runs(talk: Talk) -> Path:
    """A store with the zero-shot row and two trained ones, the latter with two seeds."""
    fill(Path("my runs"), ["clip-base", "catseg-base", "disa-base"], seeds=(0, 1))
    return Path("my runs")


def run_of(runs: Path, method: str, seed: int = 0) -> str:
    return next(p.name for p in runs.glob(f"{method}-*-s{seed}-*"))


def compare(runs: Path, a: object, b: object, *more: object) -> list[object]:
    return ["compare", a, b, "--runs", runs, *SMOKE, *FEW, *more]


@pytest.mark.follows("repro.runs.evaluations:find_side#2")
def test_a_row_without_evaluations_is_made_by_the_command(talk: Talk, runs: Path) -> None:
    first = compare(runs, "table1:logoseg-base", "table1:clip-base")
    mend = talk.refused(*first)
    words = ours(mend)
    assert words[:2] == ["run", "table1"]
    talk.succeeds(*words, "--dry-run")
    assert "1 of" in talk.out or "missing" in talk.out
    fill(runs, ["logoseg-base"])
    talk.succeeds(*first, "--seeds", "0")
    (runs / run_of(runs, "clip") / "eval/PAS-20/metrics.json").unlink()
    talk.refused(*compare(runs, run_of(runs, "clip"), "table1:logoseg-base", "--seeds", "0"))
    evaluation = ours(talk.mend[talk.mend.index("repro eval") :], METHOD="clip")
    talk.succeeds(*evaluation, "--benchmarks", "PAS-20", "--device", "cpu")


@pytest.mark.follows("repro.runs.evaluations:find_side#1")
def test_a_flagged_row_is_compared_by_the_name_of_its_run(
    talk: Talk, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.runs import evaluations

    strict = dataclasses.replace(load_profile("smoke"), flag_implausible=True)
    monkeypatch.setattr(evaluations, "load_profile", lambda _: strict)
    wrong = draw_counts(get_benchmark("PAS-20"), IMAGES, 1.0, worse=1.0)
    shutil.rmtree(runs / run_of(runs, "catseg") / "eval")
    store_counts(plan_of(runs), "catseg-base", "PAS-20", wrong)
    mend = talk.refused(*compare(runs, "table1:catseg-base", "table1:clip-base", "--seeds", "0"))
    name = run_of(runs, "catseg")
    assert name in talk.succeeds(*ours(mend))
    talk.succeeds(*compare(runs, name, run_of(runs, "clip")))


@pytest.mark.follows("repro.runs.evaluations:_of_row#1")
def test_a_row_of_another_table_is_listed(talk: Talk, runs: Path) -> None:
    mend = talk.refused(*compare(runs, "table2:disa", "table1:clip-base"))
    assert "table1" in talk.succeeds(*ours(mend.replace(")", "")))
    talk.succeeds(*compare(runs, "table1:disa-base", "table1:clip-base", "--seeds", "0"))


@pytest.mark.follows("repro.runs.evaluations:_of_runs")
def test_runs_of_one_row_are_named_together(talk: Talk, runs: Path) -> None:
    mixed = f"{run_of(runs, 'disa')},{run_of(runs, 'catseg', 1)}"
    mend = talk.refused(*compare(runs, mixed, run_of(runs, "clip")))
    assert ours(mend)[:2] == ["compare", "table1:ROW"]
    talk.succeeds(*compare(runs, run_of(runs, "disa"), run_of(runs, "clip")))
    talk.succeeds(*compare(runs, "table1:disa-base", "table1:catseg-base", "--seeds", "0,1"))


AMBIGUOUS = [
    way("repro.runs.addresses.stored:matching_run", ["compare", "disa", "clip", *FEW]),
    way("repro.runs.addresses.stored:matching_run", ["runs", "why", "disa"]),
    way("repro.runs.addresses.stored:matching_run", ["describe", "catseg-"]),
]


@pytest.mark.parametrize("words", AMBIGUOUS)
def test_the_command_lists_the_runs_that_an_ambiguous_name_begins(talk: Talk, runs: Path, words: list[str]) -> None:
    mend = talk.refused(*words, "--runs", runs)
    name = run_of(runs, next(w for w in words if w.startswith(("disa", "catseg"))).rstrip("-"))
    assert name in talk.succeeds(*ours(mend))
    talk.goes_on(*[name if w.startswith(("disa", "catseg")) else w for w in words], "--runs", runs)


UNKNOWN = [
    way("repro.runs.addresses.stored:find_run", ["runs", "why", "clap"]),
    way("repro.runs.addresses.stored:stored_run#1", ["figures", "--run", "clap", "--out", "o"]),
]


@pytest.mark.parametrize("words", UNKNOWN)
def test_the_command_lists_the_runs_there_are(talk: Talk, runs: Path, words: list[str]) -> None:
    mend = talk.refused(*words, "--runs", runs)
    assert run_of(runs, "clip") in talk.succeeds(*ours(mend))


@pytest.mark.follows("repro.runs.evaluations:matching")
def test_evaluations_under_one_protocol_can_be_compared(talk: Talk, runs: Path) -> None:
    folder = runs / run_of(runs, "disa") / "eval/PAS-20"
    shutil.rmtree(folder)
    fill(runs, ["disa-base"], overlap=0.5)
    call = compare(runs, "table1:disa-base", "table1:clip-base", "--seeds", "0")
    mend = talk.refused(*call)
    talk.succeeds(*ours(mend, TABLE="table1"), *SMOKE, "--runs", runs, "--dry-run")
    shutil.rmtree(folder)
    fill(runs, ["disa-base"])
    talk.succeeds(*call)


@pytest.mark.follows("repro.api.comparison:_common_benchmarks", "repro.api.comparison:_lines")
def test_benchmarks_and_seeds_of_both_sides_are_compared(talk: Talk, runs: Path) -> None:
    rows = "table1:disa-base", "table1:clip-base"
    mend = talk.refused(*compare(runs, *rows, "--seeds", "0", "--benchmark", "PC-59"))
    talk.succeeds(*ours(mend, TABLE="table1", B="PC-59"), *SMOKE, "--runs", runs, "--dry-run")
    fill(runs, ["disa-base", "clip-base"], "PC-59")
    talk.succeeds(*compare(runs, *rows, "--seeds", "0", "--benchmark", "PC-59"))
    shutil.rmtree(runs / run_of(runs, "disa", 1) / "eval")
    shutil.rmtree(runs / run_of(runs, "catseg", 0) / "eval")
    fill(runs, ["disa-base"], seeds=(0, 2))
    fill(runs, ["catseg-base"], seeds=(1, 3))
    call = compare(runs, "table1:disa-base", "table1:catseg-base", "--benchmark", "PAS-20")
    mend = talk.refused(*call, "--seeds", "0,1,2,3")
    assert ours(mend)[2] == "--seeds"
    fill(runs, ["disa-base", "catseg-base"], seeds=(0, 1, 2, 3))
    talk.succeeds(*call, "--seeds", "0,1,2,3")


# -- references --------------------------------------------------------------------------------------------------------
def check(runs: Path, *more: object, file: str = "my reference.json") -> list[object]:
    return ["check", "--runs", runs, "--against", file, *more]


@pytest.mark.follows("repro.runs.gates.reference:Reference.load#1", "repro.runs.gates.reference:Reference.load#2")
def test_a_reference_is_written_by_the_command(talk: Talk, runs: Path) -> None:
    talk.refused(*check(runs))
    words = ours(talk.mend, TABLE="table1")
    talk.succeeds(*words, "--runs", runs, *SMOKE)
    talk.succeeds(*check(runs))
    Path("my reference.json").write_text('{"format": 9}')
    talk.refused(*check(runs))
    assert talk.mend.startswith("move the file away")
    Path("my reference.json").rename("away.json")
    talk.succeeds(*ours(talk.mend, TABLE="table1"), "--runs", runs, *SMOKE)
    talk.succeeds(*check(runs))


@pytest.mark.follows("repro.runs.gates.check:check_reference", "repro.runs.gates.check:update_reference")
def test_a_reference_of_another_profile_is_used_as_the_mends_say(talk: Talk, runs: Path) -> None:
    talk.succeeds(*check(runs, "table1", *SMOKE, "--update"))
    talk.refused(*check(runs, "--profile", "mini"))
    assert talk.mend == "leave --profile out"
    talk.succeeds(*check(runs))
    talk.refused(*check(runs, "table1", "--profile", "mini", "--update"))
    talk.goes_on("check", "--runs", runs, "table1", "--profile", "mini", "--update", *options(talk.mend))


@pytest.mark.follows("repro.runs.gates.reference:updated", "repro.runs.gates.check:Checked.refuse_empty")
def test_cells_that_are_not_there_are_made_by_the_command(talk: Talk, runs: Path) -> None:
    talk.refused(*check(Path("other runs"), "table1", *SMOKE, "--update", file="new.json"))
    talk.succeeds(*ours(talk.mend), "--dry-run")
    assert "other runs" in talk.mend
    talk.succeeds(*check(runs, "table1", *SMOKE, "--update"))
    talk.refused(*check(Path("other runs")))
    assert "other runs" in talk.mend
    talk.succeeds(*ours(talk.mend), "--dry-run")
    shutil.copytree(runs, "other runs", dirs_exist_ok=True)
    talk.succeeds(*check(Path("other runs")))


@pytest.mark.follows("repro.runs.gates.reference:measured_cells")
def test_a_table_with_a_reference_is_listed(talk: Talk, runs: Path) -> None:
    talk.refused(*check(runs, "table2", *SMOKE, "--update"))
    assert "table1" in talk.succeeds(*ours(talk.mend))
    talk.succeeds(*check(runs, "table1", *SMOKE, "--update"))


# -- reports and figures -----------------------------------------------------------------------------------------------
@pytest.mark.follows("repro.reports.tables.evidence:Evidence.baseline#1")
def test_a_report_without_a_cell_is_made_by_the_command(talk: Talk) -> None:
    talk.refused("report", "table1", *SMOKE, "--runs", "my runs", "--baseline", "clip-base")
    talk.succeeds(*ours(talk.mend), "--dry-run")
    assert "my runs" in talk.mend


@pytest.mark.follows("repro.cli.commands.report:report")
def test_a_single_table_takes_the_options_of_one(talk: Talk, runs: Path) -> None:
    talk.refused("report", "all", *SMOKE, "--runs", runs, "--baseline", "clip-base")
    assert "table1" in talk.succeeds(*ours(talk.mend))
    talk.succeeds("report", "table1", *SMOKE, "--runs", runs, "--baseline", "clip-base", "--formats", "csv")


@pytest.mark.follows("repro.cli.commands.report:_requests")
def test_methods_of_all_tables_are_named_as_the_list_does(talk: Talk, runs: Path) -> None:
    talk.refused("report", "all", *SMOKE, "--runs", runs, "--methods", "disaa")
    assert "disa" in talk.succeeds(*ours(talk.mend))
    talk.succeeds(
        "report", "all", *SMOKE, "--runs", runs, "--methods", "disa", "--published", "none", "--formats", "csv"
    )


@pytest.mark.follows("repro.reports.figures.draw:_draw_qualitative", "repro.reports.figures.draw:_shown")
def test_a_qualitative_figure_is_asked_for_as_the_mends_say(talk: Talk, runs: Path) -> None:
    words = ["figures", "qualitative", *SMOKE, "--runs", runs, "--benchmark", "PC-59", "--out", "o"]
    talk.refused(*words, "--run", "table1:clip-base")
    call = [w.replace("ROW", "clip-base", 1).replace("ROW", "disa-base") for w in ours(talk.mend, DIR="o")]
    mend = talk.refused(*call, *SMOKE, "--runs", runs)
    assert "is not evaluated on PC-59" in talk.message
    talk.succeeds(*ours(mend, TABLE="table1", B="PC-59"), *SMOKE, "--runs", runs, "--dry-run")
    fill(runs, ["clip-base", "disa-base"], "PC-59")
    talk.goes_on(*call, *SMOKE, "--runs", runs)


@pytest.mark.follows("repro.measuring.figures:load_trained")
def test_a_figure_of_an_untrained_run_asks_for_the_table(talk: Talk) -> None:
    words = ["figures", "--table", "table1", "--methods", "catseg", *SMOKE, "--runs", "my runs", "--out", "o"]
    mend = talk.refused(*words)
    assert "my runs" in mend
    talk.succeeds(*ours(mend, TABLE="table1"), "--dry-run")


@pytest.mark.follows("repro.measuring.figures:choose_pairs", "repro.measuring.figures:choose_classes")
def test_images_and_classes_of_a_figure_are_named_as_the_set_has_them(talk: Talk, drawn: Path) -> None:
    from repro.datasets.layout import Pair
    from repro.measuring.figures import choose_classes, choose_pairs

    benchmark = get_benchmark("PAS-20")
    pairs = [Pair("2007_1", Path("2007_1.jpg"), Path("2007_1.png"))]
    assert "no ending" in talk.refused_by(lambda: choose_pairs(pairs, ["2007_1.jpg"], 1))
    assert choose_pairs(pairs, [Path("2007_1.jpg").stem], 1) == pairs
    label = np.zeros((2, 2), np.uint8)
    talk.refused_by(lambda: choose_classes(label, benchmark, ["plane"], 1))
    assert "aeroplane" in talk.succeeds(*ours(talk.mend))
    assert choose_classes(label, benchmark, ["aeroplane"], 1) == (0,)


def changed(runs: Path, name: str, **asked: Any) -> None:
    path = runs / name / "provenance.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "asked": {**record["asked"], **asked}}))


@pytest.mark.follows("repro.runs.addresses.stored:stored_run#3", "repro.runs.addresses.stored:stored_run#4")
def test_a_run_of_something_that_is_not_here_is_used_once_it_is(talk: Talk, runs: Path) -> None:
    name = run_of(runs, "clip")
    words = ["runs", "why", name, "--runs", runs]
    changed(runs, name, method="elsewhere")
    assert talk.refused(*words) == "install the package it comes with"
    changed(runs, name, method="clip", profile="own")
    mend = talk.refused(*words)
    profile = Path("own.py").resolve()
    profile.write_text(f"_base_ = {str(profile_file('smoke'))!r}\n")
    talk.goes_on(
        *ours(mend, TABLE="table1", **{"FILE.py": profile}), "--runs", runs, "--out", "o", "--methods", "catseg"
    )
    changed(runs, name, profile="smoke")
    talk.goes_on(*words)


def profile_file(name: str) -> Path:
    from repro.paths import CONFIGS

    return CONFIGS.resolve() / "profiles" / f"{name}.py"


@pytest.mark.follows("repro.runs.addresses.stored:_asked_of_past")
def test_a_run_of_an_older_version_is_described_by_the_command(talk: Talk, runs: Path) -> None:
    name = run_of(runs, "clip")
    path = runs / name / "provenance.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "asked"}))
    mend = talk.refused("runs", "why", name, "--runs", runs)
    assert name in talk.succeeds(*ours(mend))
