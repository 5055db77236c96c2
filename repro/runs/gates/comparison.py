"""The verdict on every cell of a table against its reference (docs/regression-gate.md)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from repro.metrics.counts import Counts
from repro.metrics.seen import class_groups
from repro.runs.gates.reference import (
    CheckRequest,
    Key,
    Reference,
    ReferenceCell,
    counts_path,
    measured_cells,
    percent,
    reference_counts,
    selected,
)
from repro.runs.plan import Plan
from repro.runs.status import CellStatus
from repro.stats import RESAMPLES
from repro.stats.interval import Estimate, finite, holm
from repro.stats.metrics import METRICS, get_metric
from repro.stats.paired import Difference, difference, sample_metrics
from repro.stats.resample import draw_images

OK, WORSE, BETTER, UNCLEAR, OTHER, MISSING, NEW = "ok", "worse", "better", "unclear", "other", "missing", "new"
ALPHA = 0.05


@dataclasses.dataclass
class Verdict:
    """One cell: ``ok`` (within tolerance), ``worse``, ``better``, ``unclear`` (beyond tolerance, but not more than the
    choice of images explains), ``other`` (another protocol or other images: not the same quantity), ``missing`` (not
    computed) or ``new`` (not in the reference). Percent and points."""

    key: Key
    verdict: str
    reference: ReferenceCell | None
    measured: float | None
    paired: Difference | None = None
    p_holm: float = float("nan")

    @property
    def difference(self) -> float | None:
        """Measured minus expected, in points."""
        return None if self.reference is None or self.measured is None else self.measured - self.reference.expected

    def to_json(self) -> dict[str, Any]:
        """Return one flat object; the keys are documented in docs/regression-gate.md."""
        table, row, seed, benchmark = self.key
        interval = self.paired.difference.to_json(100) if self.paired else None
        return {
            "table": table,
            "row": row,
            "seed": seed,
            "benchmark": benchmark,
            "verdict": self.verdict,
            "expected": self.reference.expected if self.reference else None,
            "measured": self.measured,
            "difference": self.difference,
            "tolerance": self.reference.tolerance if self.reference else None,
            "reason": self.reference.reason if self.reference else None,
            "interval": [interval["low"], interval["high"]] if interval else None,
            "p": finite(self.paired.p) if self.paired else None,
            "p_holm": finite(self.p_holm),
        }


def judge(reference: Reference, request: CheckRequest, resamples: int = RESAMPLES) -> list[Verdict]:
    """Judge every cell of the request, those of the reference first; its ``tolerance`` (points) replaces their own.

    Where the counts the reference was taken from are at hand, a difference beyond the tolerance must also be
    significant: paired bootstrap over images, two-sided, corrected after Holm over all cells tested.
    """
    expected, now = selected(reference, request), measured_cells(request)
    verdicts = [_compared(cell, request, now.get(key), resamples) for key, cell in expected.items()]
    tested = [v for v in verdicts if v.paired is not None]
    for verdict, p in zip(tested, holm([v.paired.p for v in tested if v.paired]), strict=True):
        verdict.p_holm = p
        if verdict.verdict in (WORSE, BETTER) and p >= ALPHA:
            verdict.verdict = UNCLEAR
    new = [key for key, (plan, status) in now.items() if key not in expected and percent(plan, status) is not None]
    return verdicts + [Verdict(key, NEW, None, percent(*now[key])) for key in new]


def _compared(
    cell: ReferenceCell, request: CheckRequest, now: tuple[Plan, CellStatus] | None, resamples: int
) -> Verdict:
    if request.tolerance is not None:
        cell = dataclasses.replace(cell, tolerance=request.tolerance, reason="--tolerance")
    measured = percent(*now) if now else None
    if now is None or measured is None:
        return Verdict(cell.id, MISSING, cell, None)
    plan, status = now
    images = status.metrics["num_images"] if status.metrics else None
    if (cell.protocol, cell.images, cell.metric) != (status.cell.protocol_digest, images, plan.table.metric):
        return Verdict(cell.id, OTHER, cell, measured)
    off = measured - cell.expected
    verdict = OK if abs(off) <= cell.tolerance else WORSE if off < 0 else BETTER
    before = reference_counts(cell, request.file, plan) if cell.metric in METRICS else None
    after = Counts.load(counts_path(status.cell)) if before is not None else None
    if before is None or after is None or before.keys != after.keys:
        return Verdict(cell.id, verdict, cell, measured)
    return Verdict(cell.id, verdict, cell, measured, _paired(after, before, cell, status, resamples))


def _paired(after: Counts, before: Counts, cell: ReferenceCell, status: CellStatus, resamples: int) -> Difference:
    if all(np.array_equal(after.arrays()[name], values) for name, values in before.arrays().items()):
        return Difference(Estimate(0.0, 0.0, 0.0), 1.0)
    metric, kinds = get_metric(cell.metric), class_groups(status.cell.benchmark)
    times = draw_images(len(after), resamples)
    both = [[sample_metrics(c, [metric], kinds, times)[metric.name]] for c in (after, before)]
    return difference(*both)
