"""A docstring of a function says what the function does and begins with a verb."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import repro

ROOT = Path(repro.__file__).parents[1]
PACKAGES = ("repro", "baselines", "disa")
NO_VERBS = {"What", "How", "Whether", "Why", "Where", "Which", "The", "A", "An"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions that are not properties: those are named like the values they are."""
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and not any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
            yield node


def first_words(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and first word of the docstring of every function that has one."""
    for function in functions(ast.parse(source)):
        words = (ast.get_docstring(function) or "").split()
        if words:
            yield function.body[0].lineno, words[0].rstrip(",:;.")


def test_first_words_leave_properties_and_classes_out() -> None:
    source = '''
class Box:
    """A box."""

    @property
    def side(self):
        """The side."""

    @functools.cached_property
    def area(self):
        """The area."""

    def grow(self):
        """What: grows."""
'''
    assert list(first_words(source)) == [(14, "What")]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_of_functions_begin_with_a_verb(package: str) -> None:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        words = first_words(path.read_text(encoding="utf-8"))
        found += [f"{place}:{line} {word}" for line, word in words if word in NO_VERBS]
    assert not found, "begin with a verb: " + ", ".join(found)
