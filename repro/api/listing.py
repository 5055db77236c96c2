"""What ``repro runs`` shows of a store: its runs, its disk use, what a run rests on, and what rules would remove."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import get_benchmark
from repro.errors import ReproError
from repro.locks import in_use
from repro.runs.addresses.adopting import Piece, pieces, uses
from repro.runs.addresses.stored import find_run, stored_run
from repro.runs.housekeeping import (
    Removal,
    Rules,
    StoredRun,
    cache_entries,
    remove,
    select,
    size_of,
    stored_runs,
)
from repro.runs.plan import Run
from repro.runs.store import RunStore


def run_rows(root: Path) -> list[dict[str, Any]]:
    """Describe every run of the store at ``root``: state, code, number of evaluations, mean mIoU, bytes and age."""
    return [_row(run) for run in stored_runs(RunStore(root))]


def _row(run: StoredRun) -> dict[str, Any]:
    try:
        scores = run.scores
    except ReproError:
        scores = {}
    return {
        "run": run.id,
        "state": "in use" if in_use(run.folder) else "finished" if run.finished else "unfinished",
        "code": run.code.state,
        "reason": run.code.reason,
        "evaluations": len(scores),
        "miou_gt": sum(scores.values()) / len(scores) if scores else None,
        "bytes": sum(run.sizes().values()),
        "age_seconds": max(0.0, time.time() - run.changed),
    }


def disk_use(root: Path) -> dict[str, Any]:
    """Return bytes of every run by kind (``runs``), of every entry of the ``cache``, and of all (``bytes``)."""
    store = RunStore(root)
    runs = {run.id: run.sizes() for run in stored_runs(store)}
    cache = {str(path.relative_to(store.root)): size_of(path) for path in cache_entries(store)}
    total = sum(sum(sizes.values()) for sizes in runs.values()) + sum(cache.values())
    return {"runs": runs, "cache": cache, "bytes": total}


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a finished run rests on, and the rows of tables that use it and that do not."""

    id: str
    run: Run
    pieces: tuple[Piece, ...]
    used_by: tuple[str, ...]
    not_used_by: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the current code may use all of it."""
        return all(p.verdict.fits for p in self.pieces)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        rests = [{"what": p.what, "folder": str(p.folder), **dataclasses.asdict(p.verdict)} for p in self.pieces]
        head = {"run": self.id, "asked": self.run.facts, "rests on": rests}
        return {**head, "used by": list(self.used_by), "not used by": list(self.not_used_by)}


def explain_run(name: str, root: Path, data_root: Path | None = None) -> Explained:
    """Explain the run called ``name`` (an id or its beginning), or one cell of it (``RUN/BENCHMARK``).

    Raises UsageError for unknown names.
    """
    name, _, benchmark = name.partition("/")
    run_id = find_run(RunStore(root), name)
    run = stored_run(run_id, root, data_root)
    found = [p for p in pieces(run_id, root, data_root) if not benchmark or _concerns(p, benchmark)]
    used_by, others = uses(run, run_id)
    return Explained(run_id, run, tuple(found), tuple(used_by), tuple(others))


def _concerns(piece: Piece, benchmark: str) -> bool:
    return not piece.what.startswith("evaluation on ") or piece.what == f"evaluation on {get_benchmark(benchmark).id}"


@dataclasses.dataclass(frozen=True)
class Cleared:
    """What rules chose, each with why it stayed ("" where it did not); ``removed``: whether anything was to go."""

    removed: bool
    outcomes: tuple[tuple[Removal, str], ...]

    @property
    def bytes(self) -> int:
        """The bytes that went, or would go."""
        return sum(r.bytes for r, why in self.outcomes if not why)

    @property
    def kept(self) -> bool:
        """Whether something could not be removed because it was in use by then."""
        return any(why for _, why in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        files = [
            {"path": str(r.path), "kind": r.kind, "bytes": r.bytes, "removed": self.removed and not why, "why": why}
            for r, why in self.outcomes
        ]
        return {"removed": self.removed, "bytes": self.bytes, "files": files}


def clear(root: Path, rules: Rules, *, really: bool = False) -> Cleared:
    """Choose what ``rules`` remove from the store at ``root``, and remove it where ``really`` is given.

    Raises UsageError for an unknown kind or run.
    """
    chosen = select(RunStore(root), rules)
    return Cleared(really, tuple(remove(chosen)) if really else tuple((removal, "") for removal in chosen))
