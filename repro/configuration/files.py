"""Configuration files: Python, of which profiles hold values and nothing else.

The format is that of mmengine's Python files. A profile is passed on like data, so that every file (and every file it
builds on) is first checked to consist of assignments of literals, ``dict(..)``, entries of earlier values and
arithmetic of numbers.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.errors import UsageError, check_known
from repro.paths import CONFIGS

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
        _check(_place(path, base), (*above, place))


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


def _place(path: Path, base: str) -> Path:
    """Return the file that ``path`` builds on: one beside it, or (a name without ``.py``) a profile of the project."""
    if base.endswith(".py"):
        return path.parent / base
    known = sorted(p.stem for p in (CONFIGS / "profiles").glob("*.py"))
    check_known(f"profile that {path} builds on", [base], known, mend="name one of them, or a file beside it")
    return CONFIGS / "profiles" / f"{base}.py"


def read_config(path: Path) -> dict[str, Any]:
    """Run a Python configuration file and return its values, which change those of the files that ``_base_`` names.

    What is not to run as code is checked before (:func:`check_config`). A dictionary changes the entries that it names;
    with ``_delete_=True`` it stands for the whole one before. Raises UsageError for a file that cannot be read or run.
    """
    tree = _parse(path)
    merged: dict[str, Any] = {}
    for base in _bases(path, tree):
        _merge(merged, read_config(_place(path, base)))
    values: dict[str, Any] = {"__file__": str(path)}
    try:
        exec(compile(tree, str(path), "exec"), values)
    except Exception as error:
        raise UsageError(
            f"cannot read configuration {path}", found=f"{type(error).__name__}: {error}", mend="correct the file"
        ) from error
    plain = {k: v for k, v in values.items() if not k.startswith("__") and k != BASE and not _code(v)}
    return _merge(merged, plain)


def _code(value: Any) -> bool:
    return isinstance(value, types.ModuleType | types.FunctionType | type)


def _merge(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Change ``old`` by ``new`` as mmengine merges configurations, and return it."""
    for key, value in new.items():
        if not isinstance(value, dict):
            old[key] = value
            continue
        value = dict(value)
        before = old.get(key)
        whole = value.pop("_delete_", False) or not isinstance(before, dict)
        old[key] = _merge({} if whole else dict(before or {}), value)
    return old


def _unusable(
    path: Path, found: str, expected: str = "assignments of values: literals, dict(..), arithmetic"
) -> UsageError:
    return UsageError(
        f"cannot read configuration {path}",
        expected=expected,
        found=found,
        mend="correct the file; configs/profiles/smoke.py shows the form",
    )
