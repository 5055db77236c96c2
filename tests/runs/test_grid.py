"""A table worked off by jobs: one a run, of what is missing; a failure is a row with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_runs import write_made

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.errors import UsageError
from repro.files import write_json
from repro.launch import local
from repro.launch.job import Job, Launch, Outcome
from repro.runs import grid, status
from repro.runs.addresses.judging import evaluation_subject
from repro.runs.plan import Cell, Plan, make_plan
from repro.runs.status import DONE, FAILED

HERE = Launch("local", max_parallel=2)


def plan_of(folder: Path, **changes: object) -> Plan:
    chosen = {"methods": ["clip", "catseg"], "benchmarks": ["PAS-20", "PC-59"], **changes}
    return make_plan(load_table("table1"), load_profile("smoke"), folder, **chosen)  # type: ignore[arg-type]


def finish(plan: Plan, cell: Cell) -> None:
    """Leave what a finished evaluation leaves, as far as the state of a cell asks."""
    folder = plan.assets.store.claim(cell.place.path, cell.key, {})
    write_made(cell.run, folder, evaluation_subject(cell.run))
    write_json(folder / "metrics.json", {"miou_gt": 0.5, "num_images": 2})


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch):
    """Replace the runner by ``work(job) -> Outcome`` and collect the jobs it got."""
    jobs: list[Job] = []

    def with_work(work):
        def run(given, places, folder, on_start, on_end):
            for job in given:
                jobs.append(job)
                on_start(job, "here")
                on_end(job, work(job))

        monkeypatch.setattr(local, "run", run)
        return jobs

    return with_work


def test_there_is_one_job_a_run_with_missing_cells_and_it_names_its_run(tmp_path, launched):
    plan = plan_of(tmp_path)
    for benchmark in plan.benchmarks:
        finish(plan, Cell(plan.runs[0], benchmark))

    def work(job):
        for benchmark in plan.benchmarks:
            finish(plan, Cell(plan.runs[1], benchmark))
        return Outcome(0, "[]")

    jobs = launched(work)
    states = grid.launch(plan, ("run", "table1"), HERE, lambda _: None)
    assert [j.words for j in jobs] == [("run", "table1", "--only", plan.runs[1].id, "--json")]
    assert [s.status for s in states] == [DONE] * 4
    assert [s.cell.run.id for s in states] == [c.run.id for c in plan.cells]


def test_a_failure_is_a_row_with_its_reason_and_only_it_is_done_again(tmp_path, launched):
    plan = plan_of(tmp_path)

    def work(job):
        run = next(r for r in plan.runs if r.id == job.name)
        finish(plan, Cell(run, plan.benchmarks[0]))
        if run is plan.runs[0]:  # one benchmark failed, as the command reports it
            cells = [{"benchmark": b.id, "error": "its labels are torn" if b.id == "PC-59" else None}
                     for b in plan.benchmarks]  # fmt: skip
            return Outcome(1, json.dumps(cells), "ended with exit code 1")
        return Outcome(-9, "", "ended by SIGKILL; out of memory?")

    jobs = launched(work)
    states = {(s.cell.run.id, s.cell.benchmark.id): s for s in grid.launch(plan, (), HERE, lambda _: None)}
    first, second = (r.id for r in plan.runs)
    assert states[first, "PAS-20"].status == states[second, "PAS-20"].status == DONE
    assert states[first, "PC-59"].status == states[second, "PC-59"].status == FAILED
    assert states[first, "PC-59"].error == "its labels are torn"
    assert "SIGKILL" in str(states[second, "PC-59"].error)
    finish(plan, Cell(plan.runs[0], plan.benchmarks[1]))
    jobs.clear()
    grid.launch(plan, (), HERE, lambda _: None)
    assert [j.name for j in jobs] == [second]


def test_the_longest_run_starts_first_and_one_of_unknown_length_before_it(tmp_path, launched, monkeypatch):
    plan = plan_of(tmp_path)
    one, other = plan.runs
    jobs = launched(lambda job: Outcome(0, "[]"))
    for seconds, order in (
        ({one.id: 2.0, other.id: 3.0}, [other, one]),
        ({one.id: 3.0, other.id: 2.0}, [one, other]),
        ({one.id: 9.0, other.id: None}, [other, one]),
    ):
        jobs.clear()
        monkeypatch.setattr(grid, "train_seconds", lambda run: 0.5)
        monkeypatch.setattr(status, "evaluation_seconds", lambda run, *_, seconds=seconds: seconds[run.id])
        grid.launch(plan, (), HERE, lambda _: None)
        assert [job.name for job in jobs] == [run.id for run in order]


def test_a_job_that_ends_well_without_its_cells_is_a_failure_all_the_same(tmp_path, launched):
    launched(lambda job: Outcome(0, "[]"))
    states = grid.launch(plan_of(tmp_path), (), HERE, lambda _: None)
    assert {(s.status, s.error) for s in states} == {(FAILED, "its job ended without an error message")}


def test_a_run_is_named_by_its_id_or_a_unique_beginning(tmp_path):
    plan = plan_of(tmp_path)
    assert grid.only(plan, plan.runs[1].id) == (plan.runs[1],)
    assert grid.only(plan, "clip-") == (plan.runs[0],)
    with pytest.raises(UsageError, match="no run"):
        grid.only(plan, "nothing")
    with pytest.raises(UsageError, match="2 runs"):
        grid.only(plan, "c")


def test_rows_of_equal_options_share_a_job_and_keep_their_own_cells(tmp_path, launched, capsys):
    plan = make_plan(load_table("logoseg-table3"), load_profile("smoke"), tmp_path / "runs", benchmarks=["PAS-20"])
    rows = [run.row.id for run in plan.runs]
    shared = [run for run in plan.runs if run.row.id in ("lq-gc-da", "depth-2")]
    assert len({run.id for run in shared}) == 1
    assert grid.only(plan, shared[0].id) == (shared[0],)

    def work(job):
        finish(plan, Cell(grid.only(plan, job.name)[0], plan.benchmarks[0]))
        return Outcome(0, "[]")

    jobs = launched(work)
    states = grid.launch(plan, (), HERE, lambda _: None)
    assert len(jobs) == len(rows) - 1
    assert [s.cell.run.row.id for s in states] == rows
    assert {s.status for s in states} == {DONE}
    words = ["run", "logoseg-table3", "--profile", "smoke", "--runs", str(tmp_path / "runs"), "--benchmarks", "PAS-20"]
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert [said.count(f"\n  {run.row.title}, ") for run in shared] == [1, 1]


def test_the_command_of_a_job_is_the_users_own_without_what_launches(tmp_path, launched, capsys):
    jobs = launched(lambda job: Outcome(1, "", "no"))
    words = ["run", "table1", "--launcher", "local", "--profile", "smoke", "--gpus", "0,1", "--methods", "clip",
             "--benchmarks=PAS-20", "--accumulate", "2", "--max-parallel=1"]  # fmt: skip
    store = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert main([*words, *store, "--json"]) == 1
    (cell,) = json.loads(capsys.readouterr().out)
    assert (cell["status"], cell["error"]) == ("failed", "no")
    kept = ("run", "table1", "--profile", "smoke", "--methods", "clip", "--benchmarks=PAS-20", "--accumulate", "2")
    assert jobs[0].words == (*kept, *store, "--json", "--only", cell["run"], "--json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpus", "2"], "--gpus has no use here"),
        (["--launcher", "local", "--partition", "p"], "--partition has no use here"),
        (["--launcher", "torchrun", "--gpus", "0,1"], "takes a number of GPUs"),
        (["--launcher", "torchrun", "--nodes", "2"], "where to meet"),
        (["--launcher", "local", "--gpus", "one"], "takes numbers"),
        (["--launcher", "slurm", "--slurm", "account"], "KEY=VALUE"),
        (["--accumulate", "0"], "at least one part"),
        (["--max-parallel", "-1"], "--max-parallel 1 or more"),
        (["--only", "nothing"], "has no run nothing"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_error(tmp_path, capsys, words, message):
    assert main(["run", "table1", "--profile", "smoke", "--runs", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--launcher", "local"], ["--max-parallel", "2"]])
def test_a_table_of_costs_is_made_in_one_process(tmp_path, capsys, words):
    assert main(["run", "table2", "--profile", "smoke", "--runs", str(tmp_path), *words]) == 2
    assert "is made in one process" in capsys.readouterr().err
