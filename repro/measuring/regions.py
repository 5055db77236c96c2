"""Region tables: how often the dense features of a CLIP tower name boxes and masks of panoptic sets.

Every row is a tower as it is; what is aligned is made first. Ranks of all segments are kept in the run store's cache
under the address of everything they depend on; nothing is classified twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.configuration.published import find_published
from repro.datasets.panoptic import PanopticSource, get_panoptic, panoptic_fingerprint, read_panoptic
from repro.datasets.vocabulary import first_synonym
from repro.errors import DataError, ReproError, UsageError, check_known, command, known_as
from repro.files import write_json
from repro.hashing import digest
from repro.mends import Missing
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.judging import TOWER, judged_folder
from repro.runs.addresses.places import Place, adopted_of
from repro.runs.assets import Assets
from repro.runs.plan import Plan, Run
from repro.runs.progress import reading_progress
from repro.runs.provenance import provenance
from repro.runs.status import BLOCKED, DONE, FAILED, MISSING, STALE
from repro.towers.kind import TrainingCost
from repro.traces.subject import Subject, taken

if TYPE_CHECKING:
    from repro.metrics.regions.accuracy import Ranks

GROUPS = {"boxes": "Boxes", "masks_thing": "Masks-T", "masks_stuff": "Masks-S"}
TOP = {"top1": 1, "top5": 5}
RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class RegionSettings:
    """``image_size``: side in pixels of the frame images are shown in; ``templates``: prompts, empty for the 63 of
    ViLD. A profile's ``regions`` are values of these."""

    image_size: int = 512
    templates: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RegionSettings:
        """Return the settings of a profile; UsageError for a key that does not exist."""
        known = {f.name for f in dataclasses.fields(cls)}
        check_known("setting of regions", values, known, mend="correct regions in the profile")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


@dataclasses.dataclass(frozen=True)
class RegionCell:
    """A tower on a panoptic set."""

    run: Run
    source: PanopticSource

    @property
    def assets(self) -> Assets:
        return self.run.assets

    @cached_property
    def settings(self) -> RegionSettings:
        return RegionSettings.of(self.run.profile.regions)

    @cached_property
    def missing(self) -> list[Missing]:
        """What must be fetched before it can be computed."""
        needs = self.assets.missing_tower(self.run.row.tower)
        if self.run.profile.synthetic:
            return needs
        root = self.assets.data_root
        if root is None:
            return [*needs, Missing(f"{self.source.id}: no data root named", "--data-root DIR")]
        absent = [path for path in self.source.paths(root) if not path.exists()]
        return needs + [Missing(f"{self.source.id}: {path} is absent", self.source.instructions) for path in absent]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything the ranks depend on."""
        return {
            "tower": self.assets.tower_key(self.run.row.tower),
            "set": self.source.id,
            "data": self._data_key(),
            "settings": dataclasses.asdict(self.settings),
        }

    def _data_key(self) -> str:
        data, root = self.run.profile.data, self.assets.data_root
        if self.run.profile.synthetic:
            from repro.mini.panoptic import panoptic_key
            from repro.mini.synth import MiniSizes

            return panoptic_key(data["seed"], MiniSizes(**data.get("sizes", {})))
        if root is None or not all(path.exists() for path in self.source.paths(root)):
            return "absent"
        with reading_progress(self.source.id) as update:
            return panoptic_fingerprint(*self.source.paths(root), self.assets.store.cache, update)

    @cached_property
    def place(self) -> Place:
        """Where the ranks lie or will lie."""
        base = self.assets.store.cache / "regions" / f"{self.run.row.tower}-{self.source.id}-{digest(self.facts, 10)}"
        return judged_folder(self.run, regions_subject(self.run, self.settings), base, "region.json")

    @property
    def folder(self) -> Path:
        """The folder of the ranks."""
        return self.place.path


@dataclasses.dataclass
class RegionStatus:
    """One cell: ``done``, ``missing``, ``stale`` (as missing; ``error`` says why what is there is not used),
    ``blocked`` (waits for ``needs``) or ``failed`` (``error`` says why)."""

    cell: RegionCell
    status: str
    needs: list[Missing]
    ranks: Ranks | None = None
    error: str | None = None

    @property
    def seed(self) -> int | None:
        """The seed of the alignment the tower comes from; None for a tower that was aligned from nothing."""
        run = self.cell.run
        return int(run.tower.recipe.get("seed", 0)) if self.cell.assets.tower_parts(run.row.tower) else None

    @property
    def training(self) -> TrainingCost | None:
        """What making the tower took; None where it comes from outside, is not made yet, or recorded nothing."""
        return None if self.status == BLOCKED else self.cell.assets.training_cost(self.cell.run.row.tower)

    @property
    def adopted(self) -> str | None:
        """Why and since when ranks, tower or data are used although the code differs; None where it does not."""
        assets, tower = self.cell.assets, self.cell.run.row.tower
        return adopted_of([self.cell.place, assets.data_place, assets.tower_place(tower)])

    def measured(self) -> dict[str, float | None]:
        """Return ``boxes_top1`` .. ``masks_stuff_top5`` as fractions, None where there is no number."""
        if self.ranks is None:
            return {f"{g}_{t}": None for g in GROUPS for t in TOP}
        found = {f"{g}_{t}": self.ranks.accuracy(g, k) for g in GROUPS for t, k in TOP.items()}  # type: ignore[arg-type]
        return {name: value if value == value else None for name, value in found.items()}

    def published(self) -> dict[str, float | None]:
        """Return the paper's percentages under the same keys."""
        values = {}
        for group, heading in GROUPS.items():
            for top in TOP:
                found = find_published(
                    self.cell.run.row.published, f"{self.cell.source.title} {heading}", f"{top}_mean_acc_percent"
                )
                values[f"{group}_{top}"] = found.value if found else None
        return values

    def published_training(self) -> dict[str, float | None]:
        """Return what the paper says of the row's training: ``memory`` in GB per GPU, ``epoch`` in minutes."""
        metrics, selection = {"memory": "memory_gb_per_gpu", "epoch": "minutes_per_epoch"}, self.cell.run.row
        found = {k: find_published(selection.published_training, "", metric) for k, metric in metrics.items()}
        return {key: value.value if value else None for key, value in found.items()}

    def to_json(self, table: str) -> dict[str, Any]:
        """Return one flat object; the keys are an interface and documented in docs/json.md."""
        run, ranks, cost = self.cell.run, self.ranks, self.training
        return {
            "table": table,
            "row": run.row.id,
            "title": run.row.title,
            "tower": run.tower.title,
            "seed": self.seed,
            "set": self.cell.source.id,
            "profile": run.profile.name,
            "status": self.status,
            "missing": [dataclasses.asdict(m) for m in self.needs],
            "error": self.error,
            "images": ranks.images if ranks else None,
            "thing_segments": int(ranks.thing.sum()) if ranks else None,
            "stuff_segments": int((~ranks.thing).sum()) if ranks else None,
            **self.measured(),
            **{f"published_{k}": v for k, v in self.published().items()},
            "train_images": cost.images if cost else None,
            "train_seconds_per_epoch": cost.seconds_per_epoch if cost else None,
            "train_memory_mib": cost.memory_mib if cost else None,
            "train_memory": cost.memory if cost else None,
            "train_device": cost.device if cost else None,
        }


def regions_subject(run: Run, settings: RegionSettings) -> Subject:
    """Return the code that names the regions of the tower of ``run``."""
    roots = (
        "repro.metrics.regions.accuracy:classify_segments",
        "repro.metrics.regions.prompts:category_embeddings",
        TOWER,
        "repro.datasets.panoptic:read_panoptic",
    )
    asked = [dataclasses.asdict(run.tower.spec), dict(run.tower.recipe), dataclasses.asdict(settings)]
    shown = (settings.image_size, settings.templates)
    trace = "repro.traces.towers:regions_trace"
    return Subject(
        "naming regions", roots, asked, lambda: taken(trace, run.assets.untrained_tower(run.row.tower), *shown)
    )


def region_cells(plan: Plan, sets: Sequence[str] | None = None) -> list[RegionCell]:
    """Return one cell per row and panoptic set; UsageError for a set the table does not have."""
    mend = command("repro", "describe", plan.table.name)
    check_known(f"set of {plan.table.name}", sets or (), plan.table.panoptic, mend=mend)
    if not plan.table.panoptic:
        raise UsageError(f"{plan.table.name} names no panoptic set", expected="panoptic = [..] in its file")
    chosen = [get_panoptic(name) for name in sets or plan.table.panoptic]
    return [RegionCell(run, source) for run in plan.runs for source in chosen]


def region_status(plan: Plan, sets: Sequence[str] | None = None) -> list[RegionStatus]:
    """Return the state of every cell now, without computing anything."""
    return [_status(cell) for cell in region_cells(plan, sets)]


def _status(cell: RegionCell) -> RegionStatus:
    if cell.missing:
        return RegionStatus(cell, BLOCKED, cell.missing)
    try:
        folder = cell.folder
    except DataError as error:
        return RegionStatus(cell, FAILED, [], error=str(error))
    if not (folder / "region.json").is_file():
        return RegionStatus(cell, STALE if cell.place.stale else MISSING, [], error=cell.place.stale)
    from repro.metrics.regions.accuracy import Ranks

    return RegionStatus(cell, DONE, [], Ranks.load(folder / "ranks.npz"))


def check_rows(plan: Plan, states: Sequence[RegionStatus], names: Iterable[str | None]) -> None:
    """Raise UsageError for one of ``names`` that is no finished row."""
    finished = {s.cell.run.row.id: s for s in states if s.ranks is not None}
    mend = command("repro", "describe", plan.table.name, "--profile", plan.profile.name)
    for name in filter(None, names):
        known_as(f"finished row of {plan.table.name}", name, finished, mend=mend)


def measure_regions(states: Sequence[RegionStatus], device: str, log: Callable[[str], None]) -> None:
    """Compute every ``missing`` cell; one that fails says why and the others continue.

    Tables share cells: one that another process computes is waited for.
    """
    for state in states:
        if state.status not in (MISSING, STALE):
            continue
        cell = state.cell
        try:
            with cell.assets.store.lock(str(cell.folder.relative_to(cell.assets.store.root)), wait=True):
                meanwhile = _status(cell)
                state.ranks, state.error = meanwhile.ranks, None
                if meanwhile.status != DONE:
                    _compute(state, device, log)
            state.status = DONE
        except ReproError as error:
            state.status, state.error = FAILED, str(error)


def _compute(state: RegionStatus, device: str, log: Callable[[str], None]) -> None:
    """Compute the cell of ``state`` and write it to its folder."""
    cell, folder = state.cell, state.cell.folder
    state.ranks = _measure(cell, device, log)
    state.ranks.save(folder / "ranks.npz")
    subject = regions_subject(cell.run, cell.settings)
    write_json(folder / CODE, cell.assets.code.record(subject, cell.assets.inputs(cell.run.row.tower)))
    write_json(folder / "region.json", {**state.to_json(""), "facts": cell.facts, **provenance(device)})


def _measure(cell: RegionCell, device: str, log: Callable[[str], None]) -> Ranks:
    run = cell.run
    if not cell.assets.tower_ready(run.row.tower):
        log(f"making {run.tower.title} in {cell.assets.tower_folder(run.row.tower)}")
    return classify(cell.assets, run.row.tower, cell.source, run.row.title, device, log)


def classify(
    assets: Assets,
    tower: str,
    source: PanopticSource,
    title: str,
    device: str,
    log: Callable[[str], None],
    first_names: bool = False,
) -> Ranks:
    """Return the ranks of all segments of a panoptic set by the tower called ``tower``, made first if need be.

    A category is called by its whole entry ("bridge, span"), as published, or by the first name of it.
    """
    import torch.nn.functional as F

    from repro.clip.tower import build_tower
    from repro.metrics.regions.accuracy import classify_segments
    from repro.metrics.regions.prompts import VILD63, category_embeddings
    from repro.runs.progress import count_progress

    settings = RegionSettings.of(assets.profile.regions)
    data = read_panoptic(*source.paths(assets.ensure_panoptic(log)))
    built = build_tower(assets.ensure_tower(tower)).to(device)
    log(f"regions of {source.title} by {title}: {len(data.images)} images")
    names = tuple(map(first_synonym, data.names)) if first_names else data.names
    text = category_embeddings(built, names, assets.store.cache / "text", settings.templates or VILD63)
    with count_progress(f"{title} on {source.title}", "image") as update:
        return classify_segments(built, F.normalize(text, dim=-1), data, settings.image_size, update)
