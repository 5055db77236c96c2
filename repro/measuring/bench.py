"""What ``repro bench`` measures: the points that a profile, methods, towers and lists of sizes make."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.configuration.profiles import Profile, load_profile
from repro.console import log
from repro.cost import bench
from repro.errors import UsageError
from repro.hardware import choose_device
from repro.methods import get_method, registry
from repro.paths import DEFAULT_RESULTS, DEFAULT_RUNS
from repro.runs.assets import Assets

if TYPE_CHECKING:
    from repro.methods.speedups import Speedups

TOWERS = ("base", "large")


@dataclasses.dataclass(frozen=True)
class BenchRequest:
    """Timings of ``methods`` (None: all) on ``towers`` of a profile (None: base, and large where there is one).

    Every combination of ``classes``, ``sizes`` (None: the canvas) and ``batches`` is measured, with ``curves`` one axis
    at a time. ``repeat`` and ``warmup`` None: 50 and 10 on a GPU, 10 and 3 on a CPU. ``count``: GFLOPs too;
    ``stages``: stages apart. ``results`` is the folder of the files (None: ./results/<profile>), ``name`` theirs.
    """

    profile: str = "mini"
    methods: Sequence[str] | None = None
    towers: Sequence[str] | None = None
    classes: Sequence[int] = (150,)
    sizes: Sequence[int] | None = None
    batches: Sequence[int] = (1,)
    curves: bool = False
    repeat: int | None = None
    warmup: int | None = None
    count: bool = True
    stages: bool = True
    speedups: Speedups | None = None
    runs: Path = DEFAULT_RUNS
    results: Path | None = None
    name: str = "bench"
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.results or DEFAULT_RESULTS / Path(self.profile).stem


def measure_bench(request: BenchRequest) -> Iterator[dict[str, Any]]:
    """Return the records of the request, each measured when it is asked for; a failed one says so.

    Raises UsageError for unknown names, sizes that windows do not tile and too few runs, ResourceError for what the
    device cannot do, all before anything is measured.
    """
    from repro.cost.timing import default_runs
    from repro.methods.speedups import Speedups

    profile = load_profile(request.profile)
    device = choose_device(request.device)
    speedups = request.speedups or Speedups()
    speedups.check(device)
    warmup, repeat = default_runs(device)
    repeat = repeat if request.repeat is None else request.repeat
    warmup = warmup if request.warmup is None else request.warmup
    if repeat < 1 or warmup < 0:
        raise UsageError("a timing needs at least one run", expected="--repeat 1 or more, --warmup 0 or more")
    points = bench_points(request, profile, speedups)
    runs = bench.Runs(repeat, warmup, request.count, request.stages)
    return ({"profile": profile.name, **record} for record in bench.measure(points, device, runs, log))


def bench_points(request: BenchRequest, profile: Profile, speedups: Speedups) -> list[bench.Point]:
    """Return what is to be measured; UsageError for unknown names and sizes that windows do not tile."""
    assets = Assets(profile, request.runs, None)
    towers = request.towers or [t for t in TOWERS if t in profile.towers]
    plans = [(tower, profile.tower(tower)) for tower in towers]
    for count in request.classes:
        bench.class_names(count)
    subjects = []
    for tower, plan in plans:
        for name in request.methods or registry():
            entry = get_method(name)
            values = profile.methods.get(name, {}).get(tower, {})
            spec = assets.untrained_tower(tower)
            subjects.append(bench.Subject(entry, plan.title, spec, entry.make_options(values)))
    protocol, classes = profile.protocol, request.classes
    if request.curves:
        return bench.curves(subjects, protocol, classes=classes[0], speedups=[speedups])
    sizes = request.sizes or [protocol.canvas]
    return bench.grid(subjects, protocol, classes=classes, sizes=sizes, batches=request.batches, speedups=[speedups])
