"""The run store: where finished work lies, and how it is recognised, locked and never mistaken for half-done work."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.files import check_room, read_record, write_json
from repro.locks import folder_lock

COMPLETE = "metrics.json"
CELL = "cell.json"
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
        """Return the final weights of a training; present only once it has finished."""
        return self.run(run_id) / FINAL_WEIGHTS

    def evaluation(self, run_id: str, benchmark: str, key: str, *, part: bool = False) -> Path:
        """Return the first folder of one evaluation; others follow it where code changed (:mod:`.addresses.judging`).

        ``eval/<benchmark>`` belongs to the first protocol and data used; the same run evaluated another way lies in
        ``eval/<benchmark>@<key>`` beside it, so that a finished number is never overwritten. A ``part``, an
        evaluation of some of the images, always lies there.
        """
        plain = self.run(run_id) / "eval" / benchmark
        if part:
            return plain.with_name(f"{benchmark}@{key}")
        owner = plain / CELL
        if owner.is_file() and read_record(owner, "key")["key"] != key:
            return plain.with_name(f"{benchmark}@{key}")
        return plain

    @staticmethod
    def claim(folder: Path, key: str, facts: Mapping[str, Any]) -> Path:
        """Return the evaluation ``folder``, marked as belonging to ``key`` before anything is computed into it."""
        if not (folder / CELL).is_file():
            write_json(folder / CELL, {"key": key, **facts})
        return folder

    @staticmethod
    def result(folder: Path) -> dict[str, Any] | None:
        """Return the metrics of the finished evaluation in ``folder``, or None."""
        return read_record(folder / COMPLETE) if (folder / COMPLETE).is_file() else None

    def lock(self, name: str, *, wait: bool = False) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out of run or cache entry ``name`` (path below the root).

        While one is inside: RunError that names it, or with ``wait`` (what several runs share) waiting for it.
        """
        return folder_lock(self.root / name, wait=wait)

    def check_space(self, needed_mib: float) -> None:
        """Raise ResourceError where the disk below the store has less than ``needed_mib`` MiB free."""
        check_room(
            self.root, needed_mib * 2**20, str(self.root), mend="free some space, or name another folder with --runs"
        )


def part_of(evaluation: Path) -> str:
    """Say which part of the images the evaluation in this folder is of; "" where it is of all."""
    path = evaluation / CELL
    return str(read_record(path, "key").get("part", "")) if path.is_file() else ""
