"""The run store: where finished work lies, and how it is recognised, locked and never mistaken for half-done work."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from repro.errors import ResourceError
from repro.files import read_record, write_json
from repro.locks import folder_lock

COMPLETE = "metrics.json"
FINAL_WEIGHTS = "weights.pth"


class RunStore:
    """``root``/<run id>/ holds one run; ``root``/cache what runs share (generated data, trained towers)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def run(self, run_id: str) -> Path:
        return self.root / run_id

    def weights(self, run_id: str) -> Path:
        """The final weights of a training; present only once it has finished."""
        return self.run(run_id) / FINAL_WEIGHTS

    def evaluation(self, run_id: str, benchmark: str, key: str) -> Path:
        """The folder of one evaluation.

        ``eval/<benchmark>`` belongs to the first protocol and data used; the same run evaluated another way lies in
        ``eval/<benchmark>@<key>`` beside it, so that a finished number is never overwritten.
        """
        plain = self.run(run_id) / "eval" / benchmark
        owner = plain / "cell.json"
        if owner.is_file() and read_record(owner, "key")["key"] != key:
            return plain.with_name(f"{benchmark}@{key}")
        return plain

    def claim_evaluation(self, run_id: str, benchmark: str, key: str, facts: dict[str, Any]) -> Path:
        """The evaluation folder, marked as belonging to ``key`` before anything is computed into it."""
        folder = self.evaluation(run_id, benchmark, key)
        if not (folder / "cell.json").is_file():
            write_json(folder / "cell.json", {"key": key, **facts})
        return folder

    def result(self, run_id: str, benchmark: str, key: str) -> dict[str, Any] | None:
        """The metrics of a finished evaluation, or None."""
        path = self.evaluation(run_id, benchmark, key) / COMPLETE
        if not path.is_file():
            return None
        return read_record(path)

    def lock(self, name: str, *, wait: bool = False) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of run or cache entry ``name`` (path below the root).

        While one is inside: RunError that names it, or with ``wait`` (what several runs share) waiting for it.
        """
        return folder_lock(self.root / name, wait=wait)

    def check_space(self, needed_mib: float) -> None:
        """ResourceError where the disk below the store has less than ``needed_mib`` MiB free."""
        folder = self.root.absolute()
        while not folder.exists():
            folder = folder.parent
        stat = os.statvfs(folder)
        free_mib = stat.f_bavail * stat.f_frsize / 2**20
        if free_mib < needed_mib:
            raise ResourceError(
                f"not enough disk space in {self.root}",
                expected=f"{needed_mib:.0f} MiB free",
                found=f"{free_mib:.0f} MiB free",
                mend="free some space, or name another folder with --runs",
            )
