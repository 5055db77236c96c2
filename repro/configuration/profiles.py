"""Profiles: which data, towers, sizes and schedule a table is made with (``configs/profiles/*.py``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.clip.spec import TowerSpec
from repro.configuration.files import check_config, read_config
from repro.datasets.protocol import Protocol
from repro.errors import UsageError, command, known_as, unknown_name
from repro.hashing import digest
from repro.paths import CONFIGS
from repro.towers.kind import TowerPlan
from repro.towers.registry import get_kind, tower_kinds
from repro.training.search import Space
from repro.training.settings import TrainSettings
from repro.values import check_values, converted, type_hints

if TYPE_CHECKING:
    from repro.configuration.tables import Row


@dataclasses.dataclass(frozen=True)
class Profile:
    """Everything that turns a table's rows into runs.

    ``data`` is ``{"kind": "synthetic", "seed": .., "sizes": {..}}`` or ``{"kind": "external"}`` (``--data-root``).
    ``methods`` maps method id, then tower key, to options that differ from the method's defaults; ``train_overrides``
    likewise for the schedule. ``cost`` holds measured costs for time estimates, with the hardware they come from.
    ``regions`` are the settings of the measure of regions (repro.measuring.regions). ``zero_shot_bar``: how many
    times better than chance dense features must be before a training, 0 for any (repro.runs.gates.class_signal).
    """

    name: str
    title: str
    comparable: bool
    """True only where the numbers may stand beside the papers' as the same quantity."""
    data: Mapping[str, Any]
    towers: Mapping[str, TowerPlan]
    protocol: Protocol
    train: TrainSettings
    methods: Mapping[str, Mapping[str, Mapping[str, Any]]]
    train_overrides: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...]
    cost: Mapping[str, Any]
    regions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    controls: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings of the controls (repro.measuring.controls) that differ: ``images``, ``steps``."""
    one_run_per_core: bool = False
    """Whether the runs of a table are so small that, without a GPU, they are computed side by side."""
    zero_shot_bar: float = 2.0
    flag_implausible: bool = True
    """False keeps numbers that cannot be a working method's in the means (repro.runs.gates.plausible)."""
    tuned: str = ""
    """How the schedules and loss weights were chosen; a remark under every table of trained rows (docs/tuning.md)."""
    changes: tuple[str, ...] = ()
    """What was replaced for this command (:mod:`repro.configuration.changes`), in words: a remark under its tables."""
    tuning: Space = dataclasses.field(default_factory=Space)
    """What ``repro tune`` searches."""
    train_set: str = "coco-stuff"
    """The set that methods are trained on."""

    @property
    def synthetic(self) -> bool:
        return self.data["kind"] == "synthetic"

    def tower(self, key: str) -> TowerPlan:
        """Return the tower called ``key``; UsageError with suggestions where there is none."""
        mend = command("repro", "describe", self.name)
        return known_as(f"tower of profile {self.name}", key, self.towers, mend=mend)

    def train_settings(self, method: str) -> TrainSettings:
        """Return the schedule of ``method`` in this profile."""
        return dataclasses.replace(self.train, **self.train_overrides.get(method, {}))

    def with_training(self, changes: Mapping[str, Any]) -> Profile:
        """Return the profile with fields of its schedule replaced for every method, whatever its overrides say.

        Raises UsageError for an unknown field, with the nearest, and for a value of another type or out of bounds.
        """
        if not changes:
            return self
        hints, mend = type_hints(TrainSettings), command("repro", "describe", self.name)
        for name in changes:
            if name not in hints:
                raise unknown_name("value of the schedule", name, hints, mend=mend)
        made = {name: converted(f"train.{name}", value, hints[name], mend) for name, value in changes.items()}
        own = {m: {k: v for k, v in o.items() if k not in changes} for m, o in self.train_overrides.items()}
        return dataclasses.replace(self, train=dataclasses.replace(self.train, **made), train_overrides=own)


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the project."""
    return sorted(p.stem for p in (CONFIGS / "profiles").glob("*.py"))


@cache
def load_profile(name: str) -> Profile:
    """Load the profile called ``name``, or the one in the file ``name`` when it ends with ``.py``.

    Raises UsageError for an unknown name (with the nearest), a missing key or an unknown one.
    """
    path = Path(name) if name.endswith(".py") else CONFIGS / "profiles" / f"{name}.py"
    if not path.is_file():
        raise unknown_name("profile", name, profile_names())
    check_config(path)
    raw = read_config(path)
    try:
        profile = Profile(
            name=raw["name"],
            title=raw["title"],
            comparable=raw["comparable"],
            data=raw["data"],
            towers={key: _tower_plan(value) for key, value in raw["towers"].items()},
            protocol=Protocol(**raw["protocol"]),
            train=TrainSettings(**raw["train"]),
            methods=raw.get("methods", {}),
            train_overrides=raw.get("train_overrides", {}),
            seeds=tuple(raw.get("seeds", (0,))),
            cost=raw.get("cost", {}),
            regions=raw.get("regions", {}),
            controls=raw.get("controls", {}),
            one_run_per_core=raw.get("one_run_per_core", False),
            zero_shot_bar=raw.get("zero_shot_bar", 2.0),
            flag_implausible=raw.get("flag_implausible", True),
            tuned=raw.get("tuned", ""),
            tuning=Space(**raw.get("tuning", {})),
            train_set=raw.get("train_set", "coco-stuff"),
        )
        _check(profile)
        return profile
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"profile {path} is not complete or has an unknown key",
            expected="the keys of configs/profiles/mini.py",
            found=repr(error.args[0]) if isinstance(error, KeyError) else str(error),
            mend="compare it with the profiles that come with the project: repro describe mini",
        ) from error


def _check(profile: Profile) -> None:
    """Raise TypeError or UsageError for values that no run could use, before anything is made from them."""
    mend = "correct the profile; configs/profiles/smoke.py shows the form"
    check_values(f"train of profile {profile.name}", profile.train, mend)
    check_values(f"protocol of profile {profile.name}", profile.protocol, mend)
    kinds = [name for name, kind in tower_kinds().items() if kind.in_profiles]
    for key, tower in profile.towers.items():
        if tower.kind not in kinds:
            raise TypeError(f"tower {key} of kind {tower.kind!r}; there are {', '.join(kinds)}")
    if profile.synthetic and not isinstance(profile.data.get("seed"), int):
        raise TypeError(f"data.seed = {profile.data.get('seed')!r}")


def _tower_plan(raw: Mapping[str, Any]) -> TowerPlan:
    return TowerPlan(raw["kind"], raw["title"], TowerSpec(**raw["spec"]), raw.get("recipe", {}))


def with_variants(profile: Profile, rows: Iterable[Row]) -> tuple[Profile, list[Row]]:
    """Return the profile with a tower of its own for each row that changes its tower's recipe, and those rows.

    UsageError for a row that wants to change a tower whose kind takes no changes.
    """
    towers: dict[str, TowerPlan] = dict(profile.towers)
    changed = []
    for row in rows:
        if row.alignment:
            plan = profile.towers[row.tower]
            if not get_kind(plan.kind).takes_changes:
                kinds = [name for name, kind in tower_kinds().items() if kind.takes_changes]
                raise UsageError(
                    f"row {row.id} changes the alignment of tower {row.tower}, which has none",
                    expected=f"a tower of kind {' or '.join(kinds)}",
                    found=plan.kind,
                )
            key = f"{row.tower}-{digest(dict(row.alignment), 6)}"
            towers[key] = dataclasses.replace(plan, recipe={**plan.recipe, **row.alignment})
            row = dataclasses.replace(row, tower=key)
        changed.append(row)
    return dataclasses.replace(profile, towers=towers), changed
