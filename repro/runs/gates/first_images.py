"""A method of a reference with its packed weights, evaluated on the first images of the miniature's benchmarks."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.configuration.profiles import Profile, load_profile
from repro.configuration.tables import Row
from repro.datasets.benchmarks import BENCHMARKS, get_benchmark
from repro.datasets.parallel import parallel
from repro.errors import WeightsError
from repro.hardware import cpu_count, free_memory_gib
from repro.hashing import digest, plain
from repro.methods import get_method
from repro.runs.assets import Assets
from repro.runs.gates.packed import RENEWED, fill, read
from repro.runs.plan import Run

GIB = 2
"""Of memory, for a method in a process of its own."""


@dataclasses.dataclass(frozen=True)
class Work:
    """A method: what is recorded of it, its packed file (None: it is not trained), the images of each benchmark.

    ``facts``: ``row``, ``tower``, ``tower_key``, ``options``, ``seed``, ``content`` of the file, ``seconds`` it took.
    """

    method: str
    facts: Mapping[str, Any]
    packed: Path | None
    images: Mapping[str, int]
    profile: str
    runs: Path


@dataclasses.dataclass(frozen=True)
class Measured:
    """A benchmark's mIoU in percent, over ``images``, and a digest of the pixel counts behind it."""

    benchmark: str
    images: int
    miou: float
    counts: str


def series_of(name: str) -> str:
    """Return which pictures of the miniature a benchmark shows: its own series, else that of its folder."""
    own = get_benchmark(name)
    return next(data.drawn for data in (own, *BENCHMARKS.values()) if data.folder == own.folder and data.drawn)


def with_first_images(profile: Profile, images: Mapping[str, int]) -> Profile:
    """Return ``profile`` with no more pictures of each series than these ``images``, which stay what they are.

    A picture follows from the seed and its number, not from how many there are.
    """
    if not profile.synthetic:
        return profile
    most = {"train": 1}
    for name, count in images.items():
        series = series_of(name)
        most[series] = max(count, most.get(series, 1))
    return dataclasses.replace(profile, data={**profile.data, "sizes": {**profile.data.get("sizes", {}), **most}})


def measure_all(
    work: Sequence[Work], progress: Callable[[int, int], None] | None = None
) -> Iterator[tuple[str, list[Measured], float]]:
    """Yield each method with what :func:`measure` says of it: one process per core, the longest work first."""
    work = sorted(work, key=lambda item: -item.facts.get("seconds", 0.0))
    for item in work:
        _prepare(item)
    jobs = max(1, min(cpu_count(), len(work), int(free_memory_gib() // GIB)))
    if progress is not None:
        progress(0, len(work))
    for done, (item, found) in enumerate(zip(work, parallel(measure, work, jobs, chunk=1), strict=True), 1):
        if progress is not None:
            progress(done, len(work))
        yield item.method, *found


def _prepare(work: Work) -> None:
    """Refuse what does not fit, and draw the data and unpack the tower before processes wait for one another."""
    assets, tower = _assets(work), work.facts["tower"]
    if work.packed is not None:
        read(work.packed, work.facts["content"])
    expected, found = work.facts["tower_key"], plain(assets.tower_key(tower))
    if found != expected:
        raise WeightsError(
            f"{work.method} was trained on another tower than {tower} is now",
            expected=expected,
            found=found,
            mend=f"undo the change of the tower, or {RENEWED}",
        )
    assets.ensure_data()
    assets.ensure_tower(tower)


def measure(work: Work) -> tuple[list[Measured], float]:
    """Evaluate on every benchmark and return what comes of it, and the seconds of a core.

    Nothing that a run store keeps of texts is used: what encodes them is checked, too.
    """
    import torch

    from repro.clip.tower import build_tower
    from repro.datasets.layout import prepared_pairs
    from repro.evaluation.evaluate import evaluate
    from repro.methods.build import new_method

    torch.set_num_threads(1)  # as many processes as cores
    begun = time.process_time()
    assets = _assets(work)
    run, root = _run(work, assets), assets.ensure_data()
    method = new_method(run.entry, build_tower(assets.ensure_tower(run.row.tower)), run.options, run.seed)
    if work.packed is not None:
        fill(method, read(work.packed, work.facts["content"]), work.packed)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, count in work.images.items():
            benchmark = get_benchmark(name)
            pairs = prepared_pairs(benchmark, root)[:count]
            result = evaluate(
                method.eval(), benchmark, pairs, assets.profile.protocol, Path(folder, name), progress=False
            )
            counts = digest({key: value.tolist() for key, value in result.counts().arrays().items()})
            found.append(Measured(name, len(pairs), 100 * result.record["miou_gt"], counts))
    return found, time.process_time() - begun


def _assets(work: Work) -> Assets:
    return Assets(with_first_images(load_profile(work.profile), work.images), work.runs, None)


def _run(work: Work, assets: Assets) -> Run:
    """Return the run of the recorded options, whatever the profile says by now."""
    facts, entry = work.facts, get_method(work.method)
    row = Row(facts["row"], entry.title, entry.name, facts["tower"], facts["options"])
    return Run(row, assets.profile, assets.profile.towers[row.tower], entry, facts["seed"], assets)
