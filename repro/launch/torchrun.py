"""A command in several processes that work on one thing together, by torch's elastic agent (what torchrun is)."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence

from repro.errors import Preempted, RunError
from repro.launch.job import Launch


def run(words: Sequence[str], launch: Launch) -> int:
    """Run ``repro WORDS`` in ``launch.processes`` processes on each of ``launch.nodes`` machines; its exit code.

    On several machines the same command is given on each, with one ``rendezvous``. The death of a process ends all.
    Raises Preempted where this process is told to end.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if "OMP_NUM_THREADS" not in os.environ:
        from repro.hardware import cpu_count

        os.environ["OMP_NUM_THREADS"] = str(max(1, cpu_count() // launch.processes))
    config = LaunchConfig(
        min_nodes=launch.nodes,
        max_nodes=launch.nodes,
        nproc_per_node=launch.processes,
        run_id=launch.rendezvous or uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=launch.rendezvous or "localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(),
    )
    command = ["-m", "repro.launch.child", str(os.getpid()), *words]
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        # Those that ended by themselves know why; the others were ended by the agent.
        return next((code for code in codes if code > 0), codes[0])
    except SignalException as error:
        raise Preempted(error.sigval.name) from error
    except OSError as error:
        raise RunError(
            "the processes did not find each other",
            expected=f"{launch.nodes} machines that can reach {launch.rendezvous or 'this one'}",
            found=str(error),
            mend="--rendezvous HOST:PORT with a name and a free port of one of them, the same on all",
        ) from error
    return 0
