"""Source files on disk: which belong to an image, endings in any spelling, links, places that may be written.

Listing reads names, never pixels.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.datasets.texts import read_names
from repro.errors import DataError

_ENDINGS = {".jpg": (".jpg", ".jpeg")}
"""Endings that stand for the one of the published set, beside itself in any case."""


@dataclasses.dataclass(frozen=True)
class SourcePair:
    """An image and its annotation as distributed. ``note`` is what a shared file says of this image (PC-59)."""

    key: str
    image: Path
    label: Path
    note: Mapping[str, Any] | None = None


def _keyed(names: Iterable[str], suffix: str) -> dict[str, str]:
    """Return visible names by what precedes the ending, whose case may differ; the usual spelling goes first."""
    endings = _ENDINGS.get(suffix, (suffix,))
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda n: (n.endswith(suffix), n)):
        stem, dot, ending = name.rpartition(".")
        if stem and not name.startswith(".") and dot + ending.lower() in endings:
            found[stem] = name
    return found


def sources_by_key(folder: Path, suffix: str) -> dict[str, Path]:
    """Return files of a folder by name without ending; ``.JPG``, ``.jpeg`` count as ``.jpg``, ``.PNG`` as ``.png``."""
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
        """Return ``path`` as it is on disk; None where it is absent."""
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
    """Return ``name`` in the first of the folders that has it; where none has, its place in the last.

    An ending in capitals is taken where no folder has the usual one.
    """
    paths = [folder / a / name for a in alternatives]
    found = next((p for p in paths if p.is_file()), None)
    return found or next((p for p in paths if p.with_suffix(p.suffix.upper()).is_file()), paths[-1])


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield every folder below ``folder`` and the names of its files, sorted.

    Folders that are links are followed, each folder once, so that links in a circle end.
    """
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (identity := (status.st_dev, status.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders.sort()
        yield Path(place), sorted(names)


def images_below(folder: Path, suffix: str) -> dict[str, Path]:
    """Return all images below ``folder`` by name without ``suffix``, which may be spelled otherwise."""
    found = [(place / name, key) for place, names in walk(folder) for key, name in _keyed(names, suffix).items()]
    return {key: path for path, key in sorted(found)}


def keyed_below(folder: Path, ending: str) -> tuple[dict[str, Path], tuple[Path, Path] | None]:
    """Return files below ``folder`` by what precedes ``ending`` (in any case), and the first two of one name.

    Hidden files do not count.
    """
    found: dict[str, Path] = {}
    for place, names in walk(folder) if folder.is_dir() else ():
        for name in names:
            key = name[: -len(ending)]
            if name.startswith(".") or not key or name[len(key) :].lower() != ending.lower():
                continue
            if key in found:
                return found, (found[key], place / name)
            found[key] = place / name
    return found, None


def need(path: Path, set_id: str, instructions: str) -> Path:
    """Return ``path``. Raises DataError with the ``instructions`` of the set where it is absent."""
    if not path.exists():
        raise DataError(
            f"{set_id}: {path} is absent",
            expected="the set as its owners distribute it",
            found="nothing",
            mend=instructions,
        )
    return path


def read_ids(path: Path, instructions: str) -> list[str]:
    """Return the ids a list names, each once."""
    return list(dict.fromkeys(read_names(path, instructions)))


def leads_out(folder: Path, target: Path) -> bool:
    """Tell whether links below ``folder`` make ``target`` lie outside of it. The folder itself may be a link."""
    try:
        return not target.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True


def check_targets(folder: Path, targets: Iterable[Path], mend: str) -> None:
    """Raise DataError where one of ``targets``, the folders that are about to be written, lies outside of ``folder``.

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
