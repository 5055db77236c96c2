"""What code and documentation cite of this repository: paths, links and dotted names, and whether they are there."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "baselines", "benchmarks", "configs", "disa", "docs", "repro", "results", "tests")
PACKAGES = ("repro", "baselines", "disa")
FILE_ENDINGS = (
    *(".cfg", ".cff", ".css", ".csv", ".html", ".ini", ".j2", ".json", ".md", ".npz", ".py", ".sh", ".svg", ".tex"),
    *(".toml", ".tsv", ".txt", ".yaml", ".yml"),
)

OUTSIDE = (
    # written by commands
    "config.py",
    "cache/data/*",
    "eval/*",
    "measures/*",
    "runs/*",
    "shards/*",
    "results/mini/*",
    "results/paper/*",
    "results/smoke/*",
    # data sets and files of users
    "annotations/*",
    "annotations_detectron2/*",
    "coco-panoptic/*",
    "ADEChallengeData2016/*",
    "ImageSets/*",
    "my_package/*",
    "my_rooms/*",
    "my_table.py",
    "my_config.py",
    "warm/*",
    "out/*",
    "my_towers.py",
    "own.py",
    ".github/workflows/*",
    # files of other projects
    "setup.py",
    "datasets/prepare_ade20k_pan_seg.py",
    "third_party/model_vpt.py",
)
"""Paths that are cited and are not this repository's."""

_PATH = re.compile(
    r"(?<![\w./~$@<>{}*:%-])"  # not inside another path, a URL, a placeholder or a variable
    r"((?:\.{1,2}/)*[\w.-]+(?:/[\w.*{},-]+)+|[\w-]+\.(?:py|md))"
    r"(?![\w/<({*])"
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROLE = re.compile(r":(?:mod|class|func|meth|data|attr|obj):`~?([\w.]+)`")
_DOTTED = re.compile(r"(?<![\w./`~-])`{0,2}((?:" + "|".join(PACKAGES) + r")(?:\.[A-Za-z_]\w*)+)(?![\w/])")
_IMPORT = re.compile(r"^\s*from ((?:" + "|".join(PACKAGES) + r")[\w.]*) import ([\w, ]+)", re.MULTILINE)


class Citation(NamedTuple):
    """``what`` is cited by ``file`` (from the root) in this line; ``kind``: path, link, role, dotted."""

    file: str
    line: int
    kind: str
    what: str


# -- texts -------------------------------------------------------------------------------------------------------------
@functools.cache
def repository_files() -> frozenset[str]:
    """Every file of the repository from its root, without what tools leave there."""
    found = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*")]
    found += ROOT.iterdir()
    return frozenset(p.relative_to(ROOT).as_posix() for p in found if p.is_file() and "__pycache__" not in p.parts)


def sources() -> list[str]:
    """The files that are searched: code, configurations, documentation, CI."""
    return sorted(f for f in repository_files() if f.endswith((".py", ".md")) or f in ("tox.ini", ".ci/run"))


def prose(file: str, text: str) -> Iterator[tuple[int, str]]:
    """First line and text of each piece: a document whole; comments, docstrings and, but for tests, strings of code."""
    if not file.endswith(".py"):
        yield 1, text
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    tree = ast.parse(text)
    documentation = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (id(node) in documentation or not file.startswith("tests/"))
        ):
            yield node.lineno, node.value


def citations(file: str, text: str) -> list[Citation]:
    """What this text, taken for the content of ``file``, cites."""
    found = []
    for start, piece in prose(file, text):
        named = [("path", m.start(), m.group(1).rstrip(".,")) for m in _PATH.finditer(piece)]
        named += [("role", m.start(), m.group(1)) for m in _ROLE.finditer(piece)]
        named += [("dotted", m.start(), m.group(1)) for m in _DOTTED.finditer(piece) if not m[1].endswith(FILE_ENDINGS)]
        if file.endswith(".md"):
            named += [("link", m.start(), m.group(1)) for m in _LINK.finditer(piece)]
            for m in _IMPORT.finditer(piece):
                named += [("dotted", m.start(1), f"{m.group(1)}.{name.strip()}") for name in m.group(2).split(",")]
        found += [Citation(file, start + piece.count("\n", 0, at), kind, what) for kind, at, what in named]
    return found


# -- paths and links ---------------------------------------------------------------------------------------------------
def is_there(citation: Citation) -> bool:
    """Whether what is cited exists, or is none of this repository's business."""
    check = {"path": _path_is_there, "link": _link_is_there, "role": _role_is_there, "dotted": _dotted_is_there}
    return check[citation.kind](citation)


def missing(cited: Iterable[Citation]) -> list[str]:
    """One line for each citation of something that is not there."""
    return [f"{c.file}:{c.line}: {c.kind} {c.what}" for c in cited if not is_there(c)]


def _path_is_there(citation: Citation) -> bool:
    path = citation.what
    top = path.split("/", 1)[0]
    if "/" in path and not (path.endswith(FILE_ENDINGS) or top in FOLDERS):
        return True  # and/or, and folders of users
    if any(fnmatch(path, known) for known in OUTSIDE):
        return True
    if "/" not in path and not _stands_for_a_name(path):
        return any(f == path or f.endswith(f"/{path}") for f in repository_files())
    return all(_stands_for_a_name(one) or _exists(one, citation.file) for one in _alternatives(path))


def _stands_for_a_name(path: str) -> bool:
    """Whether it is like FILE.py."""
    stem = path.rsplit("/", 1)[-1].split(".")[0]
    return stem.isupper() and stem not in ("README", "CHANGELOG")


def _alternatives(path: str) -> list[str]:
    """a.{b,c} as a.b and a.c."""
    braces = re.search(r"\{([^{}]*)\}", path)
    if braces is None:
        return [path]
    return [
        p for word in braces[1].split(",") for p in _alternatives(path[: braces.start()] + word + path[braces.end() :])
    ]


def _exists(path: str, file: str) -> bool:
    """Whether ``path``, from the root or from the folder of ``file``, is here; one match suffices for a pattern."""
    for base in (ROOT, (ROOT / file).parent):
        where = (base / path).resolve()
        if "*" in path:
            if any(base.glob(path)):
                return True
        elif where.is_relative_to(ROOT) and where.exists():
            return True
    return False


def _link_is_there(citation: Citation) -> bool:
    target, _, anchor = citation.what.partition("#")
    if ":" in target:
        return True  # another site
    where = (ROOT / citation.file).parent / target if target else ROOT / citation.file
    if not where.exists() or ROOT not in where.resolve().parents:
        return False
    return not anchor or anchor in anchors(where.read_text(encoding="utf-8"))


def anchors(markdown: str) -> set[str]:
    """What a link into this document may name: its headings in lower case, blanks as hyphens, without other signs."""
    outside_code = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*$", outside_code, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


# -- dotted names ------------------------------------------------------------------------------------------------------
def _dotted_is_there(citation: Citation) -> bool:
    return citation.what in _entry_points() or resolves(citation.what)


def _role_is_there(citation: Citation) -> bool:
    """A full name, one from the citing file's folder (``.name``), or one of its module or of a class there."""
    if citation.what.split(".")[0] in PACKAGES:
        return resolves(citation.what)
    if citation.what.startswith("."):
        return resolves(citation.file.rpartition("/")[0].replace("/", ".") + citation.what)
    module = citation.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    classes = [n.name for n in _tree(module).body if isinstance(n, ast.ClassDef)]
    return any(resolves(f"{prefix}.{citation.what}") for prefix in (module, *(f"{module}.{c}" for c in classes)))


@functools.cache
def _entry_points() -> frozenset[str]:
    """Groups of entry points are named like modules."""
    return frozenset(re.findall(r'entry-points\."([\w.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")))


def resolves(name: str) -> bool:
    """Whether a dotted name is a module of the packages, or something a module or class of theirs defines."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        module = ".".join(parts[:size])
        if _module_file(module) is not None:
            return _member(module, parts[size:])
    return False


def _module_file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


@functools.cache
def _tree(module: str) -> ast.Module:
    file = _module_file(module)
    return ast.parse(file.read_text(encoding="utf-8") if file is not None and file.is_file() else "")


def _member(module: str, names: list[str], elsewhere: bool = True) -> bool:
    """Whether ``names`` is a chain of members that begins in this module; ``elsewhere``: so for another project's."""
    if not names:
        return True
    for node in ast.walk(_tree(module)):  # imports may stand in functions and conditions
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == names[0] for a in node.names):
            source = node.module or ""
            if source.split(".")[0] not in PACKAGES:
                return elsewhere
            original = next(a.name for a in node.names if (a.asname or a.name) == names[0])
            return resolves(".".join([source, original, *names[1:]]))
    return _defined(module, _tree(module).body, names)


def _defined(module: str, body: list[ast.stmt], names: list[str]) -> bool:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == names[0]:
            return not names[1:] or _in_class(module, node, names[1:])
        if names[0] in _bound(node):
            return True
        inner = [s for part in ("body", "orelse", "finalbody") for s in getattr(node, part, [])]
        if isinstance(node, (ast.If, ast.Try, ast.With)) and _defined(module, inner, names):
            return True
    return False


def _in_class(module: str, node: ast.ClassDef, names: list[str]) -> bool:
    own = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    if names[0] in own or _defined(module, node.body, names):
        return True
    bases = [ast.unparse(base).split("[")[0].split(".") for base in node.bases]
    return any(_member(module, [*base, *names], elsewhere=False) for base in bases)


def _bound(node: ast.stmt) -> set[str]:
    """Names a statement binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)}
