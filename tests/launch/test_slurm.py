"""Jobs through submitit: its local executor always, a real Slurm of one node where its programs are installed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_task import FakeTask
from one_node_slurm import missing_programs, one_node_slurm

from repro.cli.main import main
from repro.launch import slurm
from repro.launch.job import Job, Launch
from repro.ranks import started

pytest.importorskip("submitit")
SUPPORT = Path(__file__).parents[1] / "support"
HERE = Launch("slurm", cluster="local", cpu_only=True)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    monkeypatch.setattr(slurm, "Task", FakeTask)
    return tmp_path


def job(folder: Path, name: str, what: str = "work") -> Job:
    return Job(name, (what, str(folder), name))


def run(jobs, launch, folder):
    ended = {}
    slurm.run(jobs, launch, folder / "logs", lambda *_: None, lambda j, o: ended.update({j.name: o}))
    return ended


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_failures_have_their_reasons_and_the_others_go_on(fake):
    names = ("fail", "crash", "die", "work")
    ended = run([job(fake, what, what) for what in names], HERE, fake)
    assert ended["work"].document() == [0]
    assert ended["fail"].reason == "it cannot be\n  fix:      do it otherwise"
    assert "division by zero" in ended["crash"].reason
    assert "left no result" in ended["die"].reason
    assert [ended[n].code != 0 for n in names] == [True, True, True, False]


def test_the_processes_of_a_job_are_one_job_and_no_more_jobs_run_than_allowed(fake):
    one_of_two = Launch("slurm", cluster="local", cpu_only=True, processes=2, max_parallel=1)
    ended = run([job(fake, "a"), job(fake, "b")], one_of_two, fake)
    assert ended["a"].document() == ended["b"].document() == [0]
    assert float((fake / "a-1.end").read_text()) < float((fake / "b-0.begin").read_text())


def test_an_interruption_leaves_no_job_behind(fake):
    pids = []

    def interrupt(*_):
        if not pids:
            give_up = time.monotonic() + 300
            while not (fake / "a-0.begin").exists() and time.monotonic() < give_up:
                time.sleep(0.05)
            pids.append(int((fake / "a-0.pid").read_text()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slurm.run([job(fake, "a", "sleep"), job(fake, "b")], HERE, fake / "logs", interrupt, lambda *_: None)
    give_up = time.monotonic() + 300
    while alive(pids[0]) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not alive(pids[0])
    assert not (fake / "b-0.pid").exists()


@pytest.mark.slow
def test_a_command_says_in_a_job_what_it_says_in_a_terminal(tmp_path, capsys):
    assert main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ended = run([Job("list", ("list", "--json")), Job("typo", ("describe", "tabel1"))], HERE, tmp_path)
    assert ended["list"].document() == told
    assert ended["typo"].code == 2
    assert "did you mean" in ended["typo"].reason
    assert started() == 1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real Slurm in the environment of this process."""
    if missing_programs():
        pytest.skip(f"no {', '.join(missing_programs())}: apt-get install slurmctld slurmd slurm-client munge")
    with one_node_slurm(tmp_path_factory.mktemp("s")) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setitem(slurm._POLL_S, "slurm", 0.5)
        patch.setitem(slurm._MISSING_S, "slurm", 3.0)
        yield


REAL = Launch("slurm", partition="p", cpu_only=True, minutes=10, slurm={"mem": "100"})


@pytest.mark.slow
def test_on_slurm_jobs_run_fail_and_are_killed_with_their_reasons(cluster, fake):
    jobs = [job(fake, what, what) for what in ("fail", "crash", "die", "work")]
    ended = run([*jobs, job(fake, "two")], REAL, fake)
    assert ended["work"].document() == ended["two"].document() == [0]
    assert ended["fail"].reason == "it cannot be\n  fix:      do it otherwise"
    assert "division by zero" in ended["crash"].reason
    assert "Slurm says FAILED" in ended["die"].reason


@pytest.mark.slow
def test_on_slurm_a_cancelled_job_is_a_failure_and_an_interruption_cancels(cluster, fake):
    def cancel(_, place):
        subprocess.run(["scancel", place.split()[1]], check=True)

    ended = {}
    slurm.run([job(fake, "a", "sleep")], REAL, fake / "logs", cancel, lambda j, o: ended.update({j.name: o}))
    assert "CANCELLED" in ended["a"].reason

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slurm.run([job(fake, "b", "sleep")], REAL, fake / "logs", interrupt, lambda *_: None)
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        asked = subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=True)
        if not asked.stdout.strip():
            return
        time.sleep(0.5)
    pytest.fail(f"still in the queue: {asked.stdout}")


@pytest.mark.slow
def test_on_slurm_an_unknown_partition_is_one_clear_error(cluster, fake):
    from repro.errors import UsageError

    with pytest.raises(UsageError, match="sbatch refused"):
        run([job(fake, "a")], Launch("slurm", partition="nowhere", cpu_only=True), fake)


@pytest.mark.long
def test_on_slurm_a_table_is_made_by_two_processes_a_run_and_a_second_call_does_nothing(cluster, tmp_path, capsys):
    words = ["run", "table1", "--profile", "smoke", "--methods", "clip,catseg", "--benchmarks", "PAS-20,PC-59"]
    words += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--device", "cpu", "--json"]
    elsewhere = ["--launcher", "slurm", "--partition", "p", "--gpus", "2", "--max-parallel", "2", "--time", "30"]
    assert main([*words, *elsewhere]) == 0
    printed = capsys.readouterr()
    cells = json.loads(printed.out)
    assert {c["status"] for c in cells} == {"done"}
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").glob("catseg-*/provenance.json")]
    assert {r["placement"]["processes"] for r in records} == {2}
    assert (tmp_path / "results" / "table1.csv").is_file()
    assert main([*words, *elsewhere]) == 0
    assert "started" not in capsys.readouterr().err


@pytest.mark.long
def test_on_slurm_a_preempted_training_writes_its_checkpoint_and_goes_on(cluster, tmp_path, capsys):
    words = ["train", "catseg", "--profile", "smoke", "--iterations", "40", "--runs", str(tmp_path / "runs")]
    preempted = []

    def preempt():
        logs: list[Path] = []
        give_up = time.monotonic() + 300
        while not logs and time.monotonic() < give_up:
            logs = list((tmp_path / "runs").glob("catseg-*/losses.jsonl"))
            time.sleep(0.2)
        asked = subprocess.run(["squeue", "-h", "-o", "%i"], capture_output=True, text=True, check=True)
        preempted.append(asked.stdout.split()[0])
        subprocess.run(["scancel", "--signal=USR1", preempted[0]], check=True)

    thread = threading.Thread(target=preempt)
    thread.start()
    assert main([*words, "--device", "cpu", "--launcher", "slurm", "--partition", "p", "--gpus", "2"]) == 0
    thread.join()
    folder = next((tmp_path / "runs").glob("catseg-*"))
    assert capsys.readouterr().out.strip() == str(folder / "weights.pth")
    log = (folder / "train.log").read_text()
    assert "ended by SIGUSR1" in log
    assert "resumed after iteration" in log
    asked = subprocess.run(["scontrol", "-o", "show", "job", preempted[0]], capture_output=True, text=True, check=True)
    assert "Restarts=1" in asked.stdout
