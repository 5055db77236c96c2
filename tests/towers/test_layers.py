"""Kinds of towers lie below the store and know nothing of it; the harness knows no kind by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from circles import circle_in

import repro
from repro.towers.registry import tower_kinds

ROOT = Path(repro.__file__).parents[1]
FILES = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in (ROOT / "repro").rglob("*.py")}
SOURCES = {name: p.read_text(encoding="utf-8") for name, p in FILES.items() if "_configs" not in name}
ABOVE = ("repro.runs.", "repro.configuration.", "repro.api.", "repro.cli.", "repro.reports.", "repro.launch.")


def imports(source: str, *, types: bool = False) -> set[str]:
    """Modules that ``source`` imports anywhere, with ``types`` those for annotations too."""
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom) and child.module:
                found.update({child.module, *(f"{child.module}.{alias.name}" for alias in child.names)})
            elif isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            if types or not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
                visit(child)

    visit(ast.parse(source))
    return found


def named_kinds(source: str) -> Iterator[str]:
    """Comparisons in ``source`` of something's kind with the name of a kind of tower, or with a constant ``KIND``."""
    names = {repr(name) for name in tower_kinds()}
    for node in (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Compare)):
        sides = [node.left, *node.comparators]
        if any(ast.unparse(side).endswith((".kind", "['kind']")) for side in sides):
            words = {ast.unparse(inner) for side in sides for inner in ast.walk(side)}
            if words & names or any(word.endswith("KIND") for word in words):
                yield ast.unparse(node)


def circle(sources: Mapping[str, str]) -> list[str]:
    """One circle of imports among ``sources``, empty where there is none."""
    return circle_in({name: imports(text) & sources.keys() for name, text in sources.items()})


def test_a_kind_imports_nothing_that_lies_above_it() -> None:
    towers = {name: text for name, text in SOURCES.items() if name.startswith("repro.towers.")}
    assert len(towers) > 7
    back = {n: {i for i in imports(text, types=True) if f"{i}.".startswith(ABOVE)} for n, text in towers.items()}
    assert {name: found for name, found in back.items() if found} == {}


def test_no_module_but_that_of_a_kind_asks_for_its_name() -> None:
    found = {name: list(named_kinds(text)) for name, text in SOURCES.items() if not name.startswith("repro.towers.")}
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_store_towers_and_tables_import_each_other_in_one_direction() -> None:
    rooms = ("repro.runs.", "repro.configuration.", "repro.towers.")
    assert circle({n: t for n, t in SOURCES.items() if n.startswith(rooms)}) == []


@pytest.mark.parametrize(
    "source",
    ['if plan.kind == "tiny": pass', 'x = tower["kind"] in ("open_clip", "tiny")', "y = plan.kind != aligned.KIND"],
)
def test_a_ladder_is_noticed(source: str) -> None:
    assert list(named_kinds(source))


def test_a_table_of_another_kind_is_none() -> None:
    assert not list(named_kinds('table.kind == "cost" or name == "tiny"'))


def test_a_circle_is_noticed_and_annotations_make_none() -> None:
    below = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from above import x\n"
    assert circle({"above": "import below", "below": below}) == []
    assert circle({"above": "import below", "below": "def f():\n    from above import x"})
