"""Traces of a method: two iterations of its training, an evaluation, the maps it offers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repro.clip.spec import TowerSpec
from repro.datasets.protocol import Protocol
from repro.datasets.small import small_benchmark
from repro.methods import MethodEntry
from repro.methods.interface import Method
from repro.sources.trace import Trace, exact, named, summary
from repro.traces.fixture import CLASSES, SHOWN, built_tower, fill, shrinking, undisturbed, write_pairs
from repro.traces.watching import is_portable, watched
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
        # Adam divides by the size of a gradient: where that is rounding alone, so is the step, which is kept small.
        lr=settings.lr / (10 if is_portable() else 1),
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
        trace = _weights("first weights", method)
        fill(method, scale=0.2)
        pipeline = build_pipeline(small)
        crops = []
        for position, pair in enumerate(pairs):
            with seeded(5, position):
                crops.append(augment(pipeline, stored_image(pair.image), read_label(pair.label)))
        trace |= {named("augmented images", n): summary(image) for n, (image, _) in enumerate(crops)}
        trace |= {named("augmented labels", n): exact(label) for n, (_, label) in enumerate(crops)}
        image, label = stored_image(pairs[0].image), read_label(pairs[0].label)
        for position in range(100, 100 + DRAWN):  # chances are told apart only by many draws
            drawn = trace.setdefault(named("augmentations drawn", position // 10 * 10), [])
            with seeded(5, position):
                drawn += [summary(v)[2] for v in augment(pipeline, image, label)]  # a turned picture has the same sum
                drawn.append(float(np.random.random()))  # noqa: NPY002  how much was drawn before
        for number, group in enumerate(method.param_groups(small.lr, small.weight_decay)):
            trace[named("parameter groups", number, "parameters")] = [float(len(group["params"]))]
            trace |= {named("parameter groups", number, k): [float(group[k])] for k in ("lr", "weight_decay")}
        torch.manual_seed(0)
        names = [word.split(", ")[0] for word in CLASSES]
        train(method, small, pairs, names, folder / "run", seed=3, progress=False, method_name=entry.name)
        lines = [json.loads(line) for line in (folder / "run" / "losses.jsonl").read_text().splitlines()]
        for number, line in enumerate(lines, start=1):
            trace |= _numbers(named("losses and rates", f"step {number}"), line)
        trace |= _weights("weights", method)
        trace["logits"] = _logits(method, small.crop)
    return trace


def options_trace(entry: MethodEntry, options: Any, architecture: TowerSpec, settings: TrainSettings) -> Trace:
    """Trace first weights, losses and gradients of one batch, and logits: what another choice of an option changes."""
    import torch

    shrink = shrinking(architecture)
    small = small_settings(settings, shrink)
    names = [word.split(", ")[0] for word in CLASSES[: SHOWN + 1]]
    with undisturbed() as folder:
        method = _method(entry, options, architecture, folder / "tower", shrink)
        trace = {"first weights": _all(_weights("", method).values())}
        fill(method, scale=0.2)
        if entry.trainable:
            rng = np.random.default_rng(29)
            images = torch.from_numpy(rng.integers(0, 256, (BATCH, 3, small.crop, small.crop)).astype(np.float64))
            labels = torch.from_numpy(
                rng.integers(0, SHOWN, (BATCH, 8, 8)).repeat(small.crop // 8, 1).repeat(small.crop // 8, 2)
            )
            torch.manual_seed(0)
            values = method.train().loss(images, labels, names)
            torch.stack([v for k, v in values.items() if k.startswith("loss")]).sum().backward()
            trace |= {named("losses", k): [float(v.detach())] for k, v in values.items()}
            trace["gradients"] = _all(summary(p.grad) for p in method.parameters() if p.grad is not None)
        trace["logits"] = _logits(method.eval(), small.crop)
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
        with watched(method, "modules") as modules:
            logits = _logits(method, protocol.window)
        trace |= {**modules, "logits": logits}
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
            whole = (key for key in sorted(counts) if counts[key].dtype.kind in "iu")
            trace |= {named(f"counts of {name}", key): exact(counts[key]) for key in whole}
            trace |= {named(f"metrics of {name}", k): [_number(v)] for k, v in result.metrics.items()}
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
            trace |= {named(f"labels {name}", n): exact(label) for n, label in enumerate(labels)}
            trace |= {named(f"scores {name}", n): summary(v) for n, v in enumerate(predictor.probabilities())}
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


def _weights(part: str, method: Method) -> dict[str, list[float]]:
    state = method.state_dict()
    names = [name for name in sorted(state) if not name.startswith("clip.model.token")]
    return {named(part, name): summary(state[name]) for name in names}


def _all(summaries: Iterable[list[float]]) -> list[float]:
    return summary([v for values in summaries for v in values])


def _logits(method: Method, side: int) -> list[float]:
    import torch

    rng = np.random.default_rng(13)
    image = torch.from_numpy(rng.integers(0, 256, (1, 3, side, side)).astype(np.float64))
    with torch.no_grad():
        return summary(method(image, [c.split(", ")[0] for c in CLASSES[:4]]).numpy())


def _many_classes(method: Method, protocol: Protocol) -> dict[str, list[float]]:
    """Return logits of more classes than any method treats alike, and their maps made a few classes at a time."""
    import torch

    from repro.evaluation.infer import SlidingWindow

    rng = np.random.default_rng(23)
    image = torch.from_numpy(rng.integers(0, 256, (1, 3, protocol.window, protocol.window)).astype(np.float64))
    window = SlidingWindow(protocol, chunk_mib=1)
    views = len(window.corners) + protocol.whole_image
    drawn = torch.from_numpy(rng.standard_normal((views, 40, 9, 9)).astype("f4")).to(torch.get_default_dtype())
    with torch.no_grad():
        logits = method(image, [f"thing number {i}" for i in range(MANY)])
    found = {"logits of many classes": summary(logits.numpy())}
    found["labels of many classes"] = exact(window.labels(method, 3 * drawn, (50, 61), last=30))
    scores = window.score_chunks(method, 3 * drawn.double(), (50, 61))  # in other orders of sums to 1e-9
    found["scores of many classes"] = [v for _, chunk in scores for v in summary(chunk.numpy())]
    return found


def _numbers(part: str, line: Mapping[str, Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    # For the gate, which names the first number that differs, a loss comes before what follows from it.
    for key in sorted(line, key=lambda key: (is_portable() and not key.startswith("loss_"), key)):
        if any(key.startswith(word) for word in _PLACES):
            continue
        value = line[key]
        found |= _numbers(named(part, key), value) if isinstance(value, dict) else {named(part, key): [_number(value)]}
    return found


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
