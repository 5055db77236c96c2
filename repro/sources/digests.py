"""Digests of what roots reach, remembered on disk by the bytes of all files."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.files import write_json
from repro.hashing import digest
from repro.sources.graph import Project, closure
from repro.sources.normal import Normal

GROUPS = ("repro.methods", "repro.alignments", "repro.backbones")
"""Entry points whose packages belong to the project as ``repro`` itself does."""
ROUNDS = 4
"""How far away from a definition it is told by which of others of equal text it names."""
FORMAT = 1
"""Raised when the way digests are taken changes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """What the definitions named on the way from some roots say: one digest, and a short one of each."""

    digest: str
    definitions: dict[str, str]

    def changes(self, since: dict[str, str]) -> list[str]:
        """Return the definitions that differ from those of an earlier source, in words; not those that moved."""
        texts, before = set(self.definitions.values()), set(since.values())
        changed = [k for k in self.definitions if k in since and self.definitions[k] != since[k]]
        new = [f"{k} (new)" for k in self.definitions if k not in since and self.definitions[k] not in before]
        gone = [f"{k} (gone)" for k in since if k not in self.definitions and since[k] not in texts]
        return sorted(changed) + sorted(new) + sorted(gone)


class Sources:
    """The source digests of one state of the project's files.

    ``memory`` is a folder in which digests are kept; without it they are taken anew in each process (two seconds).
    ``traces`` is for whoever takes traces: by a key that includes the digest, what this process has taken.
    """

    def __init__(self, packages: dict[str, Path] | None = None, memory: Path | None = None) -> None:
        self.project = Project(packages or own_packages())
        self.memory = memory
        self._known: dict[str, Normal] = {}
        self._own: dict[str, str] = {}
        self._found: dict[tuple[str, ...], Source] = {}
        self.traces: dict[str, tuple[Any, str]] = {}

    def kept_in(self, memory: Path) -> Sources:
        """Return the same with another memory: neither takes again what the other has taken."""
        other = copy.copy(self)
        other.memory = memory
        return other

    def source(self, roots: Sequence[str]) -> Source:
        """Return what lies on the way from ``roots`` (``"module:name"``); ModuleNotFoundError, KeyError for unknown."""
        key = tuple(sorted(roots))
        if key not in self._found:
            self._found[key] = self._remembered(key) or self._taken(key)
        return self._found[key]

    @property
    def files(self) -> str:
        """A digest of the bytes of all files, which decides nothing but whether digests are taken anew."""
        return _bytes_of(tuple(sorted(self.project.packages.items())))

    def _path(self, roots: tuple[str, ...]) -> Path | None:
        if self.memory is None or not self.memory.parent.parent.is_dir():  # a command that only reads makes no store
            return None
        return self.memory / f"{digest([FORMAT, self.files, roots], 20)}.json"

    def _remembered(self, roots: tuple[str, ...]) -> Source | None:
        path = self._path(roots)
        if path is None:
            return None
        try:
            return Source(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _taken(self, roots: tuple[str, ...]) -> Source:
        keys = [root if root.endswith(":*") else self.project.find(*root.split(":", 1)) for root in roots]
        for root, key in zip(roots, keys, strict=True):
            if key is None:
                raise ModuleNotFoundError(f"nothing is called {root}")
        found = closure(self.project, [k for k in keys if k], self._known)
        for key in found - self._own.keys():
            self._own[key] = _short(self._known[key].text(lambda _: ""))
        final = {k: self._own[k] for k in found}
        for _ in range(ROUNDS):
            final = {k: _short(self._known[k].text(final.__getitem__)) for k in found}
        texts = {k: self._own[k] for k in sorted(found)}
        source = Source(digest([FORMAT, sorted(set(final.values()))], 16), texts)
        self._keep(roots, source)
        return source

    def keep(self) -> None:
        """Keep what was taken before there was a folder to keep it in."""
        for roots, source in self._found.items():
            if (path := self._path(roots)) is not None and not path.is_file():
                self._keep(roots, source)

    def _keep(self, roots: tuple[str, ...], source: Source) -> None:
        path = self._path(roots)
        if path is not None:
            with contextlib.suppress(OSError, ReproError):  # to take them again is only slower
                write_json(path, dataclasses.asdict(source))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@cache
def own_packages() -> dict[str, Path]:
    """Return ``repro`` and top-level packages of installed methods, alignments and backbones, with their folders."""
    tops = {"repro"} | {p.module.partition(".")[0] for group in GROUPS for p in entry_points(group=group)}
    found = {}
    for top in sorted(tops):
        spec = importlib.util.find_spec(top)
        if spec is not None and spec.submodule_search_locations:
            found[top] = Path(next(iter(spec.submodule_search_locations)))
    return found


@cache
def _bytes_of(packages: tuple[tuple[str, Path], ...]) -> str:
    state = hashlib.sha256()
    for top, folder in packages:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            state.update(f"{top}/{path.relative_to(folder)}\0".encode())
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


@cache
def sources(memory: Path | None = None) -> Sources:
    """Return the source digests of the installed project, as its files were when they were first asked for.

    Those of all folders are one: a process that opens several run stores takes digests and traces once.
    """
    return Sources() if memory is None else sources().kept_in(memory)
