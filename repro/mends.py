"""Mends for files of this program that are in the way: removed by our own command where a run store holds them."""

from __future__ import annotations

from pathlib import Path

from repro.errors import command
from repro.paths import DEFAULT_RUNS


def make_again(path: Path, what: str = "damaged") -> str:
    """How to get rid of ``path``, which this program wrote, so that the same command makes it again.

    In a run store that is ``repro runs gc --what`` with ``what`` (one of its kinds) for the run, or for the damaged
    files of the cache; elsewhere nothing is removed.
    """
    place = _in_store(path)
    if place is None or (place[1] is None and what != "damaged"):
        return f"move {command(path)} away, or name another folder, and give the same command again"
    root, run = place
    store = () if root == DEFAULT_RUNS else ("--runs", root)
    removal = command("repro", "runs", "gc", *([run] if run else []), *store, "--what", what, "--yes")
    return f"give the same command again after this one, which removes what cannot be used: {removal}"


def _in_store(path: Path) -> tuple[Path, str | None] | None:
    """The run store that holds ``path`` and the run it belongs to (None: the store's cache)."""
    for folder in (path, *path.parents):
        if folder.parent.name == "cache" and folder.name in ("clip", "data", "views"):
            return folder.parent.parent, None
        if all((folder / name).is_file() for name in ("config.py", "provenance.json")):  # whatever it is called
            return folder.parent, folder.name
    return None
