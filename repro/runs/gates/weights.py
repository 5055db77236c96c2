"""Trained methods on the first images of every benchmark, against committed values: ``repro check --weights``.

The weights are packed (:mod:`repro.runs.gates.packed`) beside the file of values, in a folder of its name.
:mod:`repro.runs.gates.packing` makes both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.errors import UsageError, check_known, command
from repro.files import read_json, write_json
from repro.mends import same_folders
from repro.methods import registry
from repro.paths import DEFAULT_RUNS, WEIGHTS
from repro.runs.gates.first_images import Measured, Work, measure_all
from repro.runs.provenance import package_versions, provenance

FORMAT = 1
TOLERANCE = 0.05
"""Points of mIoU: half a unit of the decimal that is printed."""
SAME, DIFFERS = "same", "differs"
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class WeightsRequest:
    """A check of the packed weights beside the file ``against`` (None: the package's), of ``methods`` alone where some
    are named. ``runs`` keeps data and towers; an update takes the trained runs of ``profile`` from there ("": that of
    the file, else mini)."""

    against: Path | None = None
    methods: Sequence[str] | None = None
    runs: Path = DEFAULT_RUNS
    profile: str = ""

    @property
    def file(self) -> Path:
        """The file of values."""
        return self.against or WEIGHTS

    @property
    def folder(self) -> Path:
        """Where the packed weights lie."""
        return self.file.with_suffix("")

    def renewing(self) -> str:
        """Write the commands that train table 1 and pack it."""
        selection: list[object] = ["--profile", self.profile] if self.profile else []
        selection += ["--methods", ",".join(self.methods)] if self.methods else []
        selection += same_folders(self.runs)
        file = ["--against", self.against] if self.against else []
        return (
            f"{command('repro', 'run', 'table1', *selection)} && "
            f"{command('repro', 'check', '--weights', '--update', *file, *selection)}"
        )


@dataclasses.dataclass(frozen=True)
class WeightsReference:
    """Methods with what is recorded of each (:class:`Work`), and their cells."""

    profile: str
    methods: Mapping[str, Mapping[str, Any]]
    cells: Mapping[str, Sequence[Measured]]
    packages: Mapping[str, str | None]

    def work(self, method: str, folder: Path, runs: Path) -> Work:
        """Return what is to be done for ``method``."""
        facts = self.methods[method]
        images = {cell.benchmark: cell.images for cell in self.cells[method]}
        return Work(method, facts, folder / facts["file"] if facts["file"] else None, images, self.profile, runs)

    def save(self, file: Path) -> None:
        """Write what :meth:`load` reads, with the provenance of this update."""
        raw: dict[str, Any] = {"format": FORMAT, "profile": self.profile, "unit": "percent", "tolerance": TOLERANCE}
        raw["methods"] = {
            name: {**facts, "cells": [dataclasses.asdict(cell) for cell in self.cells[name]]}
            for name, facts in self.methods.items()
        }
        write_json(file, {**raw, "provenance": provenance("cpu")})

    @classmethod
    def load(cls, request: WeightsRequest) -> WeightsReference:
        """Read the file of ``request``; UsageError where it is absent or something else."""
        file = request.file
        if not file.is_file():
            raise UsageError(
                f"there are no packed weights {file}",
                expected="a file written by repro check --weights --update, and weights beside it",
                mend=request.renewing(),
            )
        raw = read_json(file)
        try:
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']}")
            cells = {name: [Measured(**cell) for cell in facts["cells"]] for name, facts in raw["methods"].items()}
            methods = {
                name: {key: value for key, value in facts.items() if key != "cells"}
                for name, facts in raw["methods"].items()
            }
            return cls(raw["profile"], methods, cells, raw["provenance"]["packages"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{file} holds no values of this gate",
                expected=f"format {FORMAT} with profile, methods and provenance",
                found=str(error),
                mend=f"move the file away first: {request.renewing()}",
            ) from error


@dataclasses.dataclass(frozen=True)
class Compared:
    """One cell: ``same`` (within :data:`TOLERANCE`) or ``differs``. Percent and points."""

    method: str
    expected: Measured
    measured: Measured

    @property
    def difference(self) -> float:
        """Measured minus expected, in points."""
        return self.measured.miou - self.expected.miou

    @property
    def verdict(self) -> str:
        same = self.measured.images == self.expected.images and abs(self.difference) <= TOLERANCE
        return SAME if same else DIFFERS

    @property
    def same_counts(self) -> bool:
        """Whether every image has the same counts of pixels, to the last one."""
        return self.measured.counts == self.expected.counts

    def to_json(self) -> dict[str, Any]:
        """Return one flat object; the keys are documented in docs/regression-gate.md."""
        return {
            "method": self.method,
            "benchmark": self.expected.benchmark,
            "images": self.measured.images,
            "expected": self.expected.miou,
            "measured": self.measured.miou,
            "difference": self.difference,
            "same_counts": self.same_counts,
            "verdict": self.verdict,
        }


@dataclasses.dataclass(frozen=True)
class WeightsChecked:
    """What :func:`check_weights` found; ``without`` are installed methods without packed weights."""

    request: WeightsRequest
    cells: tuple[Compared, ...]
    without: tuple[str, ...]
    packages: Mapping[str, tuple[str | None, str | None]]

    @property
    def failed(self) -> list[Compared]:
        """The cells that do not pass."""
        return [c for c in self.cells if c.verdict != SAME]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        head = {"reference": str(self.request.file), "passed": not self.failed, "tolerance": TOLERANCE}
        packages = {name: list(both) for name, both in self.packages.items()}
        rest = {"without": list(self.without), "packages": packages}
        return {**head, **rest, "cells": [c.to_json() for c in self.cells]}


def check_weights(request: WeightsRequest, progress: Progress | None = None) -> WeightsChecked:
    """Evaluate every packed method and compare it with its values.

    Raises UsageError where there are no values or none of a named method, WeightsError for a packed file that is not
    the one the values are of, and for weights that were trained on another tower or do not fit the method.
    """
    reference = WeightsReference.load(request)
    if request.methods:
        check_known("packed method", request.methods, reference.methods, mend=request.renewing())
    asked = [name for name in reference.methods if not request.methods or name in request.methods]
    work = [reference.work(name, request.folder, request.runs) for name in asked]
    found = {name: cells for name, cells, _ in measure_all(work, progress)}
    pairs = [(name, *both) for name in asked for both in zip(reference.cells[name], found[name], strict=True)]
    now = package_versions()
    other = {k: (v, now.get(k)) for k, v in reference.packages.items() if v != now.get(k)}
    without = () if request.methods else tuple(name for name in registry() if name not in reference.methods)
    return WeightsChecked(request, tuple(Compared(*pair) for pair in pairs), without, other)
