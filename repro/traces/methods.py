"""Traces of a method: two iterations of its training, an evaluation, the maps it offers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repro.clip.spec import TowerSpec
from repro.datasets.protocol import Protocol
from repro.datasets.small import small_benchmark
from repro.methods import MethodEntry
from repro.methods.interface import Method
from repro.sources.trace import Trace, exact, summary
from repro.traces.fixture import CLASSES, SHOWN, built_tower, fill, shrinking, undisturbed, write_pairs
from repro.training.settings import TrainSettings

ITERATIONS, BATCH = 3, 2
DRAWN = 100
"""Crops of one image: a chance that is off by five in a hundred shows in one of them at least, 99 times of 100."""
MANY = 300
"""Classes of the largest vocabulary in a trace: the released CAT-Seg keeps 256 of a view."""
_PLACES = ("iteration", "seconds", "time", "eta", "memory")


def small_settings(settings: TrainSettings, shrink: int = 1) -> TrainSettings:
    """Return the schedule with ``ITERATIONS`` iterations of ``BATCH`` crops: one of warm-up if any, no autocast.

    Sides in pixels are divided by ``shrink``.
    """
    return dataclasses.replace(
        settings,
        iterations=ITERATIONS,
        batch_size=BATCH,
        short_side=settings.short_side // shrink,
        crop=settings.crop // shrink,
        warmup_iterations=min(1, settings.warmup_iterations),
        classes_per_step=min(SHOWN + 2, settings.classes_per_step),
        amp="off",
        workers=0,
        checkpoint_every=10,
        log_every=1,
    )


def small_protocol(protocol: Protocol, shrink: int) -> Protocol:
    """Return the protocol with its sides divided by ``shrink``, if its windows still tile the canvas; else as it is."""
    sides = {f: getattr(protocol, f) // shrink for f in ("short_side", "max_long_side", "canvas", "window")}
    small = dataclasses.replace(protocol, **sides)
    return small if (small.canvas - small.window) % small.stride == 0 else protocol


def training_trace(entry: MethodEntry, options: Any, architecture: TowerSpec, settings: TrainSettings) -> Trace:
    """Trace first weights, augmented crops, losses and gradient norms, last weights and logits of a short training.

    Raises what building the method on a small tower raises.
    """
    import torch

    from repro.datasets.images import read_label, stored_image
    from repro.training.pipeline import augment, build_pipeline, seeded
    from repro.training.train import train

    shrink = shrinking(architecture)
    small = small_settings(settings, shrink)
    with undisturbed() as folder:
        pairs = write_pairs(folder, SHOWN)
        method = _method(entry, options, architecture, folder / "tower", shrink)
        trace = {"first weights": _weights(method)}
        fill(method, scale=0.2)
        pipeline = build_pipeline(small)
        crops = []
        for position, pair in enumerate(pairs):
            with seeded(5, position):
                crops.append(augment(pipeline, stored_image(pair.image), read_label(pair.label)))
        trace["augmented images"] = [v for image, _ in crops for v in summary(image)]
        trace["augmented labels"] = [v for _, label in crops for v in exact(label)]
        image, label = stored_image(pairs[0].image), read_label(pairs[0].label)
        drawn = []
        for position in range(100, 100 + DRAWN):  # chances are told apart only by many draws
            with seeded(5, position):
                drawn += [summary(v)[2] for v in augment(pipeline, image, label)]  # a turned picture has the same sum
                drawn.append(float(np.random.random()))  # noqa: NPY002  how much was drawn before
        trace["augmentations drawn"] = drawn
        groups = method.param_groups(small.lr, small.weight_decay)
        trace["parameter groups"] = [
            v for g in groups for v in (float(len(g["params"])), float(g["lr"]), float(g["weight_decay"]))
        ]
        torch.manual_seed(0)
        names = [word.split(", ")[0] for word in CLASSES]
        train(method, small, pairs, names, folder / "run", seed=3, progress=False, method_name=entry.name)
        lines = [json.loads(line) for line in (folder / "run" / "losses.jsonl").read_text().splitlines()]
        trace["losses and rates"] = [v for line in lines for v in _numbers(line)]
        trace["weights"] = _weights(method)
        trace |= _logits(method, small.crop)
    return trace


def evaluation_trace(entry: MethodEntry, options: Any, architecture: TowerSpec, protocol: Protocol) -> Trace:
    """Trace logits, averaged scores, counts and metrics of two tiny benchmarks, one with a folded background."""
    from repro.evaluation.infer import SlidingWindow
    from repro.evaluation.many import evaluate_together

    trace: dict[str, list[float]] = {}
    shrink = shrinking(architecture)
    protocol = small_protocol(protocol, shrink)
    with undisturbed() as folder:
        method = _method(entry, options, architecture, folder / "tower", shrink).eval()
        fill(method, scale=0.2)
        trace |= _logits(method, protocol.window)
        trace |= _many_classes(method, protocol)
        window = SlidingWindow(protocol)
        for folded in (False, True):
            benchmark = small_benchmark(folded)
            pairs = write_pairs(folder / str(folded), benchmark.num_classes, ((60, 83), (50, 41)))
            prompts = method.prompts(benchmark.prompt_names(), benchmark.background_index)
            out = folder / f"out-{folded}"
            result = evaluate_together(method, benchmark, pairs, protocol, out, progress=False)
            name = benchmark.id
            counts = result.counts().arrays()
            trace[f"counts of {name}"] = [v for key in sorted(counts) if counts[key].dtype.kind in "iu"
                                          for v in exact(counts[key])]  # fmt: skip
            trace[f"metrics of {name}"] = list(map(_number, result.metrics.values()))
            if not folded:
                from repro.datasets.images import stored_image

                trace["scores"] = summary(window.scores(method, stored_image(pairs[0].image), prompts).numpy())
    return trace


def prediction_trace(entry: MethodEntry, options: Any, architecture: TowerSpec, protocol: Protocol) -> Trace:
    """Trace label maps and scores of photographs, one of them of a single row."""
    from repro.evaluation.predict import ClassList, Predictor, read_photo

    shrink = shrinking(architecture)
    protocol = small_protocol(protocol, shrink)
    trace: dict[str, list[float]] = {}
    with undisturbed() as folder:
        method = _method(entry, options, architecture, folder / "tower", shrink).eval()
        fill(method, scale=0.2)
        photos = [read_photo(pair.image) for pair in write_pairs(folder, 2, ((60, 83), (1, 40)))]
        for folded in (False, True):
            classes = ClassList.of_benchmark(small_benchmark(folded))
            predictor = Predictor(method, classes, protocol, keep_logits=True)
            labels = [predictor(photo) for photo in photos]
            name = "folded" if folded else "plain"
            trace[f"labels {name}"] = [v for label in labels for v in exact(label)]
            trace[f"scores {name}"] = [v for part in predictor.probabilities() for v in summary(part)]
    return trace


def maps_trace(entry: MethodEntry, options: Any, architecture: TowerSpec, protocol: Protocol) -> Trace:
    """Trace the maps a method offers and the figures taken of them; empty for a method that offers none."""
    from repro.datasets.images import stored_image
    from repro.evaluation.maps import measure_maps, whole_view

    shrink = shrinking(architecture)
    protocol = small_protocol(protocol, shrink)
    with undisturbed() as folder:
        method = _method(entry, options, architecture, folder / "tower", shrink).eval()
        fill(method, scale=0.2)
        benchmark = small_benchmark(False)
        pairs = write_pairs(folder, benchmark.num_classes, ((60, 83), (50, 41)))
        view = whole_view(protocol, stored_image(pairs[0].image), "cpu")
        offered = method.diagnostics(view, benchmark.prompt_names())
        if not offered:
            return {}
        trace = {name: summary(tensor.double().numpy()) for name, tensor in offered.items()}
        scores = measure_maps(method, benchmark, pairs, protocol)
        scenes = [] if scores.scenes is None else np.nan_to_num(scores.scenes, nan=-1.0).ravel().tolist()
        figures = [*scores.sums.ravel().tolist(), *map(float, scores.pairs.ravel())]
        return {**trace, "figures": figures, "scenes": scenes}


def _method(entry: MethodEntry, options: Any, architecture: TowerSpec, folder: Path, shrink: int) -> Method:
    from repro.methods.build import new_method

    return new_method(entry, built_tower(architecture, folder, shrink), options, seed=11).double()


def _weights(method: Method) -> list[float]:
    state = method.state_dict()
    return [v for name in sorted(state) if not name.startswith("clip.model.token") for v in summary(state[name])]


def _logits(method: Method, side: int) -> dict[str, list[float]]:
    import torch

    rng = np.random.default_rng(13)
    image = torch.from_numpy(rng.integers(0, 256, (1, 3, side, side)).astype(np.float64))
    with torch.no_grad():
        return {"logits": summary(method(image, [c.split(", ")[0] for c in CLASSES[:4]]).numpy())}


def _many_classes(method: Method, protocol: Protocol) -> dict[str, list[float]]:
    """Return logits of more classes than any method treats alike, and their maps made a few classes at a time."""
    import torch

    from repro.evaluation.infer import SlidingWindow

    rng = np.random.default_rng(23)
    image = torch.from_numpy(rng.integers(0, 256, (1, 3, protocol.window, protocol.window)).astype(np.float64))
    window = SlidingWindow(protocol, chunk_mib=1)
    drawn = torch.from_numpy(rng.standard_normal((len(window.corners) + protocol.whole_image, 40, 9, 9)).astype("f4"))
    with torch.no_grad():
        logits = method(image, [f"thing number {i}" for i in range(MANY)])
    found = {"logits of many classes": summary(logits.numpy())}
    found["labels of many classes"] = exact(window.labels(method, 3 * drawn, (50, 61), last=30))
    scores = window.score_chunks(method, 3 * drawn, (50, 61))
    found["scores of many classes"] = [v for _, chunk in scores for v in summary(chunk.numpy())]
    return found


def _numbers(line: Mapping[str, Any]) -> list[float]:
    found: list[float] = []
    for key in sorted(line):
        if any(key.startswith(word) for word in _PLACES):
            continue
        value = line[key]
        found += _numbers(value) if isinstance(value, dict) else [_number(value)]
    return found


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
