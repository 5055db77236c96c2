"""Names of source files on disk: endings in any spelling, folders that are links, places that may be written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from repro.errors import DataError

IMAGE_SUFFIX = ".jpg"
_ENDINGS = {IMAGE_SUFFIX: (".jpg", ".jpeg")}
"""Endings that stand for the one of the published set, beside itself in any case."""


def _keyed(names: Iterable[str], suffix: str) -> dict[str, str]:
    """Visible names by what precedes the ending, which may be spelled otherwise; the usual spelling goes first."""
    endings = _ENDINGS.get(suffix, (suffix,))
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda n: (n.endswith(suffix), n)):
        stem, dot, ending = name.rpartition(".")
        if stem and not name.startswith(".") and dot + ending.lower() in endings:
            found[stem] = name
    return found


def sources_by_key(folder: Path, suffix: str) -> dict[str, Path]:
    """Source files of a folder by name without ending; ``.JPG``, ``.jpeg`` count as ``.jpg``, ``.PNG`` as ``.png``."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {key: folder / name for key, name in _keyed((e.name for e in entries), suffix).items()}


class Spelling:
    """Finds files whose ending may be spelled otherwise; every folder is listed once."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}
        self._keyed: dict[tuple[Path, str], dict[str, str]] = {}

    def __call__(self, path: Path) -> Path | None:
        """``path`` as it is on disk; None where it is absent."""
        folder, suffix = path.parent, path.suffix
        if folder not in self._names:
            self._names[folder] = {e.name for e in os.scandir(folder)} if folder.is_dir() else set()
        if path.name in self._names[folder]:
            return path
        if (folder, suffix) not in self._keyed:
            self._keyed[folder, suffix] = _keyed(self._names[folder], suffix)
        name = self._keyed[folder, suffix].get(path.name.removesuffix(suffix))
        return None if name is None else folder / name


def first_file(folder: Path, alternatives: tuple[str, ...], name: str) -> Path:
    """``name`` in the first of the folders that has it; where none has, its place in the last.

    An ending in capitals is taken where no folder has the usual one.
    """
    paths = [folder / a / name for a in alternatives]
    found = next((p for p in paths if p.is_file()), None)
    return found or next((p for p in paths if p.with_suffix(p.suffix.upper()).is_file()), paths[-1])


def walk_ade(folder: Path) -> dict[str, Path]:
    """Images by key below images/ADE/<split>/<category>/<scene>; the index pickle is never needed.

    Folders that are links are followed, each folder once, so that links in a circle end.
    """
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (identity := (status.st_dev, status.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders.sort()
        chosen = _keyed(names, IMAGE_SUFFIX)
        found += [(Path(place) / name, key) for key, name in chosen.items() if key.startswith("ADE_")]
    return {key: path for path, key in sorted(found)}


def leads_out(folder: Path, target: Path) -> bool:
    """Whether links below ``folder`` make ``target`` lie outside of it. The folder itself may be a link."""
    try:
        return not target.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True


def check_targets(folder: Path, targets: Iterable[Path], mend: str) -> None:
    """DataError where one of ``targets``, the folders that are about to be written, lies outside of ``folder``.

    Links that lead out are followed for reading only. ``mend`` is what to repeat.
    """
    for target in targets:
        if leads_out(folder, target):
            raise DataError(
                f"{target} lies outside of {folder}: a link leads there, and links are followed for reading only",
                expected=f"a folder below {folder}, or none yet",
                found=f"a link to {os.path.realpath(target)}",
                mend=f"rename that link, then {mend}",
            )
