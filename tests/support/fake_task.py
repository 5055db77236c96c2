"""A stand-in for repro.launch.slurm.Task whose command does what its first word says, quickly."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class FakeTask:
    words: tuple[str, ...]

    def __call__(self) -> tuple[int, str, str]:
        import submitit

        what, folder, name = self.words[0], Path(self.words[1]), self.words[2]
        rank = submitit.JobEnvironment().global_rank
        (folder / f"{name}-{rank}.pid").write_text(str(os.getpid()))
        (folder / f"{name}-{rank}.begin").write_text(str(time.monotonic()))
        if what == "fail":
            return 3, "", "repro: error: it cannot be\n  fix:      do it otherwise\n"
        if what == "crash":
            raise ZeroDivisionError("division by zero")
        if what == "die":
            os.kill(os.getpid(), 9)
        if what == "sleep":
            time.sleep(600)
        time.sleep(0.3)
        (folder / f"{name}-{rank}.end").write_text(str(time.monotonic()))
        return 0, json.dumps([rank]) if rank == 0 else "", ""
