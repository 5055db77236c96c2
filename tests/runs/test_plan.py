"""Runs and cells have addresses that change with what decides their numbers, and with nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from repro.configuration.profiles import Profile, load_profile
from repro.configuration.tables import load_table
from repro.errors import UsageError
from repro.runs.plan import Cell, Plan, make_plan


def plan_of(tmp_path: Path, profile: Profile | None = None, **changes: object) -> Plan:
    return make_plan(load_table("table1"), profile or load_profile("smoke"), tmp_path, **changes)  # type: ignore[arg-type]


def catseg_id(plan: Plan) -> str:
    return next(r.id for r in plan.runs if r.entry.name == "catseg")


def test_the_same_plan_has_the_same_ids_wherever_it_lies(tmp_path: Path):
    assert catseg_id(plan_of(tmp_path / "a")) == catseg_id(plan_of(tmp_path / "b"))


@pytest.mark.parametrize("change", [{"iterations": 5}, {"lr": 1e-5}, {"crop": 40}])
def test_a_changed_schedule_is_another_training_and_the_same_zero_shot(tmp_path: Path, change: dict[str, float]):
    before, after = plan_of(tmp_path), plan_of(tmp_path, overrides=change)
    assert catseg_id(before) != catseg_id(after)
    assert [r.id for r in before.runs if not r.train] == [r.id for r in after.runs if not r.train]


def test_a_changed_seed_of_the_data_is_another_run(tmp_path: Path):
    profile = load_profile("smoke")
    other = dataclasses.replace(profile, data={**profile.data, "seed": 1})
    assert catseg_id(plan_of(tmp_path)) != catseg_id(plan_of(tmp_path, other))


def test_a_changed_protocol_is_another_cell_of_the_same_run(tmp_path: Path):
    profile = load_profile("smoke")
    other = dataclasses.replace(profile, protocol=dataclasses.replace(profile.protocol, overlap=0.5))
    a, b = plan_of(tmp_path), plan_of(tmp_path, other)
    assert catseg_id(a) == catseg_id(b)
    assert a.cells[0].key != b.cells[0].key


def test_an_option_given_as_list_or_tuple_is_the_same_run(tmp_path: Path):
    plan = plan_of(tmp_path)
    run = next(r for r in plan.runs if r.entry.name == "catseg")
    name = next(f.name for f in dataclasses.fields(run.options) if isinstance(getattr(run.options, f.name), tuple))
    value = getattr(run.options, name)
    rows = [dataclasses.replace(run.row, options={name: kind(value)}) for kind in (list, tuple)]
    assert len({dataclasses.replace(run, row=row).id for row in rows}) == 1


def test_zero_shot_runs_are_not_repeated_for_every_seed(tmp_path: Path):
    plan = plan_of(tmp_path, seeds=[0, 1, 2])
    assert [r.entry.name for r in plan.runs].count("clip") == 1
    assert [r.row.id for r in plan.runs].count("catseg-base") == 3


def test_a_method_on_another_kind_of_tower_is_chosen_by_a_name_of_its_own(tmp_path: Path):
    def ids(*methods: str) -> list[str]:
        return [r.row.id for r in plan_of(tmp_path, methods=methods).runs]

    assert ids("clip", "catseg") == ["clip-base", "catseg-base"]
    assert ids("catseg+densevlm") == ["catseg-densevlm"]
    assert set(ids("disa", "disa+densevlm")) == {"disa-base", "disa-densevlm"}
    with pytest.raises(UsageError, match="catseg"):
        ids("catsegg")


def test_rows_on_towers_the_profile_lacks_are_left_out(tmp_path: Path):
    assert {r.row.tower for r in plan_of(tmp_path).runs} == {"base", "densevlm-clip"}
    paper = plan_of(tmp_path, load_profile("paper"), data_root=tmp_path)
    assert {r.row.tower for r in paper.runs} >= {"base", "large"}


def test_an_evaluation_under_another_key_never_takes_the_folder_of_the_first(tmp_path: Path):
    plan = plan_of(tmp_path)
    cell = Cell(plan.runs[0], plan.benchmarks[0])
    store = plan.assets.store

    def claim(key: str) -> Path:
        return store.claim(store.evaluation(cell.run.id, "A-847", key), key, {})

    first, second = claim("key1"), claim("key2")
    assert first != second
    assert claim("key1") == first
    assert claim("key2") == second
