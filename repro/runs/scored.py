"""Runs of predictions of other code: nothing was trained or evaluated for them but their counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.errors import UsageError, unknown_name
from repro.files import read_json, write_json, write_text
from repro.hashing import digest
from repro.runs.provenance import provenance
from repro.runs.store import RunStore

METHOD = "predictions"
"""What the facts of such a run name as its method."""
OTHER_CODE = "predictions of other code"
"""What tables and listings call them."""
_SLUG = 40


def slug(name: str) -> str:
    """Return ``name`` in small letters, digits and dashes, for the names of folders and rows."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG].rstrip("-") or METHOD


def scored_id(facts: Mapping[str, Any]) -> str:
    """Return what the run of these facts is called."""
    return f"{slug(facts['name'])}-scored-{digest(dict(facts), 10)}"


def describe_scored(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write config.py and provenance.json of such a run into its folder, once."""
    if (folder / "provenance.json").is_file():
        return
    header = '"""What was scored; its values are the run\'s address."""\n\n'
    write_text(folder / "config.py", header + "".join(f"{key} = {value!r}\n" for key, value in facts.items()))
    write_json(folder / "provenance.json", {"run": folder.name, **provenance("cpu"), "facts": dict(facts)})


def scored_facts(folder: Path) -> dict[str, Any] | None:
    """Return the facts of the run in ``folder`` where it is one of predictions, else None."""
    path = folder / "provenance.json"
    record = read_json(path) if path.is_file() else {}
    facts: dict[str, Any] = record.get("facts", {}) if isinstance(record, dict) else {}
    return facts if facts.get("method") == METHOD else None


def find_scored(store: RunStore, words: Sequence[str]) -> dict[str, list[Path]]:
    """Return by name the run folders that ``words`` name: ids, or beginnings that all runs of one name share.

    Raises UsageError for unknown words, and for one that begins runs of several names.
    """
    known = {p.parent.name: scored_facts(p.parent) for p in sorted(store.root.glob("*/provenance.json"))}
    scored = {run: facts for run, facts in known.items() if facts is not None}
    found: dict[str, list[Path]] = {}
    for word in words:
        own = [r for r in scored if r == word] or [r for r in scored if r.startswith(word)]
        names = sorted({scored[r]["name"] for r in own})
        if not own:
            raise unknown_name(
                "run of predictions", word, scored or ["none"], mend="repro score FOLDER --benchmark B makes one"
            )
        if len(names) > 1:
            raise UsageError(
                f"{word!r} begins runs of several names",
                expected="an id, or what the ids of one name begin with",
                found=", ".join(own),
                mend=f"name one of them: {own[0]}",
            )
        folders = found.setdefault(names[0], [])
        folders += [store.run(r) for r in own if store.run(r) not in folders]
    return found
