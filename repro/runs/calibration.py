"""Expected time of evaluations on this machine: a few images of each benchmark through the real loop, scaled up.

``repro run TABLE --dry-run --calibrate`` measures, with random weights (time depends on none); every later
``--dry-run`` uses what is kept in the run store's cache, as long as method, options, tower, protocol and code are the
same. Computing text features is left out: it is done once, and they are kept on disk.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.benchmarks import Benchmark
from repro.datasets.layout import Pair, prepared_pairs
from repro.errors import DataError
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.runs.addresses.judging import timed
from repro.runs.plan import Plan, Run

if TYPE_CHECKING:
    from repro.methods.interface import Method

FEW, MORE = 2, 8
"""An image costs what ``MORE`` images take beyond ``FEW``, over their difference: filling the pipeline cancels."""
SLOW_S = 2.0
"""Where an image takes longer, the few are enough."""
TYPICAL_SIZES = {"A-": (512, 683)}
TYPICAL_SIZE = (375, 500)
"""Height and width of images while the real ones are not there: ADE20K's, VOC's and Context's."""


def calibrated(run: Run, benchmark: str) -> dict[str, Any] | None:
    """Return ``seconds_per_image``, ``hardware`` and ``date`` of ``run`` on ``benchmark``, None if not calibrated."""
    path = _file(run)
    found: dict[str, Any] | None = read_json(path).get(benchmark) if path.is_file() else None
    return found


def calibrated_seconds(run: Run, benchmark: Benchmark) -> float | None:
    """Return expected seconds of the whole evaluation of ``benchmark``, None where it was not calibrated."""
    found = calibrated(run, benchmark.id)
    if found is None:
        return None
    return float(found["seconds_per_image"]) * number_of_images(benchmark, run.assets.data_root)


def calibrate(plan: Plan, device: str, log: Callable[[str], None]) -> None:
    """Measure every method, tower and benchmark of ``plan`` that is not calibrated yet; generated data are drawn first.

    About ten images each; where an image takes long, two.
    """
    from repro.clock import hardware_label
    from repro.cost.bench import Subject
    from repro.cost.timing import drawn_text

    plan.assets.ensure_drawn(log)
    for run in {_file(run): run for run in plan.runs}.values():
        open_ = [b for b in plan.benchmarks if calibrated(run, b.id) is None]
        if not open_:
            continue
        spec = run.assets.untrained_tower(run.row.tower)
        method = Subject(run.entry, run.tower.title, spec, run.options).build()
        for benchmark in open_:
            log(f"calibrating {run.row.title} ({run.tower.title}) on {benchmark.id}")
            with drawn_text(method), tempfile.TemporaryDirectory() as folder:
                pairs = _sample(run, benchmark, Path(folder))
                seconds = seconds_per_image(method, benchmark, pairs, run, Path(folder), device)
            path = _file(run)
            kept = read_json(path) if path.is_file() else {}
            kept[benchmark.id] = {
                "seconds_per_image": seconds,
                "hardware": hardware_label(device),
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            write_json(path, kept)


def seconds_per_image(
    method: Method, benchmark: Benchmark, pairs: Sequence[Pair], run: Run, folder: Path, device: str
) -> float:
    """Return the seconds :func:`repro.evaluation.evaluate.evaluate` takes for each further image."""
    from repro.evaluation.evaluate import evaluate

    def total(count: int) -> float:
        out = folder / f"first-{count}"
        done = evaluate(method, benchmark, pairs[:count], run.profile.protocol, out, device, progress=False)
        return float(done.record["seconds"]["total"])

    total(1)  # to warm up
    few = total(FEW)
    if few / FEW > SLOW_S:
        return few / FEW
    return max((total(MORE) - few) / (MORE - FEW), 0.1 * few / FEW)


def _sample(run: Run, benchmark: Benchmark, folder: Path) -> list[Pair]:
    """Return ``MORE`` images of the benchmark, evenly spread; noise of a typical size where they are not there."""
    pairs = _pairs(benchmark, run.assets.data_root)
    if pairs:
        chosen = [pairs[i * len(pairs) // MORE] for i in range(MORE)]
        return [Pair(f"{i}-{p.key}", p.image, p.label) for i, p in enumerate(chosen)]
    import numpy as np
    from PIL import Image

    height, width = typical_size(benchmark)
    image, label = folder / "noise.png", folder / f"zeros{benchmark.label_suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(image)
    Image.fromarray(np.zeros((height, width), benchmark.label_dtype)).save(label)
    return [Pair(str(i), image, label) for i in range(MORE)]


def typical_size(benchmark: Benchmark) -> tuple[int, int]:
    """Return height and width of most images of ``benchmark``."""
    return next((s for k, s in TYPICAL_SIZES.items() if benchmark.id.startswith(k)), TYPICAL_SIZE)


def _pairs(benchmark: Benchmark, root: Path | None) -> list[Pair]:
    root = benchmark.root or root
    try:
        return prepared_pairs(benchmark, root) if root is not None else []
    except DataError:
        return []


def number_of_images(benchmark: Benchmark, root: Path | None) -> int:
    """Count the prepared images of ``benchmark`` below ``root``; the published number where they are not there."""
    return len(_pairs(benchmark, root)) or benchmark.split().num_images


def _file(run: Run) -> Path:
    """Return where the calibration of everything with the same cost is kept: seeds and weights do not matter."""
    plan = run.profile.towers[run.row.tower]
    facts = {
        "method": run.entry.name,
        "options": dataclasses.asdict(run.options),
        "tower": {**dataclasses.asdict(plan.spec), "weights": None, "recipe": dict(plan.recipe)},
        "protocol": dataclasses.asdict(run.profile.protocol),
        "code": run.assets.code.source(timed(run, "repro.evaluation.evaluate:evaluate")).digest,
    }
    name = f"{run.entry.name}-{run.profile.name}-{run.row.tower}-{digest(facts, 10)}.json"
    return run.assets.store.cache / "calibration" / name
