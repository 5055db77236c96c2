"""``repro tune`` as a user gives it: in this process and side by side, its file, and that no benchmark is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_trials import FakeTrials
from talk import Talk

from repro.api.trials import open_searches
from repro.api.tuning import job_words
from repro.cli import launching
from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import BENCHMARKS
from repro.launch.job import Job, Launch, OnEnd, Outcome
from repro.reports.tuning import FILE, read_tuning
from repro.requests import TuneRequest
from repro.runs.assets import Assets
from repro.runs.plan import train_set

MEASURED = ("trial", "rung", "iterations", "lr", "weight_decay", "loss_weights", "miou_gt", "pacc", "status", "chosen")


def words(folder: Path, *more: str, methods: Sequence[str] = ("synseg", "disa"), trials: int = 3) -> list[str]:
    """A search on the smallest profile, in a store and with results below ``folder``."""
    kept = ["--profile", "smoke", "--runs", str(folder / "runs"), "--results", str(folder / "results")]
    return ["tune", *methods, "--trials", str(trials), "--scenes", "3", "--device", "cpu", *kept, *more]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTrials:
    return FakeTrials(tmp_path / "held_out", monkeypatch)


@pytest.mark.slow
def test_no_benchmark_is_read_and_side_by_side_the_same_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Assets(load_profile("smoke"), tmp_path / "one" / "runs", None).ensure_data(lambda _: None)
    own = train_set(load_profile("smoke")).folder
    others = {b.folder for b in BENCHMARKS.values()} - {own}
    assert others
    for name in others:
        assert (data / name).is_dir()
        shutil.rmtree(data / name)
    search: dict[str, Any] = {"methods": ["synseg"], "trials": 2}

    assert main(words(tmp_path / "one", "--json", **search)) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["trial"], r["iterations"], r["status"]) for r in rows] == [(0, 4, "done"), (1, 4, "done")]
    monkeypatch.setattr("repro.training.train.run", lambda *a, **k: pytest.fail("trained again"))
    assert main(words(tmp_path / "one", **search)) == 0
    one = read_tuning(tmp_path / "one" / "results" / FILE)

    shutil.rmtree(tmp_path / "one" / "runs" / "cache" / "held_out")
    assert main(words(tmp_path / "one", "--max-parallel", "2", **search)) == 0  # in other processes
    said = capsys.readouterr()
    assert "2 jobs" in said.err
    assert "| synseg |" in said.out
    two = read_tuning(tmp_path / "one" / "results" / FILE)
    assert [[row[k] for k in MEASURED] for row in one] == [[row[k] for k in MEASURED] for row in two]


def test_the_words_of_a_job_do_the_trial_they_name(
    fake: FakeTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = TuneRequest(
        profile="smoke", methods=["disa"], trials=5, scenes=3, seed=4, runs=tmp_path, device="cpu",
        training={"iterations": 8, "amp": "bf16"}, zero_shot_bar=0.5,
    )  # fmt: skip
    (search,) = open_searches(asked)
    trial, rung = search.trials[3], search.rungs[1]
    assert trial.record(rung) is None
    assert main([*job_words(trial, rung)]) == 0
    assert json.loads(capsys.readouterr().out) == trial.record(rung)
    ((_, settings, options),) = fake.asked
    assert (settings.lr, settings.iterations, settings.amp) == (trial.values["lr"], 4, "bf16")
    assert options.itm_weight == trial.weights["itm_weight"]


def test_the_choice_is_printed_with_the_lines_to_paste(
    fake: FakeTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.reached = lambda method, train: 1 - train.lr
    assert main(words(tmp_path)) == 0
    out = capsys.readouterr().out
    row = next(r for r in read_tuning(tmp_path / "results" / FILE) if r["chosen"] and r["method"] == "disa")
    assert f"disa=dict(lr={row['lr']}" in out
    assert "present (mIoU (%))" in out
    assert "3 held-out training scenes" in out


def test_a_usage_error_of_a_job_is_one_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(jobs: Sequence[Job], places: object, folder: Path, on_start: object, on_end: OnEnd) -> None:
        on_end(jobs[0], Outcome(2, "", "nothing is left to train on\n  found:    500"))

    monkeypatch.setattr("repro.api.tuning.local.run", refused)
    assert main(words(tmp_path, "--max-parallel", "2")) == 2
    assert "error: nothing is left to train on\n  found:    500" in capsys.readouterr().err
    assert not (tmp_path / "results" / FILE).exists()


def test_a_dry_run_trains_and_writes_nothing(
    fake: FakeTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, "--dry-run")) == 0
    assert capsys.readouterr().out.count("  rung 1: 3 trials of 1 iterations") == 2
    assert fake.asked == []
    assert not list(tmp_path.iterdir())


def test_a_search_without_an_end_is_exit_code_1(
    fake: FakeTrials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.breaks = lambda method, train: method == "disa"
    assert main(words(tmp_path)) == 1
    assert "failed: disa, trial 0: the disk is slow," in capsys.readouterr().err
    assert {r["method"] for r in read_tuning(tmp_path / "results" / FILE) if r["chosen"]} == {"synseg"}


@pytest.mark.parametrize(
    ("methods", "more", "hint"),
    [
        (["disa", "catsegg"], [], "did you mean catseg"),
        (["clip"], [], "not trained"),
        (["disa"], ["--only", "9@4"], "one trial of one method"),
        (["disa"], ["--dry-run", "--json"], "prints text"),
    ],
)
def test_what_cannot_be_tuned_is_a_usage_error(
    methods: list[str], more: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, *more, methods=methods)) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.follows("repro.api.trials:methods_of")
def test_an_unknown_name_is_found_in_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk(capsys)
    assert talk.refused(*words(tmp_path, methods=["tabel1"])) == "repro list"
    assert "table1" in talk.succeeds("list")


@pytest.mark.parametrize(("more", "count"), [([], 4), (["--max-parallel", "3"], 3), (["--max-parallel", "1"], 0)])
def test_trials_are_one_per_core_where_a_profile_says_so(
    more: list[str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Launch | None] = []
    monkeypatch.setattr("repro.cli.commands.tune.tune", lambda request, how, log: seen.append(how) or _Nothing())
    monkeypatch.setattr(launching, "cpu_count", lambda: 4)
    monkeypatch.setattr(launching, "free_memory_gib", lambda: 12.5)
    monkeypatch.setattr(launching.ranks, "started", lambda: 1)
    own = ["--profile", "mini", "--runs", str(tmp_path), "--results", str(tmp_path / "results"), "--device", "cpu"]
    assert main(["tune", "disa", *own, "--json", *more]) == 0
    assert [how.max_parallel if how else 0 for how in seen] == [count]


class _Nothing:
    """What was found where nothing was searched."""

    exit_code = 0

    def write(self, folder: Path) -> Path:
        return folder

    def to_json(self) -> list[str]:
        return []
