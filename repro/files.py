"""Files that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from repro.errors import ReproError, ResourceError
from repro.hashing import digest
from repro.mends import make_again

# Of the usual file system with the shortest names (eCryptfs); most take 255 bytes.
_NAME_BYTES = 143


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a read-only folder, while writing below ``path``, into one :class:`ResourceError`."""
    try:
        yield
    except OSError as error:
        raise _explained(error, path) from error


def _explained(error: OSError, path: Path) -> ReproError | OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ResourceError(
            f"the disk is full: could not write {path}",
            expected="free space below the run and cache folders",
            found=error.strerror,
            mend="free some space and run the same command again; nothing finished is lost",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(
            f"cannot write {path}",
            expected="a folder this user may write to",
            found=error.strerror,
            mend="name another folder with --runs or --results",
        )
    return error


def _partial_name(name: str) -> str:
    """Return the temporary name of ``name``: a hidden file of this process, shortened where it could be too long."""
    ending = f".{os.getpid()}.partial"
    whole = f".{name}{ending}"
    return whole if len(os.fsencode(whole)) <= _NAME_BYTES else f".{digest(name, 16)}{ending}"


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a binary stream and rename the result to ``path`` once it is complete and on disk.

    Raises :class:`ResourceError` where the disk is full or the folder cannot be written; ``path`` is then untouched.
    """
    partial = path.with_name(_partial_name(path.name))
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make ``path`` and its parents. Raises as :func:`write_atomic` does, so that a bad name costs no computation."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def nearest_there(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def check_room(path: Path, size: float, what: str, *, of: str = "", mend: str) -> None:
    """Raise ResourceError where the disk of ``path`` has no room for ``size`` bytes of ``what``."""
    free = shutil.disk_usage(nearest_there(path)).free
    if free < size:
        raise ResourceError(
            f"not enough disk space for {what}",
            expected=f"{size / 2**20:,.0f} MiB free{of}",
            found=f"{free / 2**20:,.0f} MiB free",
            mend=mend,
        )


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_atomic(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=False) + "\n")


def read_json(path: Path) -> Any:
    """Read the JSON value in ``path``; ResourceError naming the file where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ResourceError(
            f"{path} is not valid JSON",
            expected="a file this program wrote",
            found=str(error)[:500],
            mend=make_again(path),
        ) from error


def read_record(path: Path, *keys: str) -> dict[str, Any]:
    """Read the JSON object in ``path``, which has ``keys``; ResourceError naming the file if it is something else."""
    value = read_json(path)
    if not isinstance(value, dict) or not set(keys) <= value.keys():
        raise ResourceError(
            f"{path} is damaged",
            expected="an object this program wrote" + (f", with {', '.join(keys)}" if keys else ""),
            found=type(value).__name__ if not isinstance(value, dict) else f"only {', '.join(value) or 'nothing'}",
            mend=make_again(path),
        )
    return value
