"""The layers of the house: every arrow points down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from circles import circle_in

import repro

ROOT = Path(repro.__file__).parents[1]
LAYERS = (
    ("repro.cli",),
    ("repro.interop.mmseg", "repro.interop.detectron2"),  # wrap what the API offers; the rest of interop reads files
    ("repro.api", "repro.testing"),
    ("repro.tables", "repro.visit", "repro.rehearsal"),
    ("repro.reports",),
    ("repro.requests",),
    ("repro.measuring",),
    ("repro.runs",),
    ("repro.configuration",),
    ("repro.controls",),
    ("repro.towers",),
    ("repro.checkpoints",),
    ("repro.traces",),
    ("repro.cost", "repro.stats"),
    ("repro.mini", "repro.evaluation"),
    ("repro.training", "repro.metrics"),
    ("repro.captions", "repro.clip", "repro.interop"),
    ("repro.methods",),
    ("repro.datasets", "repro.layers", "repro.launch", "repro.sources"),
    (
        *("repro.announced", "repro.clock", "repro.console", "repro.errors", "repro.files", "repro.hardware"),
        *("repro.hashing", "repro.locks", "repro.mends", "repro.paths", "repro.pickles", "repro.values"),
        *("repro.preemption", "repro.ranks", "repro.runtime"),
    ),
)
"""From the top of the house to its floor; packages of one line do not import one another, but for the floor."""
METHODS = (
    "repro.clip",
    "repro.layers",
    "repro.methods",
    "repro.methods.options",
    "repro.errors",
    "repro.hashing",
    "repro.values",
)
"""All of the harness that a method may know."""
BESIDES = {
    "disa.kinds": "class-level splitting (Table 3, III) reads things and stuff off the vocabularies",
    "baselines.catseg.checkpoint": "names of the released checkpoints are a format of repro.checkpoints",
}
NO_METHODS = "baselines.densevlm"
"""Trains towers, from images; it is no method."""


def modules(*packages: str) -> dict[str, str]:
    """Sources by module."""
    found = {}
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "_configs" not in parts:
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


HOUSE, METHOD_MODULES = modules("repro"), modules("disa", "baselines")


def imports(source: str) -> Iterator[str]:
    """What ``source`` imports anywhere but for annotations alone."""

    def visit(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ImportFrom) and child.module:
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield full if full in HOUSE else child.module
            elif isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
                yield from visit(child)

    yield from visit(ast.parse(source))


def within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def layer(module: str) -> tuple[int, str] | None:
    """How far down ``module`` lies, and its package; None for the package ``repro`` itself."""
    places = [(n, p) for n, row in enumerate(LAYERS) for p in row if within(module, p)]
    return places[0] if places else None


def upward(house: dict[str, str]) -> set[tuple[str, str]]:
    """Imports that point up, or across a line of the floor's house."""
    found = set()
    for module, source in house.items():
        for target in imports(source):
            own, other = layer(module), layer(target)
            if own is None or other is None or own[1] == other[1]:
                continue
            if other[0] < own[0] or (other[0] == own[0] < len(LAYERS) - 1):
                found.add((module, target))
    return found


def test_every_module_has_its_layer() -> None:
    assert [m for m in HOUSE if layer(m) is None] in (["repro", "repro.__main__"], ["repro.__main__", "repro"])


def test_arrows_point_down() -> None:
    assert sorted(upward(HOUSE)) == []


def circle(house: dict[str, str]) -> list[str]:
    """Return one circle of imports, empty where there is none. ``repro`` itself only offers the API, when asked."""
    arrows = {
        m: {t for t in imports(s) if t in house and t not in (m, "repro")} for m, s in house.items() if m != "repro"
    }
    return circle_in(arrows)


def test_imports_run_in_no_circle() -> None:
    assert circle(HOUSE) == []
    assert circle({**HOUSE, "repro.errors": "from repro.files import read_json"})


def test_the_harness_imports_no_method() -> None:
    named = {m: [t for t in imports(s) if t.split(".")[0] in ("disa", "baselines")] for m, s in HOUSE.items()}
    assert {m: t for m, t in named.items() if t} == {}


@pytest.mark.parametrize("module", sorted(m for m in METHOD_MODULES if not within(m, NO_METHODS)))
def test_a_method_knows_clip_layers_and_the_interface_only(module: str) -> None:
    known = {t for t in imports(METHOD_MODULES[module]) if within(t, "repro")}
    others = {t for t in known if not any(within(t, allowed) for allowed in METHODS)}
    assert bool(others) == (module in BESIDES), others


def test_an_arrow_up_or_across_is_noticed() -> None:
    assert upward({"repro.layers.x": "def f():\n    from repro.training import train"})
    assert upward({"repro.mini.x": "import repro.evaluation.infer"})
    assert not upward({"repro.training.x": "from repro.layers import tokens"})
    assert not upward({"repro.files": "from repro.errors import DataError"})
    annotation = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from repro.cli import main"
    assert not upward({"repro.layers.x": annotation})
