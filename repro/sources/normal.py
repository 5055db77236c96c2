"""One definition as text, reduced to what can change a number."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

_ROOT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SILENT = frozenset({"log", "print", "info", "debug", "warning"})
_SKIPPED = frozenset({"annotation", "returns", "type_comment", "ctx", "type_params", "kind"})


class Names(Protocol):
    """What the names of a module stand for."""

    def resolve(self, name: str, attributes: Sequence[str]) -> tuple[str, int] | None:
        """Return the definition (``"module:name"``) or outside thing (``"=numpy.sum"``) that ``name.a.b`` begins with,
        and how many of the attributes it takes up; None for a builtin or a local name.
        """
        ...

    def files(self, words: Sequence[str]) -> str:
        """Return a digest of the data files beside the module that ``words`` name, empty where there are none."""
        ...

    def root(self, text: str) -> str | None:
        """Return the definition that the text ``"module:name"`` names, None where there is none."""
        ...


@dataclasses.dataclass
class Normal:
    """The text of a definition in pieces: ``pieces[i]`` stands before the definition ``references[i]``."""

    pieces: list[str] = dataclasses.field(default_factory=lambda: [""])
    references: list[str] = dataclasses.field(default_factory=list)

    def say(self, text: str) -> None:
        """Add text."""
        self.pieces[-1] += text

    def refer(self, key: str) -> None:
        """Add a reference to another definition."""
        self.references.append(key)
        self.pieces.append("")

    def text(self, of: Callable[[str], str]) -> str:
        """Return the whole text with ``of(key)`` in the place of each reference."""
        middle = (f"<{of(key)}>{piece}" for key, piece in zip(self.references, self.pieces[1:], strict=True))
        return self.pieces[0] + "".join(middle)


def normalise(nodes: Sequence[ast.stmt], names: Names, own: str | None) -> Normal:
    """Return the normal text of the statements that make up the definition called ``own``."""
    return _Writer(nodes, names, own).out


class _Writer:
    def __init__(self, nodes: Sequence[ast.stmt], names: Names, own: str | None) -> None:
        self.names, self.own, self.out = names, own, Normal()
        self._private: dict[str, str] = {}
        self._local = set(_bound(nodes)) - ({own} if own else set())
        inside = [n for top in nodes for n in ast.walk(top)]
        # In a class an annotation makes a field; elsewhere it says nothing.
        self._fields = {id(n) for c in inside if isinstance(c, ast.ClassDef) for n in c.body}
        for node in nodes:
            self._write(node)
        if any(isinstance(n, ast.Name) and n.id == "__file__" for n in inside):  # data that are read in
            words = [n.value for n in inside if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            self.out.say(f"files:{names.files(words)}")

    def _write(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)) or is_bare_string(node) or _is_log(node):
            return
        if isinstance(node, ast.AnnAssign) and node.value is not None and id(node) not in self._fields:
            node = ast.Assign(targets=[node.target], value=node.value)
        if isinstance(node, ast.Raise):  # what an error says decides no number
            self.out.say("(Raise)")
        elif isinstance(node, (ast.Name, ast.Attribute)) and (chain := _chain(node)):
            self._chain(*chain)
        elif isinstance(node, ast.Constant):
            self._constant(node.value)
        else:
            self._plain(node)

    def _plain(self, node: ast.AST) -> None:
        self.out.say(f"({type(node).__name__}")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == self.own:
            fields = [(k, v) for k, v in ast.iter_fields(node) if k != "name"]
        else:
            fields = list(ast.iter_fields(node))
        for key, value in fields:
            if key in _SKIPPED or value is None:
                continue
            self.out.say(f" {key}=")
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, ast.AST):
                    self._write(item)
                elif isinstance(item, str):
                    self.out.say(f"{self._called(item)!r},")
                else:
                    self.out.say(f"{item!r},")
        self.out.say(")")

    def _chain(self, name: str, attributes: list[str]) -> None:
        found = self.names.resolve(name, attributes) if name != self.own else None
        if name == self.own:
            self.out.say("(own)")
            rest = attributes
        elif found is None:
            self.out.say(f"({self._called(name)})")
            rest = attributes
        else:
            key, taken = found
            if key.startswith("="):
                self.out.say(f"({key})")
            else:
                self.out.refer(key)
                if name in self._local:  # shadowed somewhere inside: it may be either
                    self.out.say(f"({self._called(name)})")
            rest = attributes[taken:]
        for attribute in rest:
            self.out.say(f".{self._called(attribute)}")

    def _constant(self, value: object) -> None:
        if isinstance(value, str) and _ROOT.fullmatch(value) and (key := self.names.root(value)):
            self.out.refer(key)
        else:
            self.out.say(f"{type(value).__name__}:{value!r},")

    def _called(self, name: str) -> str:
        """Return the name, or which private name of this definition it is, by number."""
        if not name.startswith("_") or name.startswith("__"):
            return name
        return self._private.setdefault(name, f"_{len(self._private)}")


def is_bare_string(node: ast.AST) -> bool:
    """Tell whether the statement is a docstring or another text that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_log(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    called = node.value.func
    name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
    return name in _SILENT and not any(isinstance(n, (ast.NamedExpr, ast.Yield, ast.Await)) for n in ast.walk(node))


def _chain(node: ast.AST) -> tuple[str, list[str]] | None:
    """Return ``a.b.c`` as ("a", ["b", "c"]); None where it does not begin with a name."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, attributes[::-1]) if isinstance(node, ast.Name) else None


def _bound(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield names that are given a value anywhere inside."""
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                yield node.id
            elif isinstance(node, ast.arg):
                yield node.arg
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node.name
