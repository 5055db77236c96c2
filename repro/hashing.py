"""Content addresses: digests of plain data, of files and of the source code that decides a number."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any


def digest(value: Any, length: int = 12) -> str:
    """The first ``length`` hex digits of SHA-256 over ``value`` as canonical JSON.

    Raises TypeError for values JSON cannot hold: silently hashing their ``repr`` would make addresses unstable.
    """
    payload = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(payload.encode()).hexdigest()[:length]


def file_digest(path: Path, length: int = 64) -> str:
    """The first ``length`` hex digits of SHA-256 over the file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:length]


def source_digest(modules: Iterable[str], length: int = 12) -> str:
    """A digest of what the named modules or packages (with all below them) compute.

    Comments, docstrings and formatting do not enter it, so that finished work is not recomputed after an edit that
    cannot change a number.
    """
    return digest(sorted((name, _module_digest(name)) for name in modules), length)


@cache
def _module_digest(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module named {name!r} to take a source digest of")
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations is not None else [origin]
    root = origin.parent
    return digest([(str(f.relative_to(root)), _code_digest(f)) for f in files], 64)


def _code_digest(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _is_bare_string(n)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_bare_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
