"""The interface of a kind of tower: what the harness asks of a kind, and what a kind may ask of the store.

A kind says where the weights of a tower come from. It is found by its name (:mod:`repro.towers.registry`), so that
nothing else in the harness knows one. Nothing here imports torch, and no kind may when it is imported.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from repro.clip.names import HUB_FILES
from repro.clip.spec import TowerSpec
from repro.datasets.benchmarks import get_benchmark

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.mends import Missing
    from repro.traces.subject import Subject

WEIGHTS = HUB_FILES[1]
"""The file of the weights in the folder of a tower that is made here."""
Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called with (steps done, steps in all, figures)."""


@dataclasses.dataclass(frozen=True)
class TowerPlan:
    """One CLIP tower of a profile: its kind, its title in tables, how it is read out, and what its kind is told.

    What ``recipe`` holds is the kind's affair. ``spec`` names model and weights where they come from outside; for a
    tower that is made here it says how the tower is read out.
    """

    kind: str
    title: str
    spec: TowerSpec
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class TowerProfile(Protocol):
    """What a kind may know of a profile."""

    @property
    def name(self) -> str:
        """The name of the profile."""

    @property
    def towers(self) -> Mapping[str, TowerPlan]:
        """Its towers by key."""


class TowerStore(Protocol):
    """What a kind may ask of the store that keeps towers and data; ``tower`` is a key of the profile's towers."""

    @property
    def profile(self) -> TowerProfile:
        """The profile whose towers these are."""

    @property
    def cache(self) -> Path:
        """The folder of what runs share."""

    def data_key(self, set_id: str) -> str:
        """Identify the content of a set."""

    def missing_data(self, benchmark: Benchmark) -> list[Missing]:
        """List what must be fetched or prepared before ``benchmark`` can be used."""

    def ensure_data(self) -> Path:
        """Return the root of the data, drawn first where the profile draws its own."""

    def inputs(self, tower: str | None = None) -> dict[str, str]:
        """Name the made things a piece of work rests on: ``data``, and ``tower`` where it is made here."""

    def tower_key(self, tower: str) -> dict[str, Any]:
        """Identify the weights of a tower."""

    def tower_folder(self, tower: str) -> Path:
        """Return where a tower that is made here is kept."""

    def missing_tower(self, tower: str) -> list[Missing]:
        """List what must be fetched before a tower can be built."""

    def untrained_tower(self, tower: str) -> TowerSpec:
        """Return a tower's architecture with random weights."""


@dataclasses.dataclass(frozen=True)
class Tower:
    """A tower as its kind sees it: its key in the profile, and the store it belongs to."""

    key: str
    store: TowerStore

    @property
    def plan(self) -> TowerPlan:
        """What the profile says of it."""
        return self.store.profile.towers[self.key]


@dataclasses.dataclass(frozen=True)
class Making:
    """How a tower that is made here is made, kept, and found again.

    ``name`` is what its folder is called: a digest of all that is asked of it. ``done`` is the file of the folder that
    is written last, a JSON object. ``subject`` is the code that makes it, ``inputs`` are the names of the made things
    it is made from, ``data`` is the set it learns from ("" for none). ``cost`` is the key of its expected seconds in
    the ``cost`` of a profile, ``space_mib`` what it needs on the disk. ``like`` says whether a ``done`` file of
    version 0.1.0 was written by the same recipe.
    """

    name: str
    done: str
    subject: Subject
    cost: str
    space_mib: int
    like: Callable[[Mapping[str, Any]], bool]
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    data: str = ""


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """What making a tower took: the time of a pass over its ``images``, and the peak of memory on ``device``.

    ``memory`` says what ``memory_mib`` (None: not known) is the peak of: ``allocated`` by torch on a GPU, or
    ``resident`` in the process on a CPU. Both are those of the first process.
    """

    seconds_per_epoch: float
    images: int
    memory_mib: float | None
    memory: str
    device: str


class TowerKind(ABC):
    """One kind of tower. :meth:`identity` must be written; the rest is that of weights that lie in a file.

    A kind that makes its towers writes :meth:`making` and :meth:`make`; place, lock and clean-up are the harness's.
    """

    name: ClassVar[str]
    in_profiles: ClassVar[bool] = True
    """False where only a command makes such a tower, so that no profile may name it."""
    published: ClassVar[bool] = False
    """True where the weights are a published file under ``weights`` of the identity; ``repro doctor`` looks for it."""
    random: ClassVar[bool] = False
    """True where the weights mean nothing; outputs say so."""
    drawn: ClassVar[bool] = False
    """True where the weights know drawn scenes only; predictions say so."""
    takes_changes: ClassVar[bool] = False
    """True where a row of a table may change the recipe (``alignment`` of the row)."""
    premise: ClassVar[str] = ""
    """The file of a made tower that says under ``premise`` whether its parts are what its recipe takes for granted."""

    @abstractmethod
    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return what decides the weights beside kind and spec, as JSON: it enters the address of every run."""

    def parts(self, tower: Tower) -> tuple[str, ...]:
        """Return the keys of the towers it is made from, first the one whose architecture it has."""
        return ()

    def making(self, tower: Tower) -> Making | None:
        """Return how the tower is made here; None for one that comes from outside."""
        return None

    def make(self, tower: Tower, folder: Path, parts: Sequence[TowerSpec], progress: Progress | None) -> None:
        """Make the tower in ``folder`` from ``parts``, which are ready; go on where an earlier attempt ended."""
        raise NotImplementedError(self.name)

    def ready(self, tower: Tower) -> bool:
        """Return whether the tower needs no making (any more)."""
        making = self.making(tower)
        return making is None or (tower.store.tower_folder(tower.key) / making.done).is_file()

    def readings(self, tower: Tower) -> Iterator[tuple[str, Subject]]:
        """Yield names and code of how else it could be made: what the gate on numbers computes besides."""
        return iter(())

    def training_cost(self, tower: Tower) -> TrainingCost | None:
        """Return what making the tower took, where that was recorded."""
        return None

    def missing(self, tower: Tower) -> list[Missing]:
        """List what must be fetched before the tower can be built, each with the way to it."""
        making = self.making(tower)
        if making is None or self.ready(tower):
            return []
        needs = [need for part in self.parts(tower) for need in tower.store.missing_tower(part)]
        return needs + (tower.store.missing_data(get_benchmark(making.data)) if making.data else [])

    def spec(self, tower: Tower) -> TowerSpec:
        """Return the tower to build once it is ready."""
        if self.making(tower) is None:
            return tower.plan.spec
        folder = tower.store.tower_folder(tower.key)
        return dataclasses.replace(tower.plan.spec, model=str(folder), weights=WEIGHTS)

    def untrained(self, tower: Tower) -> TowerSpec:
        """Return its architecture with random weights, for what depends on shapes alone; it need not be ready."""
        return dataclasses.replace(tower.plan.spec, weights=None)

    def folders(self, facts: Mapping[str, Any]) -> str:
        """Return the pattern of folders in the cache's ``clip`` that a tower identified by ``facts`` may lie in.

        ``facts`` are kind, spec and identity as a run keeps them; "" where the model needs no folder.
        """
        return ""
