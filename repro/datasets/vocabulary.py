"""Class names of data sets, in label order, read from data files: those beside this module and other packages'."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path

from repro.errors import unknown_name

FOLDER = Path(__file__).with_name("vocab")
KINDS = ("thing", "stuff")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The classes of one label set.

    ``names[i]`` is the class with label i, with all its synonyms ("building, edifice"). ``rows[i]`` is the whole line
    of the data file, among it the value the source annotations use for the class.
    """

    name: str
    names: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The first synonym of every class, which is the word the official code prompts (docs/specs/benchmarks.md)."""
        return tuple(map(first_synonym, self.names))

    def column(self, field: str) -> tuple[int, ...]:
        """Return an integer column of the data file, one value per class. Raises KeyError for an unknown one."""
        return tuple(int(row[field]) for row in self.rows)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of every class, "thing" or "stuff" (docs/taxonomy.md says by what rule)."""
        kinds = tuple(row["kind"] for row in self.rows)
        if not set(kinds) <= set(KINDS):
            raise AssertionError(f"{self.name}: a kind other than {' and '.join(KINDS)}")
        return kinds

    @property
    def things(self) -> tuple[bool, ...]:
        """True for every class that is a thing, in label order: a mask over the classes."""
        return tuple(kind == "thing" for kind in self.kinds)

    def digest(self) -> str:
        """Return twelve hex digits over the names and every other fact of the file that decides a label or a prompt.

        ``kind`` decides neither: correcting one makes no measured number another number.
        """
        rows = [{field: value for field, value in row.items() if field != "kind"} for row in self.rows]
        return hashlib.sha256(json.dumps([self.name, rows], sort_keys=True).encode()).hexdigest()[:12]


def first_synonym(name: str) -> str:
    """Return the first of the synonyms of a class, by which it is prompted and shown."""
    return name.split(",")[0].strip()


def vocabulary_names() -> tuple[str, ...]:
    """Return the vocabularies there are."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.csv")))


@cache
def load_vocabulary(name: str) -> Vocabulary:
    """Return the vocabulary called ``name``: a file beside this module, or ``package:file.csv`` of another package.

    Raises UsageError with the nearest names where there is none.
    """
    package, colon, file = name.partition(":")
    path = Path(str(resources.files(package) / file)) if colon else FOLDER / f"{name}.csv"
    if not path.is_file():
        raise unknown_name("vocabulary", name, vocabulary_names(), mend=f"name one of them, or add {path.name} to them")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = tuple(csv.DictReader(stream))
    if [row["index"] for row in rows] != [str(i) for i in range(len(rows))]:
        raise AssertionError(f"{path} is not in label order")
    return Vocabulary(name, tuple(row["name"] for row in rows), rows)
