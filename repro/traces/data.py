"""Traces of data: the drawn miniature, and what the conversion rules make of annotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.sources.trace import Trace, exact, named, summary
from repro.traces.fixture import undisturbed

if TYPE_CHECKING:
    from repro.datasets.data_set import DataSet

FEW = {"train": 2, "ade": 1, "context": 1, "voc": 2}


def miniature_trace(seed: int, sizes: Mapping[str, Any]) -> Trace:
    """Trace every concept drawn once, its value in every set, and all files of a miniature of six pictures."""
    from repro.mini.draw import CONTACT_SHEET, draw_miniature

    with undisturbed() as folder:
        trace = {**_concepts(seed), "values": _values()}
        draw_miniature(folder, seed, {**sizes, **FEW})
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if path.suffix in (".png", ".tif", ".jpg") and path.name != CONTACT_SHEET:
                kind = f"{path.relative_to(folder).parent}".replace("\\", "/")
                trace[named(kind, path.name)] = _picture(path)
            elif path.suffix in (".txt", ".json") and not path.name.startswith(("MANIFEST", ".", "panoptic.json")):
                trace[str(path.relative_to(folder))] = exact(np.frombuffer(path.read_bytes(), np.uint8))
    return trace


def catalogue_trace() -> Trace:
    """Trace the numbers that the miniature's concepts are described by."""
    from repro.mini.catalogue import CONCEPTS

    found = (numbers(concept.name, dataclasses.asdict(concept)) for concept in CONCEPTS)
    return {name: values for trace in found for name, values in trace.items()}


def labels_trace(data: DataSet) -> Trace:
    """Trace the words of a set, the numbers it is described by, and what its rule makes of fixed annotations."""
    from repro.datasets.prepare.samples import converted_samples

    words = {"names": data.class_names(), "kinds": data.class_kinds(), "prompts": data.prompt_names()}
    trace = {named("words", k): _texts(v) for k, v in words.items()}
    trace |= numbers("numbers", dataclasses.asdict(data))
    trace |= {named("converted", n): exact(array) for n, array in enumerate(converted_samples(data))}
    return trace


def numbers(part: str, value: Any) -> dict[str, list[float]]:
    """Return the numbers of plain data, each under its name."""
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in numbers(named(part, key), inner).items()}
    if isinstance(value, list | tuple):
        return {k: v for n, inner in enumerate(value) for k, v in numbers(named(part, n), inner).items()}
    return {part: [float(value)]} if isinstance(value, int | float) else {}


def _texts(words: Iterable[str]) -> list[float]:
    return exact(np.frombuffer("\n".join(words).encode(), np.uint8))


def _concepts(seed: int) -> dict[str, list[float]]:
    from repro.mini.catalogue import CONCEPTS
    from repro.mini.scenes import crop_scene

    found: dict[str, list[float]] = {}
    for index, concept in enumerate(CONCEPTS):
        scene = crop_scene(np.random.default_rng((seed, index)), index, 24, (0.5, 1.1))
        sums = [float(scene.image.astype(np.int64).sum()), float(scene.concepts.astype(np.int64).sum())]
        found[named("concepts", concept.name)] = sums
    return found


def _values() -> list[float]:
    """Return what a picture that shows every concept once is written as, in the sets drawn from the beginning."""
    from repro.datasets.registry import data_sets
    from repro.datasets.sets import pc59, pc459
    from repro.mini import panoptic
    from repro.mini.captions import caption
    from repro.mini.catalogue import CONCEPTS
    from repro.mini.scenes import Scene

    concepts = np.arange(len(CONCEPTS), dtype=np.int16)[None].repeat(3, 0).repeat(3, 1)
    scene = Scene(np.zeros((*concepts.shape, 3), np.uint8), concepts, np.arange(concepts.size, dtype=np.int16)
                  .reshape(concepts.shape) % 7, "a place")  # fmt: skip
    sets = data_sets()
    masks = [sets[name].drawn_mask(scene) for name in ("coco-stuff", "A-150", "A-847", "PAS-20")]
    found = [v for values in (*masks, pc459.DATA_SET.drawn_map(scene)) for v in exact(values)]
    found += [float(n["category_id"]) for n in pc59.DATA_SET.drawn_annotations(scene, 1)]
    for name in (panoptic.COCO, panoptic.ADE):
        ids, segments = panoptic.panoptic_segments(scene, name)
        found += exact(ids) + [float(s["category_id"]) for s in segments]
    rng = np.random.default_rng(3)
    return found + _texts(caption(rng, [c]) for c in range(len(CONCEPTS)))


def _picture(path: Any) -> list[float]:
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image)
    # Lossy files are decoded by libraries that differ in a last bit: their sums say enough.
    return summary(pixels) if path.suffix == ".jpg" else exact(pixels)
