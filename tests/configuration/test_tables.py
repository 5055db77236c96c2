"""Tables as files: what a row is in a profile, which runs tables share, what the paper prints beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from repro.configuration.profiles import load_profile
from repro.configuration.published import find_published
from repro.configuration.tables import Row, _check_ids, load_table, table_names
from repro.errors import UsageError
from repro.reports.tables.frame import notes
from repro.runs.plan import Plan, make_plan

PROFILES = ("smoke", "mini", "paper")


def plan_of(table: str, profile: str, tmp_path: Path) -> Plan:
    return make_plan(load_table(table), load_profile(profile), tmp_path)


def run_of(plan: Plan, row: str) -> str:
    return next(r.id for r in plan.runs if r.row.id == row)


def test_a_row_is_itself_in_a_profile_it_says_nothing_of():
    row = Row("r", "title", "m", "base", {"k": 9}, by_profile={"mini": {"options": {"k": 2}}})
    assert row.under("paper") == row


def test_what_a_row_says_of_a_profile_goes_over_its_options_and_title():
    row = Row("r", "title", "m", "base", {"k": 9, "a": 1}, by_profile={"mini": {"title": "t2", "options": {"k": 2}}})
    here = row.under("mini")
    assert (here.title, dict(here.options), here.id) == ("t2", {"k": 2, "a": 1}, "r")


def test_a_row_that_is_something_else_in_a_profile_has_no_published_numbers_there():
    row = next(r for r in load_table("densevlm-table1").rows if r.id == "clipself")
    assert row.under("paper").published["method"] == row.under("paper").title == "CLIPSelf"
    assert (row.under("mini").title, row.under("mini").published) == ("a weaker powerful model", {})


def test_two_rows_of_one_id_are_refused():
    row = Row("twin", "title", "m", "base")
    with pytest.raises(UsageError, match="several rows of one id"):
        _check_ids(Path("t.py"), (row, row))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("table", table_names())
def test_every_table_can_be_planned_in_every_profile(table: str, profile: str, tmp_path: Path):
    plan = plan_of(table, profile, tmp_path)
    assert len({r.row.id for r in plan.runs}) == len(plan.runs) > 0
    assert all(r.options is not None for r in plan.runs)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_full_method_is_one_run_in_tables_1_3_and_4(profile: str, tmp_path: Path):
    shared = {
        run_of(plan_of("table1", profile, tmp_path), "disa-base"),
        run_of(plan_of("table3", profile, tmp_path), "disa-VIII"),
        run_of(plan_of("table4", profile, tmp_path), "disa-k96"),
        run_of(plan_of("reviewers", profile, tmp_path), "disa-printed"),
    }
    assert len(shared) == 1


@pytest.mark.parametrize("table", ["table3", "table4", "reviewers_saliency"])
def test_all_rows_of_an_ablation_are_different_runs(table: str, tmp_path: Path):
    plan = plan_of(table, "mini", tmp_path)
    assert len({r.id for r in plan.runs}) == len(plan.runs)


def test_the_miniature_keeps_the_share_of_tokens_and_prints_both_numbers(tmp_path: Path):
    runs = plan_of("table4", "mini", tmp_path).runs
    tokens = [run.options.tokens(64) for run in runs]
    assert tokens == [2, 5, 11]
    for run, count, printed in zip(runs, tokens, (16, 48, 96), strict=True):
        assert f"k = {count} of 64" in run.row.title
        assert f"paper: {printed} of 576" in run.row.title


def test_rows_of_the_reviewers_differ_from_the_printed_one_in_a_single_option(tmp_path: Path):
    for profile in PROFILES:
        runs = {r.row.id: r for r in plan_of("reviewers", profile, tmp_path).runs}
        for method in ("disa", "catseg"):
            printed = dataclasses.asdict(runs[f"{method}-printed"].options)
            for row, run in runs.items():
                if run.row.method == method and row != f"{method}-printed":
                    changed = {n for n, v in dataclasses.asdict(run.options).items() if v != printed[n]}
                    assert len(changed) == 1 or (row, changed) == ("disa-k_policy=ratio", set()), (profile, row)


def test_the_miniature_keeps_the_share_of_the_reviewers_k_too(tmp_path: Path):
    runs = {r.row.id: r for r in plan_of("reviewers", "mini", tmp_path).runs}
    for k, count in ((192, 21), (288, 32)):
        assert runs[f"disa-k={k}"].options.tokens(64) == count
        assert runs[f"disa-k={k}"].row.title == f"k = {count} of 64 ({k} of 576)"


@pytest.mark.parametrize("table", ["table3", "table4"])
def test_every_printed_cell_has_its_published_value(table: str):
    loaded = load_table(table)
    assert all(find_published(row.published, b) for row in loaded.rows for b in loaded.benchmarks)


def test_table_3_prints_the_papers_rows_in_the_papers_order():
    first = [find_published(row.published, "A-847").value for row in load_table("table3").rows]  # type: ignore[union-attr]
    assert first == [11.4, 12.1, 11.5, 11.7, 12.4, 11.8, 12.5, 12.6]


def test_table_2_sets_published_values_beside_the_large_tower_only():
    for row in load_table("table2").rows:
        assert bool(row.published) == (row.tower == "large")


@pytest.mark.parametrize(("typed", "meant"), [("tabel3", "table3"), ("reviewer", "reviewers"), ("Table2", "table2")])
def test_an_unknown_table_is_answered_with_the_nearest(typed: str, meant: str):
    with pytest.raises(UsageError, match=f"did you mean .*{meant}"):
        load_table(typed)


def test_what_is_said_of_a_row_and_its_source_stand_under_tables_that_show_it(tmp_path: Path) -> None:
    def said(*methods: str) -> str:
        plan = make_plan(load_table("table1"), load_profile("smoke"), tmp_path, methods=methods)
        return "\n".join(notes(plan, []))

    assert "SynSeg-style MCCL sees" in said("synseg")
    assert "SynSeg-style MCCL sees" not in said("clip", "disa")
    assert "LoGoSeg (AAAI 2026)" in said("logoseg")
    assert "LoGoSeg (AAAI 2026)" not in said("disa")
    assert "Published" not in said("clip")


def test_a_method_without_a_row_gets_one_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    head = "name = 'own'\ntitle = 'Own'\ncaption = 'Own'\nmetric = 'miou_gt'\n"
    row = "rows = [dict(id='clip-base', title='CLIP', method='clip', tower='base')]\n"
    path.write_text(f"{head}any_method = True\n{row}")
    plan = make_plan(load_table(str(path)), load_profile("smoke"), tmp_path, methods=["disa", "clip"])
    assert [(run.row.id, run.row.title, dict(run.row.options)) for run in plan.runs] == [
        ("clip-base", "CLIP", {}),
        ("disa-base", "DiSa", {}),
    ]
    path.write_text(head + row)
    load_table.cache_clear()
    with pytest.raises(UsageError, match="no row for this selection"):
        make_plan(load_table(str(path)), load_profile("smoke"), tmp_path, methods=["disa"])
