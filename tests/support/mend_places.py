"""Where the project gives ways out of an error (``mend``), which tests follow them, and whether they were reached."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import repro
from repro.errors import ReproError

ROOT = Path(repro.__file__).parents[1]
PACKAGES = ("repro", "baselines", "disa")
HOME = "repro/errors.py"
"""Where the family of errors itself is written."""
SUGGESTING = ("unknown_name", "check_known", "known_as")
"""Functions of it that give a mend of their own where they are handed none."""
_PLACE = re.compile(r"(?:repro|baselines|disa)[\w.]*:[\w.<>]+(?:#\d+)?")


@dataclass(frozen=True)
class Place:
    """Lines of a file that give a mend: ``module:function``, with a number where a function gives several."""

    name: str
    file: str
    first: int
    last: int


def takers(trees: Iterable[ast.AST]) -> dict[str, int]:
    """Names of functions and dataclasses that take a mend, and at which position.

    A function that makes the text of one (``.._mend``) is none of them.
    """
    found: dict[str, int] = {}
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef) and not node.name.endswith("_mend"):
            names = [a.arg for a in node.args.args]
        elif isinstance(node, ast.ClassDef):
            names = [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
        else:
            continue
        if "mend" in names:
            found[node.name] = names.index("mend")
    return found


def _gives(node: ast.AST, positions: dict[str, int]) -> bool:
    """Whether ``node`` makes a mend, or hands one to something that keeps it."""
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Attribute) and t.attr == "mend" for t in node.targets)
    if not isinstance(node, ast.Call):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name in SUGGESTING or any(k.arg == "mend" and ast.unparse(k.value) != "''" for k in node.keywords):
        return True
    position = positions.get(name)
    if position is None or position >= len(node.args):
        return False
    given = node.args[position]
    return getattr(given, "id", getattr(given, "attr", None)) != "mend"  # one that is handed on is no new one


def places_of(source: str, file: str, positions: dict[str, int] | None = None) -> list[Place]:
    """All places of one module, in order."""
    tree = ast.parse(source)
    positions = takers([tree]) if positions is None else positions
    found: list[tuple[str, ast.AST]] = []

    def visit(node: ast.AST, inside: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.FunctionDef | ast.ClassDef)
            if _gives(child, positions):
                found.append((".".join(inside) or "<module>", child))
            visit(child, (*inside, child.name) if named else inside)

    visit(tree, ())
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    several, numbers = Counter(name for name, _ in found), defaultdict[str, int](int)
    result = []
    for name, node in found:
        numbers[name] += 1
        number = f"#{numbers[name]}" if several[name] > 1 else ""
        result.append(Place(f"{module}:{name}{number}", file, node.lineno, node.end_lineno or node.lineno))  # type: ignore[attr-defined]
    return result


@cache
def all_places() -> dict[str, Place]:
    """Every place of the project that gives a mend, by name."""
    files = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]
    sources = {str(p.relative_to(ROOT)): p.read_text() for p in files}
    positions = takers(map(ast.parse, sources.values()))
    del sources[HOME]
    return {p.name: p for file, source in sources.items() for p in places_of(source, file, positions)}


def followed(source: str) -> Iterator[str]:
    """The places that ``source`` names as followed: strings in calls of ``follows`` and ``way``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "follows",
            "way",
        ):
            for inner in node.args:
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and _PLACE.fullmatch(inner.value):
                    yield inner.value


@contextmanager
def reached() -> Iterator[set[tuple[str, int]]]:
    """Collect (file, line) of all that was on the way to a mend that was given meanwhile."""
    from repro.datasets.verify.report import Problem
    from repro.mends import Missing

    lines: set[tuple[str, int]] = set()

    def note() -> None:
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename.startswith(f"{ROOT}/"):
                lines.add((str(Path(frame.f_code.co_filename).relative_to(ROOT)), frame.f_lineno))
            frame = frame.f_back  # type: ignore[assignment]

    def set_attribute(self: Any, name: str, value: Any) -> None:
        if name == "mend":
            note()
        Exception.__setattr__(self, name, value)

    def noting(made: Any) -> Any:
        def init(self: Any, *given: Any, **named: Any) -> None:
            note()
            made(self, *given, **named)

        return init

    with (
        mock.patch.object(ReproError, "__setattr__", set_attribute),
        mock.patch.object(Problem, "__init__", noting(Problem.__init__)),
        mock.patch.object(Missing, "__init__", noting(Missing.__init__)),
    ):
        yield lines


def not_reached(names: Iterable[str], lines: set[tuple[str, int]]) -> list[str]:
    """Those of ``names`` whose lines are not among ``lines``."""
    places = all_places()
    return [n for n in names if n not in places or not any(_covers(places[n], *at) for at in lines)]


def _covers(place: Place, file: str, line: int) -> bool:
    return file == place.file and place.first <= line <= place.last
