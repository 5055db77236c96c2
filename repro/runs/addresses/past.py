"""Stores of version 0.1.0: what lies there under other names, so that it is shown and can be taken over.

That version put the digest of its sources into every name and kept no trace, so that what it made can be recognised by
what it was asked for, but not judged. It is used once ``repro runs adopt`` has said so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.benchmarks import TRAIN_SETS
from repro.errors import ReproError
from repro.files import read_json, write_json
from repro.hashing import plain
from repro.runs.addresses.code import FILE as CODE

if TYPE_CHECKING:
    from repro.runs.plan import Run
    from repro.towers.kind import Making

ADOPTED = "adopted.json"
"""Beside a thing of another name that was taken over: ``as``, the name it would have now."""


def renamed(base: Path) -> Iterator[Path]:
    """Yield things beside ``base`` that were taken over in its place."""
    for note in sorted(base.parent.glob(f"*/{ADOPTED}")):
        if _json(note).get("as") == base.name:
            yield note.parent


def rename(folder: Path, base: Path) -> None:
    """Note that ``folder`` stands for ``base``."""
    if folder.name != base.name and not folder.name.startswith(f"{base.name}."):
        write_json(folder / ADOPTED, {"as": base.name})


def data_of_past(folder: Path, data: Mapping[str, Any]) -> Iterator[Path]:
    """Yield drawn data below ``folder`` of the recipe ``data`` that know nothing of their code."""
    for ready in sorted(folder.glob("*/ready.json")):
        if not (ready.parent / CODE).is_file() and _json(ready).get("data") == plain(data):
            yield ready.parent


def tower_of_past(folder: Path, making: Making) -> Iterator[Path]:
    """Yield towers below ``folder`` that were made by the same recipe and know nothing of their code."""
    for path in sorted(folder.glob(f"*/{making.done}")):
        if not (path.parent / CODE).is_file() and making.like(_json(path)):
            yield path.parent


@dataclasses.dataclass(frozen=True)
class PastRun:
    """A run of version 0.1.0: its folder, the profile and row it was made for, and what it was asked."""

    folder: Path
    profile: str
    row: str
    facts: Mapping[str, Any]

    def is_of(self, run: Run) -> bool:
        """Tell whether ``run`` asks the same: method, options, tower, schedule and seed; data by their recipe."""
        facts, base = self.facts, f"{run.entry.name}-{run.profile.name}-{run.row.tower}-s{run.seed}-"
        if not (self.folder.name.startswith(base) and len(self.folder.name) == len(base) + 10):
            return False
        if self.profile != run.profile.name or facts.get("seed") != run.seed:
            return False
        try:
            options = plain(dataclasses.asdict(run.entry.make_options(facts.get("options", {}))))
        except ReproError:
            return False
        now = run.facts
        own_data = run.profile.synthetic or facts.get("data") == (now["data"] and _past_data_key(run))
        spec = facts.get("tower", {}).get("spec") == now["tower"]["spec"]
        return bool(options == now["options"] and facts.get("train") == now["train"] and spec and own_data)


def _past_data_key(run: Run) -> str:
    """Return what version 0.1.0 would call the training data: it looked at names and sizes only."""
    from repro.datasets.verify.fingerprint import names_and_sizes

    data, root = TRAIN_SETS["coco-stuff"], run.assets.data_root  # the only training set of that version
    return "absent" if root is None or run.assets.missing_data(data) else names_and_sizes(data.id, root)


def past_runs(root: Path) -> Iterator[PastRun]:
    """Yield the runs below ``root`` that version 0.1.0 made."""
    for path in sorted(root.glob("*/provenance.json")):
        facts = _json(path).get("facts", {})
        if isinstance(facts, dict) and isinstance(facts.get("code"), str):
            config = _config(path.parent / "config.py")
            yield PastRun(path.parent, config.get("profile", ""), config.get("row", ""), facts)


def past_evaluations(run: Path, benchmark: str, protocol: str) -> Iterable[Path]:
    """Return evaluations of ``run`` by the same protocol of its own weights; without records of code and data."""
    for path in sorted(run.glob(f"eval/{benchmark}*/cell.json")):
        cell = _json(path)
        own = cell.get("weights", "own") == "own" and not cell.get("speedups")
        if cell.get("protocol") == protocol and own and "data" not in cell and cell.get("benchmark") == benchmark:
            yield path.parent


def _config(path: Path) -> dict[str, Any]:
    """Return the values of a ``config.py`` that this program wrote: one literal per line."""
    import ast

    found: dict[str, Any] = {}
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = ast.literal_eval(node.value)
    except (OSError, SyntaxError, ValueError):
        return found
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ReproError):
        return {}
    return value if isinstance(value, dict) else {}
