"""Single values of a profile replaced by name (``train.lr``, ``protocol.overlap``): what ``--set`` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from repro.configuration.profiles import Profile
from repro.datasets.benchmarks import get_benchmark
from repro.errors import command, unknown_name
from repro.values import converted, type_hints

SECTIONS = ("train", "protocol")
TRAIN_SET = "train_set"


def changed(profile: Profile, changes: Mapping[str, Any]) -> Profile:
    """Return ``profile`` with the values that ``changes`` name replaced, for every method, whatever its overrides say.

    They belong to the address of a run or an evaluation like any value of a profile, and its tables say so. Raises
    UsageError for an unknown name, with the nearest, and for a value of another type or out of bounds.
    """
    mend = command("repro", "describe", profile.name)
    known = {f"{part}.{name}": hint for part in SECTIONS for name, hint in _hints(profile, part).items()}
    made: dict[str, dict[str, Any]] = {part: {} for part in SECTIONS}
    for name, value in changes.items():
        if name == TRAIN_SET:
            profile = dataclasses.replace(profile, train_set=get_benchmark(str(value)).id)
            continue
        if name not in known:
            raise unknown_name("value of a profile", name, [*known, TRAIN_SET], mend=mend)
        part, _, field = name.partition(".")
        made[part][field] = converted(name, value, known[name], mend)
    protocol = dataclasses.replace(profile.protocol, **made["protocol"])
    words = tuple(
        f"{name} = {profile.train_set if name == TRAIN_SET else made[name.partition('.')[0]][name.partition('.')[2]]!r}"
        for name in changes
    )
    new = dataclasses.replace(profile.with_training(made["train"]), protocol=protocol)
    return dataclasses.replace(new, changes=(*profile.changes, *words))


def _hints(profile: Profile, part: str) -> dict[str, Any]:
    """Return the types of the values of a section by name, without the version, which says what a value means."""
    return {name: hint for name, hint in type_hints(type(getattr(profile, part))).items() if name != "version"}
