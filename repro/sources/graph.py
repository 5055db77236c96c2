"""The definitions of the project's modules and which names which: read from the files, nothing is imported."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from repro.sources.normal import Normal, is_bare_string, normalise

EFFECTS = "<module>"
"""The definition that holds what a module does when it is imported, besides defining."""


@dataclasses.dataclass
class Module:
    """One file: its definitions by name, and what its imports bring in as (module, name or "" for the module)."""

    name: str
    path: Path
    project: Project

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @cached_property
    def definitions(self) -> dict[str, list[ast.stmt]]:
        """The statements that make up each name; later ones (``NAME += ..``) belong to it too."""
        found: dict[str, list[ast.stmt]] = {}
        for node in self._tree.body:
            if is_bare_string(node) or isinstance(node, (ast.Import, ast.ImportFrom)) or _for_others(node):
                continue
            for name in _defined(node) or [EFFECTS]:
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Name -> (module, name in it), of the imports anywhere in the file."""
        found: dict[str, tuple[str, str]] = {}
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    found[alias.asname or top] = (alias.name if alias.asname else top, "")
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    whole = self.project.file(inner) is not None
                    found[alias.asname or alias.name] = (inner, "") if whole else (base, alias.name)
        return found

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        keep = len(parts) - node.level + (self.path.name == "__init__.py")
        return ".".join([*parts[:keep], *([node.module] if node.module else [])])

    # -- what normalise() asks ------------------------------------------------------------------------------------
    def resolve(self, name: str, attributes: Sequence[str]) -> tuple[str, int] | None:
        """See :class:`repro.sources.normal.Names`."""
        if name in self.definitions:
            return f"{self.name}:{name}", 0
        if name not in self.imports:
            return None
        module, inner = self.imports[name]
        if inner:
            return self.project.find(module, inner) or f"={module}.{inner}", 0
        taken = 0
        while taken < len(attributes) and self.project.file(f"{module}.{attributes[taken]}") is not None:
            module = f"{module}.{attributes[taken]}"
            taken += 1
        if self.project.file(module) is None:
            return f"={module}", taken
        if taken < len(attributes) and (found := self.project.find(module, attributes[taken])):
            return found, taken + 1
        return f"{module}:*", taken

    def files(self, words: Sequence[str]) -> str:
        """See :class:`repro.sources.normal.Names`."""
        here = self.path.parent
        named = {path for word in words if word for path in (here / word, here.parent / word) if path.exists()}
        data = {p for path in named for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file()}
        state = hashlib.sha256()
        for path in sorted(p for p in data if p.suffix not in (".py", ".pyc")):
            state.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return state.hexdigest()[:16] if data else ""

    def root(self, text: str) -> str | None:
        """See :class:`repro.sources.normal.Names`."""
        module, _, name = text.partition(":")
        return self.project.find(module, name)


class Project:
    """The modules of some top-level packages, by the folders they lie in."""

    def __init__(self, packages: Mapping[str, Path]) -> None:
        self.packages = packages
        self._files: dict[str, Path | None] = {}
        self._modules: dict[str, Module] = {}

    def file(self, module: str) -> Path | None:
        """Return the file of ``module``, None for one that is not the project's."""
        if module not in self._files:
            top, *inner = module.split(".")
            path = None
            if top in self.packages:
                folder = self.packages[top].joinpath(*inner)
                both = (folder / "__init__.py", folder.with_suffix(".py") if inner else folder)
                path = next((p for p in both if p.is_file()), None)
            self._files[module] = path
        return self._files[module]

    def module(self, name: str) -> Module:
        """Return the module called ``name``, which must be the project's."""
        if name not in self._modules:
            path = self.file(name)
            if path is None:
                raise ModuleNotFoundError(f"no module {name!r} among {', '.join(self.packages)}")
            self._modules[name] = Module(name, path, self)
        return self._modules[name]

    def find(self, module: str, name: str) -> str | None:
        """Find the definition that ``name`` in ``module`` is, wherever it was imported from; None if not ours."""
        seen = set()
        while self.file(module) is not None and (module, name) not in seen:
            seen.add((module, name))
            own = self.module(module)
            if name in own.definitions:
                return f"{module}:{name}"
            if name not in own.imports:
                return f"{module}.{name}:*" if self.file(f"{module}.{name}") is not None else None
            module, name = own.imports[name]
            if not name:
                return f"{module}:*" if self.file(module) is not None else None
        return None

    def normal(self, key: str) -> Normal:
        """Return the normal text of the definition ``key``; of ``module:*`` references to all the module has."""
        module, _, name = key.partition(":")
        own = self.module(module)
        if name != "*":
            return normalise(own.definitions[name], own, None if name == EFFECTS else name)
        every = Normal()
        for inner in sorted(own.definitions):
            every.refer(f"{module}:{inner}")
        return every


def closure(project: Project, roots: Iterable[str], known: dict[str, Normal]) -> set[str]:
    """Return every definition that is named on the way from ``roots``; ``known`` takes their normal texts."""
    waiting, found = list(roots), set[str]()
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        if key not in known:
            known[key] = project.normal(key)
        waiting += known[key].references
        module = key.partition(":")[0]
        if EFFECTS in project.module(module).definitions:  # whoever names a part imports the whole
            waiting.append(f"{module}:{EFFECTS}")
    return found


def _for_others(node: ast.stmt) -> bool:
    """Tell whether a statement is a block that only a type checker or a command sees, or a list of what is public."""
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    if not isinstance(node, ast.If):
        return False
    test = ast.dump(node.test)
    return "'TYPE_CHECKING'" in test or "'__main__'" in test


def _defined(node: ast.stmt) -> list[str]:
    """Return the names a statement of a module gives a value."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        found = (n for target in targets for n in ast.walk(target))
        return list(dict.fromkeys(n.id for n in found if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)))
    inner = [name for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt) for name in _defined(part)]
    return list(dict.fromkeys(inner))
