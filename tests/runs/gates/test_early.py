"""The early look at a training: what it records, what it says, and that it changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.runs.execute import ensure_trained
from repro.runs.gates import early
from repro.runs.gates.early import early_look, read_early
from repro.runs.gates.plausible import implausible
from repro.runs.plan import Plan, make_plan

pytest.importorskip("mmseg")


def plan_in(folder: Path, *, look: bool, benchmarks: list[str] | None = None) -> Plan:
    profile = dataclasses.replace(load_profile("smoke"), flag_implausible=look)
    return make_plan(load_table("table1"), profile, folder, methods=["catseg"], benchmarks=benchmarks)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Plan, dict[str, torch.Tensor], list[str]]]:
    """CAT-Seg with random towers, trained with and without the look."""
    made = {}
    for look in (True, False):
        plan = plan_in(tmp_path_factory.mktemp("runs"), look=look)
        said: list[str] = []
        method = ensure_trained(plan, plan.runs[0], "cpu", said.append)
        made[look] = plan, method.state_dict(), said
    return made


def test_the_weights_are_those_of_a_training_nobody_looked_at(trained: Any):
    looked, plain = trained[True][1], trained[False][1]
    assert looked.keys() == plain.keys()
    assert all(torch.equal(looked[name], plain[name]) for name in plain)


def test_it_records_what_it_saw_and_leaves_nothing_else(trained: Any, capsys: pytest.CaptureFixture[str]):
    plan, _, said = trained[True]
    folder = plan.assets.store.run(plan.runs[0].id)
    found = read_early(folder)
    assert found is not None
    assert (found["iteration"], found["benchmark"]) == (1, "PAS-20")
    assert 0 <= found["miou_gt"] <= 1
    assert not (folder / "early").exists()
    assert read_early(trained[False][0].assets.store.run(trained[False][0].runs[0].id)) is None
    assert any("The training continues" in line for line in said) == (found["flag"] is not None)
    capsys.readouterr()
    assert main(["describe", plan.runs[0].id, "--runs", str(plan.assets.store.root)]) == 0
    assert "early look" in capsys.readouterr().out


def test_an_implausible_number_is_said_while_the_training_goes_on(trained: Any, monkeypatch: pytest.MonkeyPatch):
    plan = plan_in(trained[True][0].assets.store.root, look=True, benchmarks=["PC-59"])
    said: list[str] = []
    monkeypatch.setattr(early, "implausible", lambda record: f"looked at {record['num_images']}")
    monkeypatch.setattr(early, "IMAGES", 1)
    run = plan.runs[0]
    method = ensure_trained(plan, run, "cpu", said.append)  # finished: nothing is looked at
    assert said == []
    look, at = early_look(plan, run, "cpu", said.append)
    assert (look(method, at + 1), said) == ({}, [])
    assert look(method, at) == {}
    assert "1 images of PC-59: looked at 1. The training continues" in said[0]


def test_who_keeps_implausible_numbers_is_not_bothered(tmp_path: Path):
    plan = plan_in(tmp_path, look=False)
    assert early_look(plan, plan.runs[0], "cpu", print)[1] == 0
    assert implausible({}) is None
