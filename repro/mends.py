"""Words of mends: our own command for files that are in the way, the folders a call was given, and what is missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from repro.errors import command
from repro.paths import CONSTRAINTS, DEFAULT_RUNS


@dataclasses.dataclass(frozen=True)
class Missing:
    """Something a cell waits for, and the command or page that provides it."""

    what: str
    mend: str


def make_again(path: Path, what: str = "damaged") -> str:
    """Say how to get rid of ``path``, which this program wrote, so that the same command makes it again.

    In a run store that is ``repro runs gc --what`` with ``what`` (one of its kinds) for the run, or for the damaged
    files of the cache; elsewhere nothing is removed.
    """
    place = _in_store(path)
    if place is None or (place[1] is None and what != "damaged"):
        return f"move {command(path)} away, or name another folder, and give the same command again"
    root, run = place
    removal = command("repro", "runs", "gc", *([run] if run else []), *same_folders(root), "--what", what, "--yes")
    return f"give the same command again after this one, which removes what cannot be used: {removal}"


def install(extra: str = "", *more: str) -> str:
    """Return the command that installs what this package or its ``extra`` needs; ``more``: options of pip."""
    return command("pip", "install", *more, f"repro-ovseg[{extra}]" if extra else "repro-ovseg", "-c", CONSTRAINTS)


def same_folders(runs: Path, data_root: Path | str | None = None) -> tuple[object, ...]:
    """Return the words that name the run store and the data of a call, for a command that works on the same."""
    store = () if runs == DEFAULT_RUNS else ("--runs", runs)
    return store if data_root is None else (*store, "--data-root", data_root)


def _in_store(path: Path) -> tuple[Path, str | None] | None:
    """Return the run store that holds ``path`` and the run it belongs to (None: the store's cache)."""
    for folder in (path, *path.parents):
        if folder.parent.name == "cache" and folder.name in ("clip", "data", "views"):
            return folder.parent.parent, None
        if all((folder / name).is_file() for name in ("config.py", "provenance.json")):  # whatever it is called
            return folder.parent, folder.name
    return None
