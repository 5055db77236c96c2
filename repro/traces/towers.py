"""Traces of towers: what trains them, and what is measured on them before anything else is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.clip.spec import TowerSpec
from repro.methods.alignments import WEIGHTS, AlignmentEntry
from repro.sources.trace import Trace, named, summary
from repro.traces.fixture import CLASSES, SIZES, built_tower, shrinking, small_tower, undisturbed, write_pairs
from repro.traces.watching import is_portable, watched

if TYPE_CHECKING:
    from repro.mini.clip.training import TinyClipRecipe

STEPS, BATCH = 2, 6


def tiny_trace(recipe: TinyClipRecipe) -> Trace:
    """Trace losses, weights and scores of a tiny CLIP after two steps of each phase of ``recipe``, a few pairs each.

    In float32, as it is trained: only on the machine it was taken on does the trace repeat to the last digits.
    """
    import torch

    from repro.files import read_json
    from repro.mini.clip.training import SCORES, train_tiny_clip
    from repro.mini.clip.training import WEIGHTS as TINY_WEIGHTS

    phases = tuple(dataclasses.replace(p, steps=STEPS, batch=BATCH) for p in recipe.phases)
    small = dataclasses.replace(
        recipe, phases=phases, warmup=min(1, recipe.warmup), threads=1, workers=0, score_crops=1, score_scenes=2,
        checkpoint_every=1000,
    )  # fmt: skip
    losses: dict[str, list[float]] = {}
    with undisturbed() as folder:

        def note(done: int, total: int, figures: Mapping[str, float]) -> None:
            losses.update({named("losses", f"step {done} of {total}", k): [v] for k, v in figures.items()})

        train_tiny_clip(folder, small, note)
        state = torch.load(folder / TINY_WEIGHTS, weights_only=True)
        scores = _numbers(read_json(folder / SCORES), {"seconds", "threads", "steps", "pairs"})
    return {**losses, **_state(state), "scores": scores}


def alignment_trace(entry: AlignmentEntry, options: Any, base: TowerSpec, powerful: TowerSpec) -> Trace:
    """Trace weights and curve of an alignment of two small towers after a few steps.

    ``AlignmentEntry.trial`` and, for the gate on numbers, ``brief`` name the options that make it short.
    """
    import torch

    from repro.files import read_json
    from repro.methods.alignments import FACTS

    short = dataclasses.replace(options, **{**entry.trial, **(entry.brief if is_portable() else {})})
    with undisturbed() as folder:
        images = [pair.image for pair in write_pairs(folder / "images", len(CLASSES), SIZES)]
        # Other weights: a tower that is aligned with its twin has nothing to learn.
        small = small_tower(base, folder / "base"), small_tower(powerful, folder / "powerful")
        specs = [dataclasses.replace(tower, seed=seed) for seed, tower in enumerate(small)]
        entry.trainer()(
            *specs, short, images, folder / "out", seed=5, device="cpu", cache=None,
            progress=lambda done, total, figures: None,
        )  # fmt: skip
        state = torch.load(folder / "out" / WEIGHTS, weights_only=True)
        curve = _numbers(read_json(folder / "out" / FACTS).get("curve", []), set())
    return {**_state(state), "curve": curve}


def dense_trace(architecture: TowerSpec) -> Trace:
    """Trace modules, features of texts and of places, and the output of the first block, of a small tower."""
    import torch

    shrink = shrinking(architecture)
    with undisturbed() as folder:
        tower = built_tower(architecture, folder / "tower", shrink)
        rng = np.random.default_rng(31)
        side = tower.resolution + 5  # images are resized
        image = torch.from_numpy(rng.integers(0, 256, (1, 3, side, side)).astype(np.float64))
        with torch.no_grad(), watched(tower, "modules") as modules:
            text = tower.text([c.split(", ")[0] for c in CLASSES], "a photo of a {}")
            dense = tower.dense(image, guides=(0,))
        trace = {"first weights": summary([v for p in tower.state_dict().values() for v in summary(p)]), **modules}
        return {**trace, "text": summary(text), "guide": summary(dense.guides[0]), "map": summary(dense.map)}


def regions_trace(architecture: TowerSpec, image_size: int, templates: tuple[str, ...]) -> Trace:
    """Trace text embeddings, dense features and ranks of two drawn pictures with four segments each."""
    import torch
    import torch.nn.functional as F
    from PIL import Image

    from repro.datasets.panoptic import PanopticImage, PanopticSet, Segment, ids_to_colours
    from repro.metrics.regions.accuracy import classify_segments, rank_of
    from repro.metrics.regions.frame import frame_image
    from repro.metrics.regions.prompts import VILD63, category_embeddings

    with undisturbed() as folder:
        tower = built_tower(architecture, folder / "tower")
        names = tuple(c.split(", ")[0] for c in CLASSES)
        items = []
        for number, pair in enumerate(write_pairs(folder, 2, SIZES[:2])):
            height, width = SIZES[number]
            ids, segments = np.zeros((height, width), np.int64), []
            for k in range(4):
                top, left = (k // 2) * height // 2, (k % 2) * width // 2
                ids[top : top + height // 2 - 3 * k, left : left + width // 2 - k] = 4099 * (k + 1)
                box = (float(left), float(top), float(width // 2 - k), float(height // 2 - 3 * k))
                segments.append(Segment(4099 * (k + 1), (k + 3 * number) % len(names), box))
            mask = folder / f"{number}-ids.png"
            Image.fromarray(ids_to_colours(ids)).save(mask)
            items.append(PanopticImage(pair.key, pair.image, mask, tuple(segments)))
        data = PanopticSet(names, tuple(i < 3 for i in range(len(names))), tuple(items))
        text = category_embeddings(tower, names, None, templates or VILD63)
        from repro.datasets.images import stored_image

        pixels = frame_image(stored_image(items[0].image), image_size)[None].float()
        with torch.no_grad():
            dense = tower.dense(pixels, size=(image_size, image_size)).map
        ranks = classify_segments(tower, F.normalize(text, dim=-1).to(dense.dtype).float(), data, image_size)
        found = dataclasses.asdict(ranks)
    equal = torch.tensor([[1.0, 2.0, 2.0, 0.0, 2.0]]).expand(5, -1)
    return {
        "ranks of equals": [float(r) for r in rank_of(equal, torch.arange(5))],
        "text": summary(text.numpy()),
        "dense features": summary(dense.numpy()),
        "ranks": [v for name in sorted(found) for v in np.ravel(found[name]).astype(float).tolist()],
    }


def class_signal_trace(architecture: TowerSpec) -> Trace:
    """Trace the class signal of a small tower on three drawn images."""
    from repro.evaluation.zero_shot import class_signal

    with undisturbed() as folder:
        tower = built_tower(architecture, folder / "tower")
        pairs = write_pairs(folder, len(CLASSES))
        signal = class_signal(tower, pairs, [c.split(", ")[0] for c in CLASSES])
    return {named("signal", k): [float(v)] for k, v in dataclasses.asdict(signal).items()}


def _state(state: Mapping[str, Any]) -> dict[str, list[float]]:
    return {named("weights", name): summary(state[name].double().numpy()) for name in sorted(state)}


def _numbers(value: Any, left_out: set[str]) -> list[float]:
    if isinstance(value, dict):
        return [v for k in sorted(value) if k not in left_out for v in _numbers(value[k], left_out)]
    if isinstance(value, list):
        return [v for item in value for v in _numbers(item, left_out)]
    return [float(value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []
