"""What the code computes of fixed inputs, against committed values: ``repro check --numeric``.

The work is that of :mod:`repro.runs.gates.pieces`: the traces by which a store recognises its own code, in float64 and
with a name for every tensor (:func:`repro.traces.watching.portable`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.errors import RunError, UsageError, command
from repro.files import read_json, write_text
from repro.paths import NUMERIC
from repro.runs.gates.pieces import Piece, pieces
from repro.runs.provenance import package_versions
from repro.sources.trace import TOLERANCE, Gap, Trace, gaps

FORMAT = 1
DIGITS = 12
"""Of a committed number: a thousandth of the tolerance."""
KEPT = TOLERANCE / 100
"""What is nearer to its committed value is not written anew: the last digits of another machine."""
SAME, DIFFERS, FAILED, GONE, NEW = "same", "differs", "failed", "gone", "new"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class NumericRequest:
    """A check of numbers against the file ``against`` (None: the committed one), of ``methods`` alone where some are
    named, of the pieces called ``only`` where there are such."""

    against: Path | None = None
    methods: Sequence[str] | None = None
    only: Sequence[str] = ()

    def asks(self, name: str) -> bool:
        """Tell whether the piece called ``name`` is asked for, computed or not."""
        return (not self.only or name in self.only) and (not self.methods or name.split(" ")[0] in self.methods)

    @property
    def file(self) -> Path:
        """The file of committed values."""
        return self.against or NUMERIC

    def command(self, *more: str) -> str:
        """Write the command of this request."""
        words: list[object] = ["--against", self.against] if self.against else []
        words += ["--methods", ",".join(self.methods)] if self.methods else []
        return command("repro", "check", "--numeric", *words, *more)


@dataclasses.dataclass(frozen=True)
class Judged:
    """A piece: ``same``, ``differs`` (in the tensors of ``gaps``), ``failed`` (it raised ``error``), ``gone`` (not
    computed any more) or ``new`` (no committed values)."""

    name: str
    verdict: str
    tensors: int = 0
    gaps: tuple[Gap, ...] = ()
    error: str = ""

    @property
    def first(self) -> str:
        """The first difference, in words; empty where there is none."""
        if self.error:
            return f"{self.name}: {self.error}"
        if not self.gaps:
            return f"{self.name}: not computed any more" if self.verdict == GONE else ""
        gap = self.gaps[0]
        if gap.expected is None or gap.found is None:
            only = "expected" if gap.found is None else "found"
            both = gap.expected is None and gap.found is None
            return f"{self.name} / {gap.name}: " + ("another number of values" if both else f"only {only}")
        relative = f"relative {gap.off:.0e}" if math.isfinite(gap.off) else "another number of values"
        return (
            f"{self.name} / {gap.name}: {gap.expected:.{DIGITS}g} expected, {gap.found:.{DIGITS}g} found ({relative})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return one flat object; the keys are documented in docs/regression-gate.md."""
        differing = [g.name for g in self.gaps]
        return {"piece": self.name, "verdict": self.verdict, "tensors": self.tensors, "differing": differing,
                "first": self.first or None}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NumericChecked:
    """What :func:`check_numeric` found; ``packages`` are those of other versions than the file's: (then, now)."""

    request: NumericRequest
    judged: tuple[Judged, ...]
    packages: Mapping[str, tuple[str | None, str | None]]

    @property
    def failed(self) -> list[Judged]:
        """The pieces that do not pass, in the order they are computed."""
        return [j for j in self.judged if j.verdict in (DIFFERS, FAILED, GONE)]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        first = self.failed[0].first if self.failed else None
        head = {"reference": str(self.request.file), "passed": not self.failed, "first": first}
        packages = {name: list(both) for name, both in self.packages.items()}
        return {**head, "packages": packages, "pieces": [j.to_json() for j in self.judged]}


@dataclasses.dataclass(frozen=True)
class NumericUpdated:
    """What :func:`update_numeric` wrote: how many pieces, and those whose values are not as they were."""

    file: Path
    pieces: int
    changed: tuple[Judged, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        return {"reference": str(self.file), "pieces": self.pieces, "changed": [j.to_json() for j in self.changed]}


def check_numeric(request: NumericRequest, progress: Progress | None = None) -> NumericChecked:
    """Compute every piece and compare it with its committed values.

    Raises UsageError for an unknown method and where there is no file of such values.
    """
    raw = _read(request)
    judged = tuple(j for j, _ in _judged(request, raw["pieces"], progress))
    now = package_versions()
    other = {k: (v, now.get(k)) for k, v in raw["packages"].items() if v != now.get(k)}
    return NumericChecked(request, judged, other)


def update_numeric(request: NumericRequest, progress: Progress | None = None) -> NumericUpdated:
    """Write what is computed now as the committed values; what agrees well stays as it is, to the last digit.

    Raises UsageError for an unknown method and for a file that holds something else, RunError where a piece that was
    computed before cannot be.
    """
    before = _read(request)["pieces"] if request.file.is_file() else {}
    found = list(_judged(request, before, progress))
    changed = tuple(j for j, _ in found if j.verdict != SAME)
    if error := next((j for j in changed if j.verdict == FAILED), None):
        raise RunError(f"{error.first}: nothing was written")
    gone = {j.name for j in changed if j.verdict == GONE}
    kept = {name: trace for name, trace in before.items() if name not in gone}  # what was not asked for, too
    after = {**kept, **{j.name: trace for j, trace in found if trace is not None}}
    _write(request.file, after)
    return NumericUpdated(request.file, len(after), changed)


def _judged(
    request: NumericRequest, before: Mapping[str, Trace], progress: Progress | None
) -> Iterable[tuple[Judged, Trace | None]]:
    """Yield the verdict on each piece and its values: the committed ones where they agree."""
    work = [piece for piece in pieces(request.methods) if request.asks(piece.name)]
    for done, piece in enumerate(work):
        if progress is not None:
            progress(done, len(work))
        yield _judge(piece, before.get(piece.name))
    if progress is not None:
        progress(len(work), len(work))
    there = {piece.name for piece in work}
    for name, trace in before.items():
        if name not in there and request.asks(name):
            yield Judged(name, GONE, len(trace)), None


def _judge(piece: Piece, before: Trace | None) -> tuple[Judged, Trace | None]:
    from repro.traces.watching import portable

    try:
        with portable():
            now = {name: [_rounded(v) for v in values] for name, values in piece.take().items()}
    except Exception as error:  # noqa: BLE001  whatever a method raises: the others are still compared
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return Judged(piece.name, FAILED if before is not None else NEW, 0, (), text), None
    if before is None:
        return Judged(piece.name, NEW, len(now)), now
    found = tuple(gaps(before, now))
    other = {gap.name for gap in gaps(before, now, KEPT)}
    kept = {name: values if name in other else list(before[name]) for name, values in now.items()}
    return Judged(piece.name, DIFFERS if found else SAME, len({**before, **now}), found), kept


def _rounded(value: float) -> float:
    return float(value) if float(value).is_integer() else float(f"{value:.{DIGITS}g}")


def _read(request: NumericRequest) -> dict[str, Any]:
    file = request.file
    if not file.is_file():
        raise UsageError(
            f"there are no committed values {file}",
            expected="a file written by repro check --numeric --update",
            mend=request.command("--update"),
        )
    raw = read_json(file)
    try:
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']}")
        values = {
            name: {tensor: [math.nan if v is None else float(v) for v in numbers] for tensor, numbers in trace.items()}
            for name, trace in raw["pieces"].items()
        }
        return {"packages": dict(raw["packages"]), "pieces": values}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{file} holds no values of this gate",
            expected=f"format {FORMAT} with packages and pieces",
            found=str(error),
            mend="move the file away first: " + request.command("--update"),
        ) from error


def _write(file: Path, found: Mapping[str, Trace]) -> None:
    """Write one line per tensor, so that a review shows which ones changed."""
    head = {"format": FORMAT, "tolerance": TOLERANCE, "packages": package_versions()}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    blocks = []
    for name, trace in found.items():
        tensors = ",\n".join(f"   {json.dumps(k)}: {json.dumps([_plain(v) for v in vs])}" for k, vs in trace.items())
        blocks.append(f"  {json.dumps(name)}: {{\n{tensors}\n  }}")
    write_text(file, "\n".join(["{", *lines, ' "pieces": {', ",\n".join(blocks), " }", "}", ""]))


def _plain(value: float) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else value
