"""Jobs side by side: as many as there are places, each with its device, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from repro.launch import child, local
from repro.launch.job import Job, Launch

# Stands for the command line: quick to start, and does what its first word says.
FAKE = textwrap.dedent(
    """
    import os, subprocess, sys, time
    from pathlib import Path

    def main():
        what, folder = sys.argv[1], Path(sys.argv[2])
        name = sys.argv[3]
        (folder / f"{name}.pid").write_text(str(os.getpid()))
        (folder / f"{name}.begin").write_text(f"{time.monotonic()} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
        if what == "fail":
            print("repro: error: it cannot be\\n  fix:      do it otherwise", file=sys.stderr)
            return 3
        if what == "die":
            os.kill(os.getpid(), 9)
        if what == "family":
            grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (folder / f"{name}.grandchild").write_text(str(grandchild.pid))
            (folder / f"{name}.ready").touch()
            time.sleep(600)
        time.sleep(0.3)
        (folder / f"{name}.end").write_text(str(time.monotonic()))
        print("[1]")
        return 0
    """
)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for marks; jobs run a stand-in for ``repro.cli.main``."""
    package = tmp_path / "fake" / "repro"
    source = Path(child.__file__).parents[1]
    for folder in ("cli", "launch"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "cli" / "main.py").write_text(FAKE)
    (package / "launch" / "child.py").write_text((source / "launch" / "child.py").read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def job(folder: Path, name: str, what: str = "work") -> Job:
    return Job(name, (what, str(folder), name))


def run(jobs, launch, folder):
    ended = {}
    local.run(jobs, local.slots(launch), folder / "logs", lambda *_: None, lambda j, o: ended.update({j.name: o}))
    return ended


def span(folder: Path, name: str) -> tuple[float, float]:
    return float((folder / f"{name}.begin").read_text().split()[0]), float((folder / f"{name}.end").read_text())


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pids: list[int]) -> bool:
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up and any(map(alive, pids)):
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_no_more_jobs_run_at_a_time_than_there_are_places_and_all_run(fake):
    names = [f"job{i}" for i in range(4)]
    ended = run([job(fake, n) for n in names], Launch("local", max_parallel=2), fake)
    assert {n: o.code for n, o in ended.items()} == dict.fromkeys(names, 0)
    assert all(o.document() == [1] for o in ended.values())
    spans = [span(fake, n) for n in names]
    assert max(sum(a <= begin < b for a, b in spans) for begin, _ in spans) <= 2


def test_each_gpu_has_one_job_at_a_time_which_sees_no_other(fake):
    names = [f"job{i}" for i in range(3)]
    run([job(fake, n) for n in names], Launch("local", gpus=(1, 3)), fake)
    devices = {n: (fake / f"{n}.begin").read_text().split()[1] for n in names}
    assert set(devices.values()) == {"1", "3"}
    for one in names:
        for other in names:
            if one < other and devices[one] == devices[other]:
                assert span(fake, one)[1] <= span(fake, other)[0]


def test_gpus_are_counted_among_those_this_process_may_use(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [env["CUDA_VISIBLE_DEVICES"] for _, env in local.slots(Launch("local", gpus=(0, 1)))] == ["4", "7"]


def test_a_failure_has_its_reason_and_the_others_go_on(fake):
    jobs = [job(fake, "bad", "fail"), job(fake, "dead", "die"), job(fake, "good")]
    ended = run(jobs, Launch("local", max_parallel=1), fake)
    assert ended["bad"].reason == "it cannot be\n  fix:      do it otherwise"
    assert ended["bad"].code == 3
    assert "SIGKILL" in ended["dead"].reason
    assert ended["good"].code == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_nothing_outlives_the_command(fake, how):
    """Neither the jobs nor what they started."""
    root = Path(local.__file__).parents[2]
    script = textwrap.dedent(
        f"""
        import os, sys; sys.path.insert(0, {str(root)!r}); os.environ["PYTHONPATH"] = {str(fake / "fake")!r}
        from pathlib import Path
        from repro.launch import local
        from repro.launch.job import Job, Launch
        folder = Path({str(fake)!r})
        jobs = [Job(n, ("family", str(folder), n)) for n in ("a", "b", "c")]
        local.run(jobs, local.slots(Launch("local", max_parallel=2)), folder / "logs", lambda *_: None, lambda *_: None)
        """
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
    give_up = time.monotonic() + 300
    while not all((fake / f"{n}.ready").exists() for n in "ab"):
        assert time.monotonic() < give_up, (fake / "logs" / "a.err").read_text()
        time.sleep(0.05)
    pids = [int((fake / f"{n}.{kind}").read_text()) for n in "ab" for kind in ("pid", "grandchild")]
    assert all(map(alive, pids))
    process.send_signal(how)
    process.wait(60)
    # A killed command cannot end its jobs' children; the kernel ends the jobs for it.
    assert gone(pids if how == signal.SIGINT else pids[::2])
    assert not (fake / "c.pid").exists()
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
