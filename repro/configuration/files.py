"""Configuration files that hold values and nothing else.

The format is mmengine's, which is Python and would run whatever a file says. A profile is passed on like data, so that
every file (and every file it builds on) is first checked to consist of assignments of literals, ``dict(..)``, entries
of earlier values and arithmetic of numbers.
"""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

from repro.errors import UsageError

BASE = "_base_"
_MAX_BYTES = 1 << 20
_PLAIN = (
    ast.Module, ast.Assign, ast.Name, ast.Load, ast.Store, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set,
    ast.keyword, ast.Subscript, ast.UnaryOp, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
)  # fmt: skip


def check_config(path: Path) -> None:
    """Raise UsageError where ``path``, or a file it builds on, is not a file of values."""
    _check(path, ())


def _check(path: Path, above: tuple[Path, ...]) -> None:
    place = path.resolve()
    if place in above:
        raise _unusable(path, f"it builds on itself ({' -> '.join(p.name for p in (*above, place))})")
    tree = _parse(path)
    known = {"True", "False", "None"}
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        for node in ast.walk(statement):
            _refuse_code(path, node, known)
        assert isinstance(statement, ast.Assign)
        known |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    for base in _bases(path, tree):
        _check(path.parent / base, (*above, place))


def _parse(path: Path) -> ast.Module:
    try:
        if not path.is_file():
            raise _unusable(path, "nothing" if not path.exists() else "no file", "an existing file")
        if path.stat().st_size > _MAX_BYTES:
            raise _unusable(path, f"{path.stat().st_size} bytes", "a short text file")
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
        raise _unusable(path, str(error) or type(error).__name__) from error


def _refuse_code(path: Path, node: ast.AST, known: set[str]) -> None:
    found = ""
    if isinstance(node, ast.Call):
        if not (isinstance(node.func, ast.Name) and node.func.id == "dict"):
            found = f"the call {ast.unparse(node)[:60]}"
    elif not isinstance(node, _PLAIN) or (isinstance(node, ast.BinOp) and not _number(node)):
        found = f"{type(node).__name__}: {ast.unparse(node)[:60]}" if hasattr(node, "lineno") else type(node).__name__
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in known | {"dict"}:
        found = f"the unknown name {node.id}"
    if found:
        line = f"line {node.lineno}, " if hasattr(node, "lineno") else ""
        raise _unusable(path, line + found)


def _number(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _number(node.left) and _number(node.right)
    if isinstance(node, ast.UnaryOp):
        return _number(node.operand)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _bases(path: Path, tree: ast.Module) -> list[str]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == BASE for t in statement.targets
        ):
            try:
                value = ast.literal_eval(statement.value)
            except ValueError as error:
                raise _unusable(path, f"{BASE} that is computed") from error
            names = value if isinstance(value, list | tuple) else [value]
            if not all(isinstance(name, str) for name in names):
                raise _unusable(path, f"{BASE} = {value!r}"[:80], f"{BASE} = [files]")
            return [str(name) for name in names]
    return []


def _unusable(
    path: Path, found: str, expected: str = "assignments of values: literals, dict(..), arithmetic"
) -> UsageError:
    return UsageError(
        f"cannot read configuration {path}",
        expected=expected,
        found=found,
        mend="correct the file; configs/profiles/smoke.py shows the form",
    )


def check_fields(value: Any, positive: tuple[str, ...] = ()) -> None:
    """Raise TypeError where a field of the dataclass ``value`` has another type than its default, or is not above 0.

    Only those named in ``positive`` must be. Whole numbers are taken for fractions; truth values are not numbers.
    """
    for field in dataclasses.fields(value):
        found, default = getattr(value, field.name), field.default
        kinds: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
        if type(default) not in kinds:
            continue
        if not isinstance(found, kinds[type(default)]) or (isinstance(found, bool) and not isinstance(default, bool)):
            raise TypeError(f"{field.name} = {found!r}, which is not of type {type(default).__name__}")
        if field.name in positive and getattr(value, field.name) < 1:
            raise TypeError(f"{field.name} = {found!r}, which must be positive")
