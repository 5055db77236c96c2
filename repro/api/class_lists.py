"""Class names from a file of the user's: a text, JSON or CSV file, told apart by its ending and its content."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from repro.errors import UsageError, command

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NAME_COLUMNS = ("name", "class", "label")
_ENDINGS = (".txt", ".json", ".csv", ".tsv")
_KEYS = ("names", "classes", "categories")


def class_names(text: str) -> list[str]:
    """Return the names that ``--classes`` asks for: A,B,.. or @FILE.

    Raises UsageError for the name of a file without its @ and for JSON: both would be taken for names of classes.
    """
    if text.startswith("@"):
        return read_class_names(Path(text[1:]))
    path = Path(text)
    if path.suffix.lower() in _ENDINGS or _is_file(path):
        raise UsageError(
            f"{text!r} is the name of a file, not of a class",
            expected="names with commas between them, or @ and a file of names",
            found="a file" if _is_file(path) else "nothing of that name",
            mend=command("--classes", f"@{text}"),
        )
    if text.lstrip()[:1] in ("[", "{"):
        raise UsageError(
            "--classes is JSON",
            expected="names with commas between them, or @ and a file of names",
            found=text[:80],
            mend='--classes "cat,dog,sky", or --classes @FILE with the JSON in a file whose name ends in .json',
        )
    return text.split(",")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a name of a file may be
        return False


def read_class_names(path: Path) -> list[str]:
    """Read the names in ``path``, in their order.

    A text file has one name per line; a ``.json`` file a list of strings or of objects with ``name``, alone or below
    one of ``_KEYS``; a ``.csv`` file (or ``.tsv``) one column, or a header with ``name``. Raises UsageError for a file
    that cannot be read and for one of another form: nothing is taken for a name that is not one.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode(next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8-sig"))
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _refused(path, f"{error.reason} at byte {error.start}: not {error.encoding}") from error
    if "\0" in text:
        raise _refused(path, "NUL characters: UTF-16 without a byte order mark, or no text")
    ending = path.suffix.lower()
    if ending == ".json":
        return _of_json(path, text)
    if ending in (".csv", ".tsv"):
        return _of_table(path, text, "\t" if ending == ".tsv" else ",")
    if text.lstrip()[:1] in ("[", "{"):
        raise _refused(path, "what looks like JSON; such a file is read as JSON where its name ends in .json")
    return text.splitlines()


def _of_json(path: Path, text: str) -> list[str]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"no valid JSON: {str(error)[:200]}") from error
    if isinstance(value, dict):
        keys = [key for key in _KEYS if key in value]
        if len(keys) != 1:
            raise _refused(path, f"an object with {', '.join(map(str, value))[:200] or 'nothing'}")
        value = value[keys[0]]
    if not isinstance(value, list):
        raise _refused(path, f"JSON that holds {_kind(value)} instead of a list")
    names: list[str] = []
    for place, entry in enumerate(value):
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(name, str) or not name.strip():
            raise _refused(path, f"entry {place} is {_kind(entry)}, without a name")
        if "\0" in name:
            raise _refused(path, f"entry {place} holds a NUL character")
        names.append(name)
    return names


def _of_table(path: Path, text: str, separator: str) -> list[str]:
    try:
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if any(row)]
    except csv.Error as error:
        raise _refused(path, f"no valid table: {error}") from error
    if not lines:
        return []
    header = [cell.strip().casefold() for cell in lines[0]]
    column = next((header.index(name) for name in _NAME_COLUMNS if name in header), None)
    for other, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
        if len(header) == 1 and other != separator and all(other in line[0] for line in lines):
            wanted = "tabs" if separator == "\t" else "commas"
            raise _refused(path, f"columns between {word}, where {path.suffix} files have {wanted}")
    if column is None and len(header) > 1:
        raise _refused(path, f"{len(header)} columns, none of which is headed name: {', '.join(lines[0])[:200]}")
    names = []
    for number, line in enumerate(lines[1:] if column is not None else lines, start=1):
        if len(line) != len(header):
            raise _refused(
                path, f"row {number} has {len(line)} columns, the first {len(header)}; quote names with commas"
            )
        names.append(line[column or 0])
        if not names[-1].strip():
            raise _refused(path, f"row {number} has no name")
    return names


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _refused(path: Path, found: str) -> UsageError:
    return UsageError(
        f"cannot read the class names in {path}",
        expected="a UTF-8 text file with one name per line, a .json list of names, or a .csv file with a column name",
        found=found,
        mend='correct the file, or name the classes themselves: --classes "cat,dog,sky"',
    )
