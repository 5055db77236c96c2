"""Jobs on a Slurm cluster, submitted and followed through submitit; none of which outlives this command."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import importlib
import io
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from repro.errors import Preempted, ResourceError, UsageError
from repro.launch.job import Job, Launch, OnEnd, OnStart, Outcome, outcome
from repro.mends import install

_POLL_S = {"slurm": 5.0, "local": 0.2}
_MISSING_S = {"slurm": 30.0, "local": 0.0}  # how long after a job's end its result may take to be seen (slow disks)
_KEPT = 20_000  # characters of stderr that come with a result
_RULE = "-" * 22  # what submitit draws around a traceback
_SIGNAL = "USR1@120"
"""Two minutes before its time is over, and when it is preempted, a job writes its checkpoint and is queued again."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A command as submitit calls it, in each process of its job."""

    words: tuple[str, ...]

    def __call__(self) -> tuple[int, str, str]:
        """Return the command's exit code, what it printed, and the end of what it wrote to stderr.

        Where the command was told to end, its job goes back into the queue.
        """
        import submitit

        place = submitit.JobEnvironment()
        if place.num_tasks > 1:
            submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        main = importlib.import_module("repro.cli.main").main  # by name: the command lies above everything
        sys.argv = ["repro", *self.words]
        printed, written = io.StringIO(), _Tee(sys.stderr)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(written):
            code = main(self.words)
        if code == Preempted.exit_code and "SLURM_JOB_ID" in os.environ:
            if place.global_rank == 0:
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False, timeout=60)
            time.sleep(60)  # until Slurm ends it: without a result it does not look finished
            os._exit(code)
        return code, printed.getvalue(), written.getvalue()[-_KEPT:]


class _Tee(io.StringIO):
    """Keeps what is written to ``stream``, because a log file may come later than the result."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:
        self.stream.write(text)
        self.stream.flush()
        return super().write(text)


def run(jobs: Sequence[Job], launch: Launch, folder: Path, on_start: OnStart, on_end: OnEnd) -> None:
    """Submit ``jobs``, at most ``launch.max_parallel`` at a time, and follow them to their ends.

    submitit keeps what a job needs and prints in ``folder``, which all nodes must share. Interrupted, it cancels the
    jobs before it passes the interruption on. ResourceError without Slurm, UsageError for options it refuses.
    """
    executor = _executor(launch, folder)
    waiting, running = deque(jobs), list[_Submitted]()
    most = launch.max_parallel or len(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < most:
                job = waiting.popleft()
                running.append(_Submitted(job, _submit(executor, job), launch.cluster))
                on_start(job, f"job {running[-1].handle.job_id}")
            lives = _lives(launch.cluster)
            for submitted in list(running):
                ended = submitted.ended(lives(submitted.handle), _MISSING_S[launch.cluster])
                if ended is not None:
                    running.remove(submitted)
                    on_end(submitted.job, ended)
            time.sleep(_POLL_S[launch.cluster] if running else 0)
    finally:
        for submitted in running:
            submitted.handle.cancel(check=False)


class _Submitted:
    """A job and submitit's handle of it, on ``cluster``."""

    def __init__(self, job: Job, handle: Any, cluster: str) -> None:
        self.job, self.handle, self.cluster = job, handle, cluster
        self.missing_since = 0.0

    def ended(self, lives: bool, patience: float) -> Outcome | None:
        """Return how the job ended, None while it has not or may have left its result less than ``patience`` s ago."""
        handles = [self.handle.task(number) for number in range(self.handle.num_tasks)]
        if all(h.paths.result_pickle.exists() for h in handles):
            return self._outcome(handles)
        if lives:
            self.missing_since = 0.0
            return None
        now = time.monotonic()
        self.missing_since = self.missing_since or now
        return self._outcome(handles) if now - self.missing_since >= patience else None

    def _outcome(self, handles: Sequence[Any]) -> Outcome:
        present = [h for h in handles if h.paths.result_pickle.exists()]
        crashes = [str(h.exception()) for h in present if h.exception() is not None]
        if crashes:
            return outcome(1, "", crashes[0].split(_RULE)[1] if crashes[0].count(_RULE) > 1 else crashes[0])
        if len(present) == len(handles):
            results = [h.result() for h in handles]
            code, _, err = next((r for r in results if r[0]), results[0])
            return outcome(code, results[0][1], err)
        return Outcome(1, "", f"{self.state()} and left no result; its log: {handles[0].paths.stderr}")

    def state(self) -> str:
        """Return what became of the job, in Slurm's words, while it still remembers."""
        if self.cluster != "slurm":
            return "its process ended"
        asked = subprocess.run(
            ["scontrol", "-o", "show", "job", self.handle.job_id],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = re.search(r"JobState=(\S+)", asked.stdout)
        return f"Slurm says {found[1]}" if found else "the job left the queue"


def _executor(launch: Launch, folder: Path) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ResourceError("submitit is not installed", mend=install("slurm")) from error
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=launch.cluster)
        executor.update_parameters(**_parameters(launch))
    except (RuntimeError, subprocess.SubprocessError) as error:
        raise ResourceError(
            "there is no Slurm here", expected="sbatch, srun, squeue and scancel", found=str(error), mend="repro doctor"
        ) from error
    return executor


def _parameters(launch: Launch) -> dict[str, Any]:
    """Return submitit's parameters of a job: one task per process, each with a GPU."""
    parameters: dict[str, Any] = {
        "timeout_min": launch.minutes,
        "nodes": launch.nodes,
        "tasks_per_node": launch.processes,
        "slurm_additional_parameters": {"signal": _SIGNAL, "requeue": True, **launch.slurm},
        # A process that fails must not leave the others waiting for it.
        "slurm_srun_args": ["--kill-on-bad-exit=1"],
    }
    if not launch.cpu_only:
        parameters["gpus_per_node"] = launch.processes
    if launch.partition:
        parameters["slurm_partition"] = launch.partition
    return parameters


def _submit(executor: Any, job: Job) -> Any:
    executor.update_parameters(name=re.sub(r"[^\w.-]", "-", job.name))
    try:
        return executor.submit(Task(job.words))
    except Exception as error:
        text = str(error).strip()
        if type(error).__name__ != "FailedJobError":
            raise
        raise UsageError(
            "sbatch refused a job",
            expected="a partition and options this cluster knows",
            found=text.splitlines()[-1] if text else "no message",
            mend="sinfo names the partitions; --partition, --time, --slurm KEY=VALUE",
        ) from error


def _lives(cluster: str) -> Callable[[Any], bool]:
    """Return a function that tells of a handle whether its job waits or runs.

    Slurm is asked for its queue, not for accounting, which small clusters lack; without answer all jobs live.
    """
    if cluster == "local":
        return lambda handle: not handle.done()
    asked = subprocess.run(
        ["squeue", "-h", "-u", getpass.getuser(), "-o", "%i"], capture_output=True, text=True, check=False, timeout=120
    )
    queue = set(asked.stdout.split())
    return lambda handle: asked.returncode != 0 or handle.job_id in queue
