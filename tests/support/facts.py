"""What the data sets' owners and the papers print, in the small form of tests/facts/README.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FACTS = Path(__file__).resolve().parents[1] / "facts"


def load(name: str) -> Any:
    """The content of ``tests/facts/NAME.json``."""
    return json.loads((FACTS / f"{name}.json").read_text(encoding="utf-8"))


def label_values(vocabulary: str) -> dict[int, int]:
    """Source value of a label -> index of its class."""
    return {value: index for index, value in enumerate(load("label_values")[vocabulary])}


def digest(rows: Iterable[Mapping[str, str]], fields: Sequence[str]) -> str:
    """SHA-256 of these fields of the rows: a JSON list a row, a row a line."""
    lines = [json.dumps([row[field] for field in fields], ensure_ascii=False) for row in rows]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
