"""What the data sets' owners and the papers print, in the small form of tests/facts/README.md.

After a change of ``results/published.csv`` that was checked against the paper, ``python tests/support/facts.py`` writes
the digests of that file again; it prints the tables that changed.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FACTS = Path(__file__).resolve().parents[1] / "facts"
PUBLISHED = FACTS.parents[1] / "results" / "published.csv"
WHOLE = "whole file"
"""In ``published.json`` in place of a table: the bytes of the file."""


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


def published_digests() -> list[dict[str, Any]]:
    """For each table of a paper the number of its values and their digest, over all columns but ``convention``; then
    those of the whole file."""
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    fields = [field for field in rows[0] if field != "convention"]
    tables: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        tables.setdefault((row["paper"], row["table"]), []).append(row)
    found = [
        {"paper": paper, "table": table, "rows": len(own), "sha256": digest(own, fields)}
        for (paper, table), own in tables.items()
    ]
    whole = hashlib.sha256(PUBLISHED.read_bytes()).hexdigest()
    return [*found, {"paper": "all", "table": WHOLE, "rows": len(rows), "sha256": whole}]


def main() -> None:
    """Write the digests of the published numbers again and print what changed."""
    before, now = load("published"), published_digests()
    for entry in now:
        if entry not in before:
            print(f"changed: {entry['paper']}, {entry['table']}: {entry['rows']} values")
    lines = ",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in now)
    (FACTS / "published.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
