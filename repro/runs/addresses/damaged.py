"""Files of a run store that cannot be read: what a broken disk or another program left, and what must go with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from repro.errors import ReproError
from repro.metrics.counts import Counts
from repro.runs.store import CELL, COMPLETE


def damaged_files(run: Path) -> list[Path]:
    """What of ``run`` cannot be used: damaged files, and everything of an evaluation that has one.

    The mark of a finished evaluation comes first, so that what is left half-way is not taken for finished.
    """
    found = [p for p in sorted(run.iterdir()) if is_damaged(p)]
    for evaluation in sorted(p for p in run.glob("eval/*") if p.is_dir() and not p.is_symlink()):
        files = [p for p in sorted(evaluation.rglob("*")) if p.is_file() and not p.is_symlink() and p.name != ".lock"]
        if any(map(is_damaged, files)):
            found += sorted(files, key=lambda p: p.name != COMPLETE)
    return found


def damaged_in_cache(entry: Path) -> Iterator[Path]:
    """Damaged files at the top of an entry of the cache (towers, drawn data)."""
    yield from (p for p in sorted(entry.iterdir()) if is_damaged(p))


def is_damaged(path: Path) -> bool:
    """Whether ``path`` is a file of a kind this program writes (JSON, counts, torch) that cannot be read."""
    if not path.is_file() or path.is_symlink() or path.name.startswith("."):
        return False
    try:
        if path.suffix == ".json":
            value = json.loads(path.read_text(encoding="utf-8"))
            return not isinstance(value, dict if path.name in (CELL, COMPLETE) else (dict, list)) or (
                path.name == CELL and "key" not in value
            )
        if path.suffix == ".npz":
            Counts.load(path)
        if path.suffix in (".pth", ".pt"):
            from repro.methods.weights import read_torch, read_weights

            (read_weights if path.name == "weights.pth" else read_torch)(path)
    except ReproError as error:
        return "another format" not in error.message  # of another version, and whole
    except (ValueError, RecursionError):
        return True
    return False
