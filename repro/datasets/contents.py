"""What files hold, as digests: each is read once and remembered until its size, time stamps or inode change."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from repro.errors import DataError, ReproError
from repro.files import write_text
from repro.hashing import file_digest

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""

LENGTH = 16
SETTLED_NS = 2_000_000_000
"""A file younger than this is not remembered: a second change within one tick of its clock would look the same."""
_FORMAT = 1
_BATCH = 512
_THREADS = 4


def stamp(path: Path) -> list[int]:
    """Return size, times of the last change of content and of the entry (ns), and inode; links are followed."""
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} is absent", expected="a readable file", found=error.strerror) from error
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def settled(found: list[int]) -> bool:
    """Tell whether a file of this stamp was left alone long enough for a change to come to show in the stamp."""
    return max(found[1:3]) < time.time_ns() - SETTLED_NS


def content_digest(path: Path) -> str:
    """Return the digest of the bytes of ``path``; DataError where it cannot be read."""
    try:
        return file_digest(path, LENGTH)
    except OSError as error:
        raise DataError(f"{path} cannot be read", expected="a readable file", found=error.strerror) from error


class Contents:
    """Digests of files by path; remembered in the file ``index``, in memory alone where that is None.

    The index is written only where the folder above its own exists already: looking makes no run store.
    """

    def __init__(self, index: Path | None = None) -> None:
        self._index = index
        self._known: dict[str, list[Any]] = _read(index)

    def digests(self, paths: Sequence[Path], progress: Progress | None = None) -> list[str]:
        """Return the digest of each of ``paths``, in order. ``progress`` is called only while files are read."""
        stamps = [stamp(path) for path in paths]
        unknown = [i for i, path in enumerate(paths) if self._known.get(str(path), [None])[:-1] != stamps[i]]
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(unknown), _BATCH):
                batch = unknown[start : start + _BATCH]
                if progress:
                    progress(start, len(unknown))
                for i, value in zip(batch, pool.map(content_digest, [paths[i] for i in batch]), strict=True):
                    self._known[str(paths[i])] = [*stamps[i], value]
        if unknown and progress:
            progress(len(unknown), len(unknown))
        found = [str(self._known[str(path)][-1]) for path in paths]
        if unknown:
            self._keep(paths)
        return found

    def _keep(self, paths: Sequence[Path]) -> None:
        if self._index is None or not self._index.parent.parent.is_dir():
            return
        entries = {str(path): self._known[str(path)] for path in paths}
        entries = {name: entry for name, entry in entries.items() if settled(entry[:-1])}
        with contextlib.suppress(ReproError):  # a store that may only be read: read the files again next time
            write_text(self._index, json.dumps({"format": _FORMAT, "files": entries}, separators=(",", ":")))


def _read(index: Path | None) -> dict[str, list[Any]]:
    """Return the entries of an index; nothing of one that is absent or damaged."""
    if index is None:
        return {}
    try:
        value = json.loads(index.read_text(encoding="utf-8"))
        files = value["files"] if value["format"] == _FORMAT else {}
        return {name: entry for name, entry in files.items() if _whole(entry)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _whole(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 5 and isinstance(entry[-1], str) and len(entry[-1]) == LENGTH
