"""Content addresses: digests of plain data and of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest(value: Any, length: int = 12) -> str:
    """The first ``length`` hex digits of SHA-256 over ``value`` as canonical JSON.

    Raises TypeError for values JSON cannot hold: silently hashing their ``repr`` would make addresses unstable.
    """
    payload = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(payload.encode()).hexdigest()[:length]


def plain(value: Any) -> Any:
    """``value`` as it is read again from a JSON file: tuples are lists."""
    return json.loads(json.dumps(value))


def file_digest(path: Path, length: int = 64) -> str:
    """The first ``length`` hex digits of SHA-256 over the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:length]
