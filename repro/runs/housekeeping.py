"""What a run store holds, how large it is, and which of its checkpoints and caches may go. Results never go.

Results are ``metrics.json``, ``counts.npz``, measures, provenance, configuration, curves and logs. What can be removed
is what can be made again (weights, checkpoints, rests of killed processes, drawn data, towers) or not be read.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.errors import ReproError, RunError, UsageError, check_known, command
from repro.files import read_json, storage_errors
from repro.hashing import digest
from repro.locks import folder_lock, in_use
from repro.mends import same_folders
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.code import Verdict
from repro.runs.addresses.damaged import damaged_files, damaged_in_cache
from repro.runs.scored import METHOD as PREDICTIONS
from repro.runs.store import COMPLETE, FINAL_WEIGHTS, RunStore, part_of

KINDS = ("weights", "checkpoints", "rests", "cache", "damaged")
"""What can be removed. ``checkpoints`` are checkpoint.pth (without it an unfinished training begins again) and
diverged.pth; ``rests`` are partly written files of killed processes; ``cache`` is generated data, trained towers,
views of data and imported checkpoints; ``damaged`` are files that cannot be read, with the evaluation they belong to
(:mod:`.addresses.damaged`)."""
CHECKPOINTS = ("checkpoint.pth", "diverged.pth")
CACHES = ("data", "clip", "views", "imports")
TRASH = ".removed-"
_DAY_S = 86400.0


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """One run folder: ``record`` is its provenance."""

    folder: Path
    record: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def group(self) -> str:
        """Method, profile and tower: what runs of several seeds and code versions share."""
        asked, facts = self.record.get("asked"), self.record.get("facts", {})
        if asked:
            return digest([asked["method"], asked["profile"], asked["tower"]])
        return digest([facts.get("method"), facts.get("tower")]) if "tower" in facts else self.id

    @cached_property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return not self.record.get("facts", {}).get("train") or (self.folder / FINAL_WEIGHTS).is_file()

    @cached_property
    def code(self) -> Verdict:
        """Whether the code that is installed now computes what made it (:mod:`repro.runs.addresses.code`)."""
        from repro.runs.addresses.adopting import pieces

        if self.record.get("facts", {}).get("method") == PREDICTIONS:  # nothing of ours made them
            return Verdict("same")
        try:
            verdicts = [p.verdict for p in pieces(self.id, self.folder.parent)]
        except (ReproError, KeyError, OSError) as error:
            return Verdict("unknown", str(error))
        worst = sorted(verdicts, key=lambda v: ("stale", "unknown", "adopted", "agrees", "same").index(v.state))
        return worst[0] if worst else Verdict("same")

    @cached_property
    def inputs(self) -> set[str]:
        """Names of the made things it was made from."""
        found: set[str] = set()
        for path in (self.folder / CODE, *sorted(self.folder.glob(f"eval/*/{CODE}"))):
            if path.is_file():
                kept = read_json(path)
                found |= {n for e in (kept.get("made"), *kept.get("taken", [])) if e for n in e["inputs"].values()}
        return found

    @cached_property
    def scores(self) -> dict[str, float]:
        """mIoU by evaluation folder, without parts of a set."""
        whole = [p for p in sorted(self.folder.glob(f"eval/*/{COMPLETE}")) if not part_of(p.parent)]
        found = {p.parent.name: read_json(p).get("miou_gt") for p in whole}
        return {name: score for name, score in found.items() if score is not None}

    @cached_property
    def changed(self) -> float:
        """When its newest file was written, seconds since 1970."""
        return max((p.lstat().st_mtime for p in _files(self.folder) if p.name != ".lock"), default=0.0)

    def sizes(self) -> dict[str, int]:
        """Return bytes of ``weights``, ``checkpoints``, ``rests`` and ``results`` (all that is never removed)."""
        sizes = dict.fromkeys(("weights", "checkpoints", "rests", "results"), 0)
        for path in _files(self.folder):
            sizes[_kind(path, self.folder) or "results"] += path.lstat().st_size
        return sizes


@dataclasses.dataclass(frozen=True)
class Removal:
    """One thing that goes: ``kind`` of :data:`KINDS`, and the folder whose lock must be had."""

    path: Path
    kind: str
    bytes: int
    owner: Path


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which things go; all rules must agree.

    ``kinds`` of :data:`KINDS`; ``older_days``: untouched for so many days; ``orphaned``: only what is stale, made by
    code that computes something other than what is installed now; ``keep_newest`` and ``keep_best`` spare so many runs
    of each method, profile and tower (best by mean mIoU over the benchmarks all have); ``runs``: ids or beginnings.
    """

    kinds: tuple[str, ...] = ("checkpoints", "rests")
    older_days: float = 0.0
    orphaned: bool = False
    keep_newest: int = 0
    keep_best: int = 0
    runs: tuple[str, ...] = ()


def stored_runs(store: RunStore) -> list[StoredRun]:
    """Return all runs of the store; a damaged provenance counts as none: its run is shown and never orphaned."""
    found = []
    for folder in sorted(store.root.iterdir()) if store.root.is_dir() else ():
        if folder.is_symlink() or not (folder / "provenance.json").is_file():
            continue
        try:
            record = read_json(folder / "provenance.json")
        except ReproError:
            record = {}
        found.append(StoredRun(folder, record if isinstance(record, dict) else {}))
    return found


def cache_entries(store: RunStore) -> list[Path]:
    """Return the folders of generated data, towers, views and imports."""
    entries = (p for kind in CACHES for p in sorted((store.cache / kind).glob("[!.]*")))
    return [p for p in entries if p.is_dir() and not p.is_symlink()]


def size_of(folder: Path) -> int:
    """Return the bytes of all files below ``folder``; links are not followed."""
    return sum(path.lstat().st_size for path in _files(folder))


def select(store: RunStore, rules: Rules) -> list[Removal]:
    """Return what ``rules`` remove, nothing of which is in use. UsageError for a run that does not exist."""
    runs = stored_runs(store)
    _check(rules, runs, store)
    newest = time.time() - rules.older_days * _DAY_S
    spared = _spared(runs, rules)
    found: list[Removal] = []
    for run in runs:
        if run.id in spared or run.changed > newest or in_use(run.folder):
            continue
        if rules.runs and not run.id.startswith(rules.runs):
            continue
        if rules.orphaned and (run.code.state != "stale" or not run.record):
            continue
        for path in _files(run.folder):
            kind = _kind(path, run.folder)
            # The checkpoint of an unfinished training is work, not waste: it goes only with a rule that names it.
            needed = kind == "checkpoints" and not run.finished and not (rules.orphaned or rules.runs)
            if kind in rules.kinds and not needed:
                found.append(Removal(path, kind, path.lstat().st_size, run.folder))
        if "damaged" in rules.kinds:
            chosen = {r.path for r in found}
            broken = [p for p in damaged_files(run.folder) if p not in chosen]
            found += [Removal(p, "damaged", p.lstat().st_size, run.folder) for p in broken]
    if not rules.runs:
        found += _select_cache(store, runs, rules, newest)
    return found


def remove(removals: Iterable[Removal]) -> Iterator[tuple[Removal, str]]:
    """Remove one by one and yield each with why it was not removed (empty where it was).

    A folder is renamed first: killed half-way, nothing is left that looks whole.
    """
    for removal in removals:
        try:
            with folder_lock(removal.owner), storage_errors(removal.path):
                if removal.path.is_dir():
                    trash = removal.path.with_name(f"{TRASH}{removal.path.name}")
                    shutil.rmtree(trash, ignore_errors=True)
                    removal.path.rename(trash)
                    shutil.rmtree(trash)
                else:
                    removal.path.unlink(missing_ok=True)
        except RunError as error:
            yield removal, f"in use: {error.found}"
        else:
            yield removal, ""


def _check(rules: Rules, runs: list[StoredRun], store: RunStore) -> None:
    check_known("kind of file", rules.kinds, KINDS, mend="repro runs gc -h")
    for name in rules.runs:
        if not any(run.id.startswith(name) for run in runs):
            mend = command("repro", "runs", "list", *same_folders(store.root))
            raise UsageError(f"no run begins with {name!r}", found=f"{len(runs)} runs", mend=mend)


def _spared(runs: list[StoredRun], rules: Rules) -> set[str]:
    groups: dict[str, list[StoredRun]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    spared: set[str] = set()
    for group in groups.values():
        if rules.keep_newest:
            spared |= {r.id for r in sorted(group, key=lambda r: -r.changed)[: rules.keep_newest]}
        if rules.keep_best:
            shared = set.intersection(*(set(r.scores) for r in group))
            ranked = (
                sorted(group, key=lambda r: -statistics.fmean(r.scores[b] for b in sorted(shared))) if shared else []
            )
            spared |= {r.id for r in (ranked[: rules.keep_best] if shared else group)}
    return spared


def _select_cache(store: RunStore, runs: list[StoredRun], rules: Rules, newest: float) -> list[Removal]:
    found = []
    if "rests" in rules.kinds:
        rests = [p for kind in CACHES for p in sorted((store.cache / kind).glob(f"{TRASH}*"))]
        found += [Removal(p, "rests", size_of(p), p.parent) for p in rests]
    if "cache" not in rules.kinds:
        if "damaged" in rules.kinds:
            broken = [
                (p, entry) for entry in cache_entries(store) if not in_use(entry) for p in damaged_in_cache(entry)
            ]
            found += [Removal(p, "damaged", p.lstat().st_size, entry) for p, entry in broken]
        return found
    present = _addresses_now(store) if rules.orphaned else set()
    # A profile of the user's own is known only by its runs; what those of version 0.1.0 rest on has their key.
    kept = [r for r in runs if r.code.state != "stale"] if rules.orphaned else []
    named = {name for r in kept for name in r.inputs}
    keys = tuple(str(r.record.get("facts", {}).get("data")) for r in kept)
    for path in cache_entries(store):
        newest_file = max((p.lstat().st_mtime for p in _files(path) if p.name != ".lock"), default=0.0)
        used = path.name in present | named or path.name.endswith(keys)
        if newest_file <= newest and not (rules.orphaned and used) and not in_use(path):
            found.append(Removal(path, "cache", size_of(path), path))
    return found


def _addresses_now(store: RunStore) -> set[str]:
    """Return names of the cache entries that the profiles of this installation use."""
    from repro.configuration.profiles import load_profile, profile_names
    from repro.runs.assets import Assets

    names: set[str] = set()
    for profile in map(load_profile, profile_names()):
        if not profile.synthetic:
            continue
        assets = Assets(profile, store.root, None)
        if assets.data_root is not None:
            names.add(assets.data_root.name)
        places = map(assets.tower_place, profile.towers)
        names |= {place.path.name for place in places if place is not None}
    return names


def _kind(path: Path, run: Path) -> str | None:
    """Return the kind of a file of a run that may be removed; None for a result."""
    if path.name.startswith(".") and path.name.endswith(".partial"):
        return "rests"
    if path.parent != run:
        return None
    if path.name == FINAL_WEIGHTS:
        return "weights"
    return "checkpoints" if path.name in CHECKPOINTS else None


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            yield Path(parent, name)
