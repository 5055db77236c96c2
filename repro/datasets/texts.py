"""Lists, JSON files and the names they hold: read whole or refused, never printed, and kept to their folders.

What a data set's files name is somebody else's word: a name becomes part of a path only after
:func:`plain_name`, and a file that is not what its ending says is described by its first bytes.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from repro.errors import DataError

MAX_NAME = 200
"""Bytes of the longest name: a prepared file adds an ending, and a temporary name while it is written."""
_SHOWN = 80
_HEAD = 4096

_BEGINNINGS = (
    (codecs.BOM_UTF32_LE, "text in UTF-32"),  # begins as UTF-16 does: asked first
    (codecs.BOM_UTF32_BE, "text in UTF-32"),
    (codecs.BOM_UTF16_LE, "text in UTF-16"),
    (codecs.BOM_UTF16_BE, "text in UTF-16"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"PK\x03\x04", "a zip file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ", "an xz file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"MATLAB", "a MATLAB file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def shown(value: object) -> str:
    """Return ``value`` as a message shows it: quoted, on one line, of at most 80 characters."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def kind_of(head: bytes) -> str | None:
    """Return what a file that begins with ``head`` is, in words; None where it may be UTF-8 text."""
    if not head:
        return "an empty file"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text[:1] == b"<":
        return "HTML or XML, such as the page of a download that failed"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even + odd <= len(head) // 8:  # a stray one: the reader says where it is
        return None
    return "text in UTF-16" if max(even, odd) > len(head) // 8 > min(even, odd) else "a binary file"


def check_text(path: Path, kind: str, expected: str, mend: str | None) -> None:
    """Raise DataError, saying what the file is, where its first bytes cannot be UTF-8 text.

    ``kind`` and ``expected`` say what it should be, ``mend`` where it comes from.
    """
    try:
        with path.open("rb") as stream:
            found = kind_of(stream.read(_HEAD))
    except OSError as error:
        raise DataError(f"{path} cannot be read", expected=expected, found=error.strerror, mend=mend) from error
    if found is not None:
        raise DataError(f"{path} is not {kind}", expected=f"{expected}, in UTF-8", found=found, mend=mend)


def read_text(path: Path, kind: str, expected: str, mend: str | None) -> str:
    """Return the UTF-8 text of a file, without a byte order mark; DataError as of :func:`check_text` otherwise."""
    check_text(path, kind, expected, mend)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:  # holds the whole file: neither shown nor kept as the cause
        found = f"byte {error.start:,} is no UTF-8 ({error.reason})"
    except OSError as error:
        found = str(error.strerror)
    raise DataError(f"{path} is not {kind}", expected=f"{expected}, in UTF-8", found=found, mend=mend)


def read_document(path: Path, kind: str, expected: str, mend: str | None) -> dict[str, Any]:
    """Return the JSON object of a file; DataError that says what the file is otherwise, and never shows it."""
    text = read_text(path, kind, expected, mend)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:  # holds the whole text
        found = _damage(text, error)
    except (ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {shown(error)}"
    else:
        if isinstance(value, dict):
            return value
        found = f"a JSON {type(value).__name__}"
    raise DataError(f"{path} is not {kind}", expected=expected, found=found, mend=mend)


def _damage(text: str, error: json.JSONDecodeError) -> str:
    whole = text.rstrip()
    if not whole:
        return "an empty file"
    if whole[0] not in "{[":
        return "text that is no JSON"
    if error.pos >= len(whole) or error.msg.startswith("Unterminated") or whole[-1] not in "}]":
        return f"truncated JSON: it breaks off at byte {len(text.encode('utf-8', 'surrogatepass')):,}"
    byte = len(text[: error.pos].encode("utf-8", "surrogatepass"))
    return f"damaged JSON: {error.msg} at byte {byte:,} (line {error.lineno})"


def read_names(path: Path, mend: str | None) -> list[str]:
    """Return the names of a list file, one per line; DataError naming file, line and entry of a bad one."""
    names = []
    text = read_text(path, "a list of images", "names without ending, one a line", mend)
    for number, line in enumerate(text.split("\n"), start=1):
        names += [plain_name(entry, path, f"line {number}", mend) for entry in line.split()]
    return names


def plain_name(name: object, path: Path, where: str, mend: str | None) -> str:
    """Return ``name``, which ``path`` holds at ``where``, if it can name a file of one folder; DataError otherwise.

    Refused are paths that lead elsewhere, separators of any system, control characters, hidden and empty names.
    """
    if isinstance(name, str) and is_plain(name):
        return name
    raise DataError(
        f"{path}, {where}: {shown(name)} is not the name of a file",
        expected=f"a plain name without separators (/ or \\) or control characters, at most {MAX_NAME} bytes",
        found=_fault(name),
        mend=mend,
    )


def is_plain(name: str) -> bool:
    """Tell whether ``name`` names a visible file of one folder, and nothing outside it, on any system."""
    return (
        name.strip() != ""
        and name.isprintable()
        and not name.startswith(".")
        and "/" not in name
        and "\\" not in name
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME
    )


def _fault(name: object) -> str:
    if not isinstance(name, str):
        return f"a value of type {type(name).__name__}"
    if not name.strip():
        return "an empty name"
    if name.startswith(("/", "\\")):
        return "an absolute path"
    if ".." in name.replace("\\", "/").split("/"):
        return "a path that leads out of its folder"
    if "/" in name or "\\" in name:
        return "a path with folders"
    if not name.isprintable():
        return "control characters"
    return "a hidden name" if name.startswith(".") else f"{len(name.encode()):,} bytes"
