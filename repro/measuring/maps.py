"""Map tables: how well the maps a trained method offers (saliency, foreground, cosine) find the pixels of each class.

Nothing is trained that Table 1 does not train: runs are shared by content address. Figures of all images are kept in
the run's folder under the address of everything they depend on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import ReproError
from repro.files import write_json
from repro.hashing import digest
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.judging import judged_folder, maps_subject
from repro.runs.addresses.places import Place, adopted_of
from repro.runs.execute import ensure_trained
from repro.runs.plan import Cell, Plan
from repro.runs.provenance import provenance
from repro.runs.status import BLOCKED, DONE, FAILED, MISSING, STALE, adopted, cell_status
from repro.stats import RESAMPLES

if TYPE_CHECKING:
    from repro.evaluation.maps import MapScores
    from repro.mends import Missing

FIGURES = (
    *("saliency_ap", "saliency_best_iou", "foreground_iou", "correlation_ap", "correlation_best_iou", "chance_ap"),
    *("foreground_ap", "foreground_chance_ap", "attention_ap", "attention_best_iou"),
)
KINDS = ("thing", "stuff", "seen", "unseen")
"""Parts of the classes that figures are given of apart."""


@dataclasses.dataclass(frozen=True)
class MapCell:
    """The maps of a run on a benchmark."""

    cell: Cell

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything the figures depend on besides the run."""
        run, benchmark = self.cell.run, self.cell.benchmark
        return {
            "benchmark": benchmark.id,
            "data": run.assets.data_key(benchmark.id),
            "protocol": self.cell.protocol_digest,
        }

    @cached_property
    def place(self) -> Place:
        """Where the figures lie or will lie."""
        base = self.cell.run.place.path / "maps" / f"{self.cell.benchmark.id}-{digest(self.facts, 10)}"
        return judged_folder(self.cell.run, maps_subject(self.cell.run), base, "maps.json")

    @property
    def folder(self) -> Path:
        """The folder of the figures."""
        return self.place.path


@dataclasses.dataclass
class MapStatus:
    """One cell: ``done``, ``missing``, ``stale`` (as missing; ``error`` says why what is there is not used),
    ``blocked`` (waits for ``needs``) or ``failed`` (``error`` says why)."""

    cell: MapCell
    status: str
    needs: Sequence[Missing] = ()
    scores: MapScores | None = None
    error: str | None = None

    @property
    def adopted(self) -> str | None:
        """Why and since when the figures or their run are used although the code differs; None where it does not."""
        return adopted_of([self.cell.place]) or adopted(self.cell.cell)

    def values(self, kind: str | None = None) -> dict[str, tuple[float, float, float] | None]:
        """Return every figure as (value, low, high), fractions with a 95 % bootstrap interval over images, or None."""
        from repro.stats.interval import percentile_interval
        from repro.stats.resample import draw_images

        found: dict[str, tuple[float, float, float] | None] = dict.fromkeys(FIGURES)
        if self.scores is not None:
            times = draw_images(self.scores.images, RESAMPLES)
            for name in FIGURES:
                if not self.scores.has(name):
                    continue
                value = float(self.scores.mean(name, kind)[0])
                if value == value:
                    found[name] = (value, *percentile_interval(self.scores.mean(name, kind, times)))
        return found

    def gain(self, name: str, over: str) -> tuple[float, float, float] | None:
        """Return figure ``name`` minus ``over``, fractions, with a 95 % interval over the same images; None without."""
        from repro.stats.interval import percentile_interval
        from repro.stats.resample import draw_images

        scores = self.scores
        if scores is None or not (scores.has(name) and scores.has(over)):
            return None
        times = draw_images(scores.images, RESAMPLES)
        drawn = scores.mean(name, times=times) - scores.mean(over, times=times)
        return (float(scores.mean(name)[0] - scores.mean(over)[0]), *percentile_interval(drawn))

    def to_json(self, table: str) -> dict[str, Any]:
        """Return one flat object; the keys are an interface and documented in docs/json.md."""
        run, benchmark = self.cell.cell.run, self.cell.cell.benchmark
        figures: dict[str, float | None] = {}
        for kind in (None, *KINDS):
            for name, value in self.values(kind).items():
                if kind and name in ("foreground_ap", "foreground_chance_ap"):
                    continue
                key = f"{name}_{kind}" if kind else name
                figures[key] = value[0] if value else None
                if kind is None:
                    figures |= {f"{key}_low": value[1] if value else None, f"{key}_high": value[2] if value else None}
        return {
            "table": table,
            "row": run.row.id,
            "title": run.row.title,
            "method": run.row.method,
            "tower": run.tower.title,
            "seed": run.seed,
            "run": run.id,
            "benchmark": benchmark.id,
            "profile": run.profile.name,
            "status": self.status,
            "missing": [dataclasses.asdict(m) for m in self.needs],
            "error": self.error,
            "images": self.scores.images if self.scores else None,
            "pairs": int(self.scores.pairs.sum()) if self.scores else None,
            **figures,
        }


def map_status(plan: Plan) -> list[MapStatus]:
    """Return the state of every cell now, without computing anything."""
    return [_status(plan, MapCell(cell)) for cell in plan.cells]


def _status(plan: Plan, cell: MapCell) -> MapStatus:
    found = cell_status(plan, cell.cell)
    if found.status == BLOCKED:
        return MapStatus(cell, BLOCKED, found.needs)
    if not (cell.folder / "maps.json").is_file():
        stale = cell.place.stale or found.stale
        return MapStatus(cell, STALE if stale else MISSING, error=stale)
    from repro.evaluation.maps import MapScores

    return MapStatus(cell, DONE, scores=MapScores.load(cell.folder / "maps.npz"))


def measure_map_table(plan: Plan, states: Sequence[MapStatus], device: str, log: Callable[[str], None]) -> None:
    """Compute every ``missing`` cell, training first what is not trained; one that fails says why, others continue."""
    for run in plan.runs:
        own = [s for s in states if s.cell.cell.run is run and s.status in (MISSING, STALE)]
        if not own:
            continue
        try:
            plan.assets.ensure_data(log)
            method = ensure_trained(plan, run, device, log)
            for state in own:
                with plan.assets.store.lock(run.id):
                    state.scores = _measure(plan, state.cell, method, log)
                    state.scores.save(state.cell.folder / "maps.npz")
                    facts = {**state.to_json(plan.table.name), "facts": state.cell.facts, **provenance(device)}
                    made = run.assets.code.record(maps_subject(run), run.assets.inputs(run.row.tower))
                    write_json(state.cell.folder / CODE, made)
                    write_json(state.cell.folder / "maps.json", facts)
                state.status, state.error = DONE, None
        except ReproError as error:
            for state in own:
                if state.status != DONE:
                    state.status, state.error = FAILED, str(error)


def _measure(plan: Plan, cell: MapCell, method: Any, log: Callable[[str], None]) -> MapScores:
    from repro.clip.tower import keep_text
    from repro.datasets.layout import prepared_pairs
    from repro.evaluation.maps import measure_maps
    from repro.runs.progress import count_progress

    run, benchmark = cell.cell.run, cell.cell.benchmark
    keep_text(method, plan.assets.store.cache / "text")
    log(f"maps of {run.row.title} ({run.tower.title}, seed {run.seed}) on {benchmark.id}")
    plan.assets.compare(benchmark)
    pairs = prepared_pairs(benchmark, plan.assets.ensure_set(benchmark))
    with count_progress(f"{run.row.title} on {benchmark.id}", "image") as update:
        return measure_maps(method, benchmark, pairs, run.profile.protocol, update)
