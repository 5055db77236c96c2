"""What runs are made from: data (:mod:`repro.runs.data`) and CLIP towers, unpacked or trained when they are needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from repro.clip.spec import TowerSpec
from repro.configuration.profiles import Profile
from repro.files import write_json
from repro.mends import Missing
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.past import renamed, tower_of_past
from repro.runs.addresses.places import Place, settle
from repro.runs.data import Data
from repro.towers.kind import Making, Tower, TowerKind, TrainingCost
from repro.towers.registry import get_kind
from repro.towers.shipped import Shipped, in_place_of, unpack


class Assets(Data):
    """The data and towers of one profile below one runs folder."""

    def __init__(self, profile: Profile, runs_root: Path, data_root: Path | None) -> None:
        super().__init__(profile, runs_root, data_root)
        self._trainings: dict[str, Making | None] = {}

    def inputs(self, tower: str | None = None) -> dict[str, str]:
        """Return the names of the made things that work rests on: drawn data, and ``tower`` if trained here."""
        found = {} if self.data_place is None else {"data": self.data_place.path.name}
        if tower is not None and (place := self.tower_place(tower)) is not None:
            found["tower"] = place.path.name
        return found

    def kind_of(self, tower: str) -> TowerKind:
        """Return the kind of ``tower``. Raises UsageError where it is not installed."""
        return get_kind(self.profile.towers[tower].kind)

    def tower_key(self, tower: str) -> dict[str, Any]:
        """Return what identifies a tower's weights: spec, kind, and what decides them by its kind."""
        plan = self.profile.towers[tower]
        facts = {"spec": dataclasses.asdict(plan.spec), "kind": plan.kind}
        shipped = self.shipped(tower)
        extra = {} if shipped is None else {"shipped": shipped.content}
        return {**facts, **self.kind_of(tower).identity(Tower(tower, self)), **extra}

    def making(self, tower: str) -> Making | None:
        """Return how a tower is made here, unpacked where it is shipped; None for one that comes from outside."""
        shipped = self.shipped(tower)
        return self.training(tower) if shipped is None else shipped.making()

    def training(self, tower: str) -> Making | None:
        """Return how a tower is trained here, even if it is shipped; None for one that comes from outside."""
        if tower not in self._trainings:
            self._trainings[tower] = self.kind_of(tower).making(Tower(tower, self))
        return self._trainings[tower]

    def shipped(self, tower: str) -> Shipped | None:
        """Return the file of the package that spares the training of ``tower``; None where there is none."""
        training = self.training(tower)
        return None if training is None else in_place_of(training)

    def tower_place(self, tower: str) -> Place | None:
        """Return where a tower that is made here lies or will lie; None for one that comes from outside."""
        making = self.making(tower)
        return None if making is None else self._place(making)

    def _place(self, making: Making) -> Place:
        base = self.cache / "clip" / making.name
        return self.remember(
            base.name,
            lambda: settle(
                base,
                lambda path: any((path / name).is_file() for name in (CODE, making.done)),
                lambda path: self.code.judge(path / CODE, making.subject, making.inputs),
                [*renamed(base), *tower_of_past(base.parent, making)],
            ),
        )

    def tower_folder(self, tower: str) -> Path:
        """Return where a tower that is made here is kept; how it is read out (the spec) does not matter."""
        place = self.tower_place(tower)
        return Path(self.tower_spec(tower).model) if place is None else place.path

    def tower_spec(self, tower: str) -> TowerSpec:
        """Return the tower to build once it is ready."""
        return self.kind_of(tower).spec(Tower(tower, self))

    def untrained_tower(self, tower: str) -> TowerSpec:
        """Return the tower with random weights: for counts, times and traces, before anything is made or fetched."""
        return self.kind_of(tower).untrained(Tower(tower, self))

    def tower_ready(self, tower: str) -> bool:
        """Return whether the tower needs no making (any more)."""
        return self.kind_of(tower).ready(Tower(tower, self))

    def training_cost(self, tower: str) -> TrainingCost | None:
        """Return what making a tower took, where that was recorded."""
        return self.kind_of(tower).training_cost(Tower(tower, self))

    def tower_parts(self, tower: str) -> tuple[str, ...]:
        """Return the keys of the towers it is made from, first the one whose architecture it has."""
        return self.kind_of(tower).parts(Tower(tower, self))

    def tower_chain(self, tower: str) -> list[str]:
        """Return the tower and before it those it is made from."""
        return [*(key for part in self.tower_parts(tower) for key in self.tower_chain(part)), tower]

    def towers_to_train(self, tower: str) -> list[str]:
        """Return those of the chain that are trained here: neither what is shipped nor what only that was made of."""
        if self.training(tower) is None or self.shipped(tower) is not None:
            return []
        return [*(key for part in self.tower_parts(tower) for key in self.towers_to_train(part)), tower]

    def missing_tower(self, tower: str) -> list[Missing]:
        """List what must still be fetched before ``tower`` can be built."""
        return self.kind_of(tower).missing(Tower(tower, self))

    def ensure_tower(self, tower: str) -> TowerSpec:
        """Return a tower spec that can be built now, made or unpacked first where it is not there yet."""
        if not self.tower_ready(tower):
            shipped, training = self.shipped(tower), self.training(tower)
            if shipped is not None:
                self._unpack(tower, shipped)
            elif training is not None:
                self.train_tower(tower, training)
            else:
                self.kind_of(tower).make(Tower(tower, self), self.tower_folder(tower), (), None)
        return self.tower_spec(tower)

    def _unpack(self, tower: str, shipped: Shipped) -> None:
        making, folder = shipped.making(), self.tower_folder(tower)
        self.store.check_space(making.space_mib)
        with self.store.lock(str(folder.relative_to(self.store.root)), wait=True):
            write_json(folder / CODE, self.code.record(making.subject, making.inputs))
            unpack(shipped, folder)

    def train_tower(self, tower: str, training: Making) -> Path:
        """Train a tower, even if it is shipped, and return its folder; at once where that is finished."""
        from repro.runs.progress import tower_progress

        folder = self._place(training).path
        if (folder / training.done).is_file():
            return folder
        self.store.check_space(training.space_mib)
        parts = [self.ensure_tower(part) for part in self.tower_parts(tower)]
        if training.data:
            self.ensure_data()
        entry = str(folder.relative_to(self.store.root))
        with self.store.lock(entry, wait=True), tower_progress(self.profile.towers[tower].title) as progress:
            if not (folder / CODE).is_file():
                write_json(folder / CODE, self.code.record(training.subject, training.inputs))
            self.kind_of(tower).make(Tower(tower, self), folder, parts, progress)
        return folder
