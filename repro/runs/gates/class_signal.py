"""The check before a training: a backbone whose dense features do not separate classes is refused, with the figure.

Measured once for a tower and its data (:mod:`repro.evaluation.zero_shot`) and kept in the run store's cache. The bar is
the profile's ``zero_shot_bar``, in units of chance; 0 leaves the check out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from repro.errors import WeightsError
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.runs.addresses.judging import TOWER
from repro.runs.plan import train_set
from repro.traces.subject import Subject, taken

if TYPE_CHECKING:
    from repro.evaluation.zero_shot import ClassSignal
    from repro.runs.assets import Assets
    from repro.runs.plan import Run


def check_class_signal(run: Run, device: str, log: Callable[[str], None]) -> None:
    """Raise WeightsError where the tower of ``run`` is no better than chance on the images it would be trained on."""
    if not run.profile.zero_shot_bar:
        return
    if (data := train_set(run.profile)).supervision != "masks":
        log(f"{run.tower.title} is not looked at before the training, since that takes masks: it is on {data.title}")
        return
    signal = measured_signal(run.assets, run.row.tower, device)
    log(f"{run.tower.title}: {signal_text(signal)}")
    iterations = f"{run.train.iterations:,} iterations" if run.train else "a training"
    refuse_without_signal(signal, run.profile.zero_shot_bar, run.tower.title, iterations)


def measured_signal(assets: Assets, tower: str, device: str) -> ClassSignal:
    """Return the class signal of a tower of the profile on the training set, measured if it is not known yet."""
    from repro.evaluation.zero_shot import ClassSignal, class_signal

    data = train_set(assets.profile)
    pairs = assets.ensure_pairs(data, "train")
    spec = assets.ensure_tower(tower)
    made_by = assets.code.token(signal_subject(assets, tower))
    key = digest([assets.tower_key(tower), assets.inputs(tower), assets.data_key(data.id), made_by])
    path = assets.store.cache / "zero_shot" / f"{key}.json"
    if path.is_file():
        return ClassSignal(**read_json(path)["signal"])
    from repro.clip.tower import build_tower
    from repro.runs.progress import count_progress

    with count_progress("class signal of the backbone", "image") as update:
        signal = class_signal(build_tower(spec).to(device), pairs, data.prompt_names(), progress=update)
    write_json(path, {"tower": assets.tower_key(tower), "signal": dataclasses.asdict(signal)})
    return signal


def signal_subject(assets: Assets, tower: str) -> Subject:
    """Return the code that measures the class signal of ``tower``."""
    plan = assets.profile.towers[tower]
    asked = [dataclasses.asdict(plan.spec), dict(plan.recipe)]
    roots = ("repro.evaluation.zero_shot:class_signal", TOWER)
    trace = "repro.traces.towers:class_signal_trace"
    return Subject("the class signal", roots, asked, lambda: taken(trace, assets.untrained_tower(tower)))


def refuse_without_signal(signal: ClassSignal, times_chance: float, title: str, at_stake: str) -> None:
    """Raise WeightsError where ``signal`` does not exceed its bar."""
    bar = signal.bar(times_chance)
    if not times_chance or signal.mean_class > bar:
        return
    raise WeightsError(
        f"the dense features of {title} carry no class signal: {at_stake} would be spent on noise",
        expected=f"a mean accuracy over classes above {100 * bar:.2f} % (chance is {100 * signal.chance:.2f} %; the "
        f"bar is {times_chance:g} times that, or what shuffled texts reach by luck: {100 * signal.shuffled:.2f} %)",
        found=signal_text(signal),
        mend="check model, weights and --dense-residual cls|token (docs/backbones.md); --zero-shot-bar 0 trains on it "
        "all the same",
    )


def signal_text(signal: ClassSignal) -> str:
    """Return the figure in one line."""
    return (
        f"zero-shot mean accuracy over classes {100 * signal.mean_class:.2f} %, {signal.over_chance:.1f} times chance "
        f"({signal.patches} patches, {signal.classes} classes, {signal.images} training images; patches right: "
        f"{100 * signal.top1:.1f} %)"
    )
