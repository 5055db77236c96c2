"""Region tables over seeds: an aligned tower is made once a seed, a tower as it is has none."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from repro.configuration.profiles import Profile
from repro.configuration.tables import Row, Table
from repro.measuring.regions import GROUPS, RESAMPLES, TOP, RegionStatus
from repro.runs.plan import Plan
from repro.towers.registry import get_kind

if TYPE_CHECKING:
    from repro.stats.paired import Sampled
    from repro.stats.resample import Float64


def with_seeds(table: Table, profile: Profile, seeds: Sequence[int]) -> Table:
    """Return ``table`` with each row of an aligned tower once a seed of its alignment, the other rows as they are."""
    rows: list[Row] = []
    for row in table.rows:
        plan = profile.towers.get(row.tower)
        if plan is None or not get_kind(plan.kind).takes_changes:
            rows.append(row)
            continue
        own = {"seed": 0, **plan.recipe, **row.alignment}["seed"]
        # The recipe's own seed is left unsaid: its tower and its ranks have the addresses they have without seeds.
        others = [dataclasses.replace(row, alignment={**row.alignment, "seed": seed}) for seed in seeds]
        rows += [row if seed == own else other for seed, other in zip(seeds, others, strict=True)]
    return dataclasses.replace(table, rows=tuple(rows))


@dataclasses.dataclass(frozen=True)
class RegionEntry:
    """A row on a panoptic set: the ``states`` of its seeds, of which at least one is asked for."""

    states: tuple[RegionStatus, ...]

    @property
    def first(self) -> RegionStatus:
        """The first seed, for what all share."""
        return self.states[0]

    @property
    def done(self) -> list[RegionStatus]:
        """The seeds that are measured."""
        return [s for s in self.states if s.ranks is not None]

    def values(self) -> dict[str, list[float]]:
        """Return what :meth:`RegionStatus.measured` has of each seed, without those that have no number."""
        found = [s.measured() for s in self.done]
        return {f"{g}_{t}": [v for f in found if (v := f[f"{g}_{t}"]) is not None] for g in GROUPS for t in TOP}

    def mean(self, read: Callable[[RegionStatus], float | None]) -> float | None:
        """Return the mean over seeds of what ``read`` finds; None where it finds nothing."""
        found = [value for s in self.states if (value := read(s)) is not None]
        return statistics.fmean(found) if found else None


def entries(states: Sequence[RegionStatus]) -> list[RegionEntry]:
    """Gather ``states`` by row and set, in their order."""
    groups: dict[tuple[str, str], list[RegionStatus]] = {}
    for state in states:
        groups.setdefault((state.cell.run.row.id, state.cell.source.id), []).append(state)
    return [RegionEntry(tuple(group)) for group in groups.values()]


def pooled(states: Sequence[RegionStatus]) -> list[RegionStatus]:
    """Return one state a row and set, whose ranks are those of all seeds that are measured, for what is drawn.

    Seeds name the same segments, so that every mean of the pooled ranks is the mean over seeds, and a resample of
    images draws all seeds of an image together.
    """
    found = []
    for entry in entries(states):
        parts = [s.ranks for s in entry.done if s.ranks is not None]
        first = entry.done[0] if entry.done else entry.first
        if len(parts) > 1:
            joined = dataclasses.replace(
                parts[0],
                image=np.concatenate([p.image for p in parts]),
                category=np.concatenate([p.category for p in parts]),
                thing=np.concatenate([p.thing for p in parts]),
                box=np.concatenate([p.box for p in parts]),
                mask=np.concatenate([p.mask for p in parts]),
            )
            first = dataclasses.replace(first, ranks=joined)
        found.append(first)
    return found


@dataclasses.dataclass(frozen=True)
class Gain:
    """Accuracy of a row minus that of the tower it was aligned from, fractions with a 95 % interval: over images, with
    several ``seeds`` over seeds and images."""

    row: str
    base: str
    set: str
    group: str
    difference: float
    low: float
    high: float
    seeds: int


def gains(plan: Plan, states: Sequence[RegionStatus], top: str = "top1") -> list[Gain]:
    """Return what alignment is worth: every finished row against the row of the tower its own was aligned from."""
    from repro.stats.paired import difference
    from repro.stats.resample import draw_images

    found: list[Gain] = []
    finished = {(s.cell.run.row.tower, s.cell.source.id): s for s in states if s.ranks is not None}
    for entry in entries(states):
        cell = entry.first.cell
        parts = plan.assets.tower_parts(cell.run.row.tower)
        base = finished.get((parts[0], cell.source.id)) if parts else None
        if not entry.done or base is None or base.ranks is None:
            continue
        times = draw_images(base.ranks.images, RESAMPLES)
        for group in GROUPS:
            start, *own = (_sampled(s, group, top, times) for s in (base, *entry.done))
            value = difference(own, [start] * len(own)).difference
            titles = cell.run.row.title, base.cell.run.row.title
            found.append(Gain(*titles, cell.source.id, group, value.value, value.low, value.high, len(own)))
    return found


def _sampled(state: RegionStatus, group: str, top: str, times: Float64) -> Sampled:
    """Return the accuracy of a measured state with its resamples over images, drawn as ``times`` (images, R) say."""
    from repro.stats.paired import Sampled

    assert state.ranks is not None
    drawn, without = (
        state.ranks.resampled(group, TOP[top], weights)  # type: ignore[arg-type]
        for weights in (times, 1 - np.eye(state.ranks.images))
    )
    return Sampled(state.measured()[f"{group}_{top}"] or 0.0, drawn, without)
