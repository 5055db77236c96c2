"""Trainings that turn one CLIP into a better one, announced as entry points of the group ``repro.alignments``.

Such a recipe is not a segmenter: it takes a tower, a frozen second one and unlabelled images, and leaves the folder of
a tower that any method can be built on (towers of kind ``aligned`` in a profile)::

    [project.entry-points."repro.alignments"]
    densevlm = "baselines.densevlm:ALIGNMENT"
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from repro.announced import announced, load
from repro.errors import known_as, unknown_name
from repro.hashing import plain
from repro.methods.options import option_values

ENTRY_POINT_GROUP = "repro.alignments"
CONFIG, WEIGHTS, FACTS = "open_clip_config.json", "open_clip_pytorch_model.bin", "alignment.json"
"""What an aligned tower's folder holds: open_clip's two files and, written last, what came of the training."""
DEFAULT_PRESET = "paper"
MEND = "correct the recipe of the tower in the profile"


@dataclasses.dataclass(frozen=True)
class Labels:
    """Label maps of the images of an alignment, where they are known: for controls, never for what is learned."""

    files: tuple[Path, ...]
    """One an image, values 0 .. len(names) - 1 or unlabelled."""
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class AlignmentEntry:
    """What the harness knows of an alignment before importing torch.

    ``options`` is a frozen dataclass type whose defaults are the paper's reading; ``presets`` are named sets of other
    values. ``train`` is ``"module:callable"``, called as in :meth:`trainer`. ``trial`` are options that make
    a training of seconds, by which changed code is told from rewritten code (:mod:`repro.traces`); ``brief`` are more
    of them, for the gate on numbers, which has less time and goes through the ``readings``, sets of other options,
    too. ``classes`` is ``"module:callable"`` from options to what else decides the weights, as plain data: names of
    categories. ``later`` are options that came after towers were made, each with the value that means what was done
    before: they are left out of addresses where they have it.
    """

    name: str
    title: str
    paper: str
    options: type
    train: str
    trial: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    brief: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: str = ""
    readings: Sequence[Mapping[str, Any]] = ()
    presets: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    later: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def make_options(self, values: Mapping[str, Any]) -> Any:
        """Make options with ``values`` over the preset they name (``preset``, default: the paper's reading).

        UsageError for an unknown preset or option, and for a value of the wrong type.
        """
        given = dict(values)
        preset = given.pop("preset", DEFAULT_PRESET)
        known = {DEFAULT_PRESET: {}, **self.presets}
        if not isinstance(preset, str) or preset not in known:
            raise unknown_name(f"preset of {self.name}", str(preset), known, mend=MEND)
        given = option_values(f"alignment {self.name}", self.options, given, mend=MEND)
        return self.options(**{**known[preset], **given})

    def values(self, options: Any) -> dict[str, Any]:
        """Return ``options`` as JSON for an address: without those of ``later`` that change nothing."""
        values = plain(dataclasses.asdict(options))
        return {k: v for k, v in values.items() if k not in self.later or v != self.later[k]}

    def class_facts(self, options: Any) -> Any:
        """Return what ``classes`` says of ``options``, as plain data; None where it is not named."""
        return load(self.classes)(options) if self.classes else None

    def trainer(self) -> Callable[..., Any]:
        """Return the function that trains (imports torch): ``train(base, powerful, options, images, folder, *, seed,
        device, cache, progress, labels)`` with two TowerSpec, image files, the tower's folder, :class:`Labels` or None.
        """
        train: Callable[..., Any] = load(self.train)
        return train


@cache
def alignments() -> dict[str, AlignmentEntry]:
    """Return all installed alignments by id."""
    return {entry.name: entry for entry in announced(ENTRY_POINT_GROUP, AlignmentEntry).values()}


def get_alignment(name: str) -> AlignmentEntry:
    """Return the alignment called ``name``; UsageError with suggestions where there is none."""
    return known_as("alignment", name, alignments(), mend=MEND)
