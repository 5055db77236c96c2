"""Whether what is stored was made by code that computes what the current code computes.

Beside everything that is made (a run, an evaluation, a tower, drawn data) lies ``code.json``: the source digest
(:mod:`repro.sources`) and the trace (:mod:`repro.traces`) of the code that made it, and the names of the made things
it was made from. While the source digest is the same nothing else is looked at, and nothing heavy is imported. When it
is another one, the trace is taken again (about half a second each, kept by source digest) and compared: where it
agrees, what is stored is used as before and the agreement is written down; where not, it is stale and stays where it
is, and what replaces it gets a folder of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import repro
from repro.errors import ReproError
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.sources import Sources, sources
from repro.sources.digests import Source
from repro.sources.trace import Trace, difference, joined
from repro.traces.subject import Subject

FILE = "code.json"
MADE_BEFORE = "made by version 0.1.0, which kept no trace of its code"
PACKAGE = "repro.traces"
_SHOWN = 3
State = Literal["same", "agrees", "adopted", "stale", "unknown"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The stored thing is used if ``same``, ``agrees`` or ``adopted``; ``reason`` says why it is not, or is adopted."""

    state: State
    reason: str = ""

    @property
    def fits(self) -> bool:
        return self.state in ("same", "agrees", "adopted")


class Code:
    """The current code, and what was found out about it, kept in ``memory``: a folder of the run store's cache, or None
    where nothing is to be kept beyond this process."""

    def __init__(self, memory: Path | None, of: Sources | None = None) -> None:
        self.memory = memory
        self._sources = of or sources(memory / "sources" if memory else None)
        self._traces: dict[str, tuple[Trace | None, str]] = {}

    def source(self, subject: Subject) -> Source:
        """Return the source of ``subject``."""
        return self._sources.source(subject.roots)

    def trace(self, subject: Subject) -> tuple[Trace | None, str]:
        """Return the trace of ``subject`` by the current code, or None and why there is none."""
        if subject.take is None:
            return None, "its source alone decides"
        from repro.runs.provenance import package_versions

        key = digest([self.source(subject).digest, self._tracing(), subject.asked, package_versions()], 20)
        if key not in self._traces:
            if (found := self._remembered(key)) is None:
                found = self._sources.traces.get(key)
                if found is None and _joined():
                    return None, "it is not taken by processes that work together"  # each would wait for the others
                found = found or self._taken(subject)
                if found[0] is not None:
                    self._keep("traces", key, {"what": subject.what, "trace": found[0], "why": ""})
                    self._sources.traces[key] = found
            self._traces[key] = found
        return self._traces[key]

    def _tracing(self) -> str:
        """Return the digest of how traces are taken."""
        if "repro" not in self._sources.project.packages:
            return ""
        roots = [f"{PACKAGE}.{m}:*" for m in ("methods", "towers", "data")]
        found = self._sources.source(roots).definitions
        return digest(sorted(text for key, text in found.items() if key.startswith(f"{PACKAGE}.")), 12)

    def _remembered(self, key: str) -> tuple[Trace | None, str] | None:
        kept = self._kept("traces", key)
        return (kept["trace"], kept["why"]) if isinstance(kept, dict) and {"trace", "why"} <= kept.keys() else None

    def _kept(self, kind: str, name: str) -> Any:
        """Return what was kept under ``name``, None where there is nothing that can be read."""
        if self.memory is None:
            return None
        try:
            return read_json(self.memory / kind / f"{name}.json")
        except (OSError, ReproError):
            return None

    def _may_keep(self) -> bool:
        """Tell whether the store has a cache already: a command that only reads makes none."""
        return self.memory is not None and self.memory.parent.is_dir()

    def _keep(self, kind: str, name: str, value: Any) -> None:
        """Keep ``value``; where the store is only read, finding it out again is only slower."""
        if self._may_keep():
            assert self.memory is not None
            with contextlib.suppress(OSError, ReproError):
                write_json(self.memory / kind / f"{name}.json", value)

    def _taken(self, subject: Subject) -> tuple[Trace | None, str]:
        assert subject.take is not None
        try:
            return joined(subject.take()), ""
        except Exception as error:  # noqa: BLE001  whatever a method does on a small tower: its source then decides
            return None, f"{type(error).__name__}: {error}".splitlines()[0]

    def record(self, subject: Subject, inputs: Mapping[str, str]) -> dict[str, Any]:
        """Return what ``code.json`` says of a thing that the current code makes from the made things ``inputs``."""
        return {"format": 1, "what": subject.what, "made": self._entry(subject, inputs), "taken": []}

    def _entry(self, subject: Subject, inputs: Mapping[str, str]) -> dict[str, Any]:
        from repro.runs.provenance import package_versions

        source = self.source(subject)
        self._sources.keep()
        if self._kept("definitions", source.digest) is None:
            self._keep("definitions", source.digest, source.definitions)
        trace, why = self.trace(subject)
        return {
            "source": source.digest,
            "inputs": dict(inputs),
            "trace": trace,
            "no trace": why,
            "tracing": self._tracing() if trace else "",
            "packages": package_versions(),
            "version": repro.__version__,
            "date": _now(),
        }

    def token(self, subject: Subject) -> str:
        """Return a word for what the current code computes: that of the first source in this store whose trace agrees.

        Caches put it into their keys: it stays while nothing is computed otherwise.
        """
        name = digest([subject.what, subject.roots, subject.asked], 20)
        found = self._kept("tokens", name)
        kept = [e for e in found if {"source", "token"} <= e.keys()] if isinstance(found, list) else []
        source = self.source(subject).digest
        for entry in kept:
            if entry["source"] == source:
                return str(entry["token"])
        trace, _ = self.trace(subject)
        agreeing = next((e for e in kept if trace and e.get("trace") and not difference(e["trace"], trace)), None)
        token = agreeing["token"] if agreeing else source
        kept.append({"source": source, "token": token, "trace": None if agreeing else trace})
        self._keep("tokens", name, kept)
        return str(token)

    def adopt(self, path: Path, subject: Subject, inputs: Mapping[str, str], reason: str) -> None:
        """Write into ``path`` (a ``code.json``, made where it is absent) that its thing is used from now on."""
        kept = _read(path) or {"format": 1, "what": subject.what, "made": None, "taken": []}
        entry = {**self._entry(subject, inputs), "adopted": reason or "taken over by hand"}
        write_json(path, {**kept, "taken": [*kept["taken"], entry]})

    def judge(self, path: Path, subject: Subject, inputs: Mapping[str, str]) -> Verdict:
        """Judge what the current code is to the thing whose ``code.json`` is ``path``, made from ``inputs`` today.

        An agreement is written into the file, so that it is found at once the next time.
        """
        kept = _read(path)
        if kept is None:
            return Verdict("unknown", MADE_BEFORE)
        entries = [e for e in (kept["made"], *kept["taken"]) if e is not None]
        fitting = [e for e in entries if e["inputs"] == dict(inputs)]
        if not fitting:
            return Verdict("stale", _other_inputs(entries[-1]["inputs"], inputs))
        source = self.source(subject).digest
        same = [e for e in fitting if e["source"] == source]
        if same:
            self._renew(path, kept, subject, inputs)
            return _use(same[0], "same")
        traced = [e for e in fitting if e.get("trace")]
        if not traced:
            return Verdict("stale", self._changed(subject, fitting[-1], "it kept no trace"))
        now, why = self.trace(subject)
        if now is None:
            return Verdict("stale", self._changed(subject, traced[-1], why))
        traced = [e for e in traced if e.get("tracing") == self._tracing()] or traced
        gaps = {id(e): difference(e["trace"], now) for e in traced}
        agreeing = next((e for e in traced if not gaps[id(e)]), None)
        if agreeing is None:
            return Verdict("stale", self._changed(subject, traced[-1], "; ".join(gaps[id(traced[-1])][:_SHOWN])))
        self._agree(path, kept, agreeing, source, inputs)
        return _use(agreeing, "agrees")

    def _renew(self, path: Path, kept: dict[str, Any], subject: Subject, inputs: Mapping[str, str]) -> None:
        """Add a trace as it is taken now, where that has changed: the source being the same, it is the thing's."""
        entries = [e for e in (kept["made"], *kept["taken"]) if e is not None]
        traced = [e for e in entries if e.get("trace")]
        if traced and all(e.get("tracing") != self._tracing() for e in traced) and self._may_keep():
            entry = self._entry(subject, inputs)
            adopted = next((e["adopted"] for e in entries if "adopted" in e), None)
            entry |= {"adopted": adopted} if adopted is not None else {}
            with contextlib.suppress(OSError, ReproError):
                write_json(path, {**kept, "taken": [*kept["taken"], entry]})

    def _agree(
        self, path: Path, kept: dict[str, Any], agreeing: dict[str, Any], source: str, inputs: Mapping[str, str]
    ) -> None:
        note = {"source": source, "inputs": dict(inputs), "agrees with": agreeing["source"],
                "version": repro.__version__, "date": _now()}  # fmt: skip
        note |= {"adopted": agreeing["adopted"]} if "adopted" in agreeing else {}
        with contextlib.suppress(OSError, ReproError):  # a store that is only read
            write_json(path, {**kept, "taken": [*kept["taken"], note]})

    def _changed(self, subject: Subject, entry: Mapping[str, Any], how: str) -> str:
        """Say why a thing is stale, and which definitions were rewritten since."""
        names = self.changes(subject, entry["source"])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        since = f"; rewritten since: {', '.join(names[:_SHOWN])}{more}" if names else ""
        packages = _other_packages(entry.get("packages", {}))
        otherwise = bool(entry.get("trace")) and entry.get("tracing") != self._tracing()
        doubt = " (its trace was taken in another way, which may be all of it)" if otherwise else ""
        return f"{subject.what} computes something else now: {how}{doubt}{packages}{since}"

    def changes(self, subject: Subject, since: str) -> list[str]:
        """Return the definitions rewritten since the source digest ``since``; empty where no longer known."""
        then = self._kept("definitions", since)
        return self.source(subject).changes(then) if isinstance(then, dict) else []


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept = read_json(path)
        well = isinstance(kept, dict) and isinstance(kept["taken"], list)
        entries = [kept["made"], *kept["taken"]] if well else []
        well = well and all(e is None or {"source", "inputs"} <= e.keys() for e in entries) and any(entries)
    except (OSError, ReproError, KeyError, TypeError, AttributeError):
        return None
    return kept if well else None


def _use(entry: Mapping[str, Any], state: State) -> Verdict:
    if "adopted" in entry:
        return Verdict("adopted", f"{entry['adopted']} ({entry['date'][:10]})")
    return Verdict(state)


def _other_inputs(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    parts = [k for k in {**then, **now} if then.get(k) != now.get(k)]
    return "made from other things: " + ", ".join(f"{k} {then.get(k)} then, {now.get(k)} now" for k in parts)


def _other_packages(then: Mapping[str, Any]) -> str:
    from repro.runs.provenance import package_versions

    parts = [f"{k} {v} then, {package_versions()[k]} now" for k, v in then.items() if package_versions().get(k) != v]
    return f" (other packages too: {', '.join(parts)})" if parts else ""


def _joined() -> bool:
    """Tell whether this process works together with others (without importing torch to find out)."""
    distributed: Any = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
