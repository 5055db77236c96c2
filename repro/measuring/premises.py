"""What a paper takes for granted of its world, measured in the miniature: does CLIP know words, places, and regions?

Pictures and scenes are drawn for the measure alone; no tower was trained on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from repro.datasets.panoptic import PANOPTIC, panoptic_vocabulary
from repro.datasets.vocabulary import first_synonym
from repro.errors import UsageError
from repro.measuring.regions import GROUPS, classify
from repro.mini.synth import MiniSizes
from repro.runs.assets import Assets

STUDENT = "base"
"""The tower of a profile that methods are built on."""
READ_OUT = "value/token"
SCENES = 4
"""Regions are named in so many times the scenes of the profile's ADE20K sets: of those alone a third of the categories
have four regions or fewer."""
SEED = 1
"""What is added to the seed of the profile's data for them, so that they are scenes of no data set."""


@dataclasses.dataclass(frozen=True)
class Premise:
    """One premise: ``value`` was measured, ``least`` is asked (None: nothing is), in the unit that ``what`` says."""

    what: str
    value: float
    least: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is what is asked."""
        return self.least is None or self.value >= self.least


@dataclasses.dataclass(frozen=True)
class Premises:
    """``student`` and ``teacher`` are titles of towers; ``scores`` are all scores by tower key."""

    student: str
    teacher: str
    rows: tuple[Premise, ...]
    scores: dict[str, dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        rows = [{**dataclasses.asdict(row), "holds": row.holds} for row in self.rows]
        return {"student": self.student, "teacher": self.teacher, "premises": rows, "scores": self.scores}


def measure_premises(assets: Assets, device: str, log: Callable[[str], None]) -> Premises:
    """Measure the premises of a profile that draws its own world. Raises UsageError for any other profile.

    The student is the tower methods are built on, the teacher the frozen one that an aligned tower learns from.
    """
    pairs = map(assets.tower_parts, assets.profile.towers)
    teacher = next((parts[1] for parts in pairs if parts[:1] == (STUDENT,)), None)
    if not assets.profile.synthetic or teacher is None or not assets.profile.towers[STUDENT].recipe:
        raise UsageError(
            f"profile {assets.profile.name} has no drawn world whose premises could be measured",
            expected="towers that are trained on drawn scenes, and one aligned with another",
            mend="choose --profile mini",
        )
    scores, scenes = {}, _own_scenes(assets)
    for key in (STUDENT, teacher):
        log(f"measuring {assets.profile.towers[key].title}")
        named = {called: _regions(scenes, key, device, log, called == "regions") for called in ("regions", "entries")}
        scores[key] = {**_scores(assets, key), **named}
    student, other = scores[STUDENT], scores[teacher]
    rows = (*_names(student), *_places(student), *_bias(student), *_words(student), *_gap(student, other))
    towers = assets.profile.towers
    return Premises(towers[STUDENT].title, towers[teacher].title, rows, scores)


def _scores(assets: Assets, key: str) -> dict[str, Any]:
    from repro.mini.clip.model import load
    from repro.mini.clip.scores import score
    from repro.mini.clip.training import TinyClipRecipe

    assets.ensure_tower(key)
    recipe = TinyClipRecipe(**assets.profile.towers[key].recipe)
    return score(load(assets.tower_folder(key), recipe), recipe)


def _own_scenes(assets: Assets) -> Assets:
    """Return the assets of the same profile with scenes drawn for this measure."""
    data = assets.profile.data
    most = SCENES * MiniSizes(**data.get("sizes", {})).ade
    # The other sets are not looked at, but a set without a labelled pixel is refused.
    sizes = {**data.get("sizes", {}), "train": 24, "context": 24, "voc": 24, "ade": most}
    drawn = {**data, "seed": data["seed"] + SEED, "sizes": sizes}
    return Assets(dataclasses.replace(assets.profile, data=drawn), assets.store.root, None)


def _regions(
    assets: Assets, key: str, device: str, log: Callable[[str], None], first_names: bool
) -> dict[str, dict[str, float]]:
    """Return accuracies by set and group, in percent: of the first name of each category, or of whole entries.

    Sets whose entries are single names are left out of the latter: nothing would differ.
    """
    found = {}
    for source in PANOPTIC.values():
        names = panoptic_vocabulary(source.vocabulary).names
        if first_names or any(first_synonym(name) != name for name in names):
            title = assets.profile.towers[key].title
            ranks = classify(assets, key, source, title, device, log, first_names)
            found[source.id] = {group: 100 * ranks.accuracy(group, 1) for group in GROUPS}  # type: ignore[arg-type]
    return found


def _names(student: dict[str, Any]) -> Iterator[Premise]:
    yield Premise("single concepts named, of 136, top-1 %", 100 * student["crop_top1"], 98)
    unlabelled = _without_label()
    hits = [student["crop_hits"][index] for index in unlabelled]
    what = f"the same for the {len(hits)} concepts that no training mask shows"
    yield Premise(what, 100 * sum(hits) / len(hits), 98)


def _without_label() -> list[int]:
    """Return indices of the concepts for which the training set has no class."""
    from repro.datasets.benchmarks import TRAIN_SETS
    from repro.mini.catalogue import concept_labels

    (data_set,) = TRAIN_SETS.values()
    return [index for index, label in enumerate(concept_labels(data_set.prompt_names(), -1)) if label < 0]


def _places(student: dict[str, Any]) -> Iterator[Premise]:
    views = list(student["dense"].items())[:2]  # a scene in the tower's own size and in one and a half times that
    for (view, found), least in zip(views, (60, None), strict=True):
        yield Premise(f"patches named, {view}, top-1 %", 100 * found[READ_OUT]["accuracy"], least)


def _bias(student: dict[str, Any]) -> Iterator[Premise]:
    found = next(iter(student["dense"].values()))[READ_OUT]
    ratio = found["stuff_called_thing"] / max(found["thing_called_stuff"], 1e-9)
    shares = f"{100 * found['stuff_called_thing']:.0f} % / {100 * found['thing_called_stuff']:.0f} %"
    yield Premise(f"foreground bias: stuff called things / things called stuff ({shares}), ratio", ratio, 1.5)


def _words(student: dict[str, Any]) -> Iterator[Premise]:
    yield Premise("single concepts by another of their names, top-1 %", 100 * student["synonym_top1"], 95)
    pairs = student["compositions"]
    chance = f"chance {100 * pairs['chance']:.0f} %"
    yield Premise(f"two things named, pairs that captions hold, top-1 % ({chance})", 100 * pairs["seen"])
    least = 90 * max(pairs["seen"], 2 * pairs["chance"])
    yield Premise("the same for pairs that no caption held (nine tenths of it are asked)", 100 * pairs["unseen"], least)


def _gap(student: dict[str, Any], teacher: dict[str, Any]) -> Iterator[Premise]:
    """Yield the teacher's lead by first names, which is asked, and by whole entries.

    Entries hold words that no caption of this world does ("bridge, span"). What a tower makes of those says
    nothing about regions.
    """
    for called, what, least in (("regions", "", 10.0), ("entries", ", by whole entries", None)):
        for name, own in student[called].items():
            for group, title in GROUPS.items():
                gap = teacher[called][name][group] - own[group]
                shown = f"{title} of {name}{what} ({own[group]:.1f} %)"
                yield Premise(f"teacher above student, {shown}, points", gap, least)
