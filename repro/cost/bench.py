"""Timings of methods over towers, vocabularies, image sizes and batches: what ``repro bench`` measures.

Neither data nor weights are needed. A record is one flat object; its keys are an interface (docs/json.md).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from repro.clip.spec import TowerSpec
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.protocol import Protocol
from repro.errors import ReproError, UsageError
from repro.methods import MethodEntry

if TYPE_CHECKING:
    from repro.methods.interface import Method
    from repro.methods.speedups import Speedups

FORMAT = 1
VOCABULARY = "A-847"
"""Where class names are taken from; the first N of them stand for a vocabulary of N."""
CURVE_CLASSES = (20, 59, 150, 459, 847)
CURVE_BATCHES = (1, 2, 4, 8)
CURVE_SIDES = 4
"""So many image sizes: canvases of 1, 4, 9 and 16 windows."""
DONE, FAILED = "done", "failed"


@dataclasses.dataclass(frozen=True)
class Subject:
    """A method with options on a tower (``clip`` is its title), timed with random weights."""

    entry: MethodEntry
    clip: str
    spec: TowerSpec
    options: Any

    def build(self) -> Method:
        """Build the method with weights drawn anew."""
        from repro.clip.tower import build_tower

        return self.entry.create(build_tower(dataclasses.replace(self.spec, weights=None)), self.options)


@dataclasses.dataclass(frozen=True)
class Point:
    """One timing: ``batch`` images of ``protocol.canvas`` pixels among ``classes`` classes."""

    subject: Subject
    protocol: Protocol
    classes: int
    batch: int
    speedups: Speedups


@dataclasses.dataclass(frozen=True)
class Runs:
    """How often a point is measured, whether its operations are counted and its stages told apart."""

    repeat: int
    warmup: int
    count: bool = True
    stages: bool = True


def class_names(count: int) -> list[str]:
    """Return ``count`` names; UsageError for more than the largest vocabulary has, or none."""
    names = get_benchmark(VOCABULARY).prompt_names()
    if not 0 < count <= len(names):
        raise UsageError("no vocabulary of that size", expected=f"1 to {len(names)} classes", found=count)
    return list(names[:count])


def at_size(protocol: Protocol, canvas: int) -> Protocol:
    """Return ``protocol`` for images of ``canvas`` pixels, its windows unchanged; UsageError if they do not tile it."""
    if canvas < protocol.window or (canvas - protocol.window) % protocol.stride:
        sides = ", ".join(str(side) for side in curve_sizes(protocol))
        raise UsageError(
            "windows do not tile an image of that size",
            expected=f"{protocol.window} plus a multiple of {protocol.stride}: {sides}, ..",
            found=canvas,
        )
    return dataclasses.replace(protocol, canvas=canvas, short_side=canvas, max_long_side=4 * canvas)


def curve_sizes(protocol: Protocol) -> list[int]:
    """Return sides of canvases of 1, 4, 9 and 16 windows."""
    return [protocol.window + k * protocol.stride for k in range(CURVE_SIDES)]


def grid(
    subjects: Sequence[Subject],
    protocol: Protocol,
    *,
    classes: Sequence[int],
    sizes: Sequence[int],
    batches: Sequence[int],
    speedups: Sequence[Speedups],
) -> list[Point]:
    """Return every combination, those of one method and tower beside each other."""
    return [
        Point(subject, at_size(protocol, size), count, batch, fast)
        for subject, fast, count, size, batch in itertools.product(subjects, speedups, classes, sizes, batches)
    ]


def curves(
    subjects: Sequence[Subject],
    protocol: Protocol,
    *,
    classes: int,
    speedups: Sequence[Speedups],
    class_counts: Sequence[int] = CURVE_CLASSES,
    batches: Sequence[int] = CURVE_BATCHES,
    sizes: Sequence[int] = (),
) -> list[Point]:
    """Vary one axis after the other around ``classes`` classes, the protocol's own image size and single images."""
    size = protocol.canvas
    found: dict[Point, None] = {}
    for subject in subjects:
        for axis in (
            {"classes": class_counts, "sizes": [size], "batches": [1]},
            {"classes": [classes], "sizes": sizes or curve_sizes(protocol), "batches": [1]},
            {"classes": [classes], "sizes": [size], "batches": batches},
        ):
            found |= dict.fromkeys(grid([subject], protocol, speedups=speedups, **axis))
    return list(found)


def measure(points: Sequence[Point], device: str, runs: Runs, log: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yield one record per point, as soon as it is measured; a method is built once for successive points.

    A point that the memory has no room for, or that the device cannot do, gives a record that says so.
    """
    made: tuple[Any, Method] | None = None
    for number, point in enumerate(points, 1):
        record = describe(point)
        log(f"{number}/{len(points)} {record['title']} ({record['clip']}), {record['classes']} classes, "
            f"{record['size']} px, batch {record['batch']}, {record['precision']}")  # fmt: skip
        try:
            key = (point.subject, point.speedups)
            if made is None or made[0] != key:
                made = None  # before the next one is built
                made = (key, point.subject.build())
            yield record | _timed(point, made[1], device, runs)
        except (ReproError, MemoryError, RuntimeError) as error:
            if not isinstance(error, ReproError) and not _out_of_memory(error):
                raise
            yield record | {"status": FAILED, "error": str(error).partition("\n")[0]}


def _out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def describe(point: Point) -> dict[str, Any]:
    """Return what a point is, in plain data."""
    p, subject = point.protocol, point.subject
    return {
        "method": subject.entry.name,
        "title": subject.entry.title,
        "clip": subject.clip,
        "classes": point.classes,
        "size": p.canvas,
        "window": p.window,
        "views": p.views,
        "batch": point.batch,
        "precision": point.speedups.label(),
        "speedups": point.speedups.facts(),
        "status": DONE,
        "error": None,
    }


def _timed(point: Point, method: Method, device: str, runs: Runs) -> dict[str, Any]:
    from repro.cost.estimate import count_inference
    from repro.cost.timing import forward_share, time_inference

    names = class_names(point.classes)
    timing = time_inference(
        method, point.protocol, names, device,
        repeat=runs.repeat, warmup=runs.warmup, batch=point.batch, speedups=point.speedups,
        stages=runs.stages,
    )  # fmt: skip
    counts: dict[str, Any] = dict.fromkeys(("params_million", "gflops", "gflops_executed"))
    if runs.count:
        s = point.subject
        cost = count_inference(s.entry, s.spec, s.options, point.protocol, names)
        counts = {
            "params_million": cost.parameters / 1e6,
            "gflops": point.batch * cost.gflops,
            "gflops_executed": point.batch * cost.executed_gflops,
        }
    working = None
    if timing.peak_memory_mib is not None and timing.idle_memory_mib is not None:
        working = timing.peak_memory_mib - timing.idle_memory_mib
    return {
        **counts,
        "seconds": timing.median,
        "seconds_p10": timing.p10,
        "seconds_p90": timing.p90,
        "cpu_seconds": timing.cpu_median,
        "seconds_per_image": timing.median / point.batch,
        "runs": len(timing.seconds),
        "warmup": timing.warmup,
        "trial": timing.trial,
        "clock": timing.clock,
        "peak_memory_mib": timing.peak_memory_mib,
        "working_memory_mib": working,
        "memory_kind": timing.memory_kind,
        "stages": timing.stages,
        "saliency_share": forward_share(timing.stages, "saliency"),
        "clocks": timing.clocks,
        "machine": timing.machine,
    }
