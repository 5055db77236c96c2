"""Detection of the classes of each image by a method's maps, image by image, so that intervals follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.datasets.benchmarks import Benchmark
from repro.datasets.images import read_label, stored_image
from repro.datasets.layout import Pair
from repro.datasets.protocol import Protocol
from repro.errors import RunError
from repro.evaluation.infer import SlidingWindow
from repro.files import write_atomic
from repro.methods.interface import Method
from repro.metrics.maps import detect, overlap, pixels_by_token
from repro.metrics.seen import SEEN, UNSEEN, class_groups

CONTINUOUS = ("saliency", "attention", "correlation")
MASK = "foreground"
CHANCE = "chance_ap"
"""What a map that ranks pixels at random has on average: the share of the class in the image."""
KINDS = ("thing", "stuff")
GROUPS = tuple(f"{kind} {word}".strip() for kind in KINDS for word in (SEEN, UNSEEN, ""))
"""Kinds of classes that are told apart, as the words that are true of them."""
SCENES = ("foreground_ap", "foreground_chance_ap")
"""Figures of an image, not of its classes (:func:`foreground_figures`)."""


@dataclasses.dataclass(frozen=True, eq=False)
class MapScores:
    """Sums over the classes of each image: ``sums`` (figures, images, groups), ``pairs`` (images, groups) how many
    classes were looked at. Figures: ``<map>_ap``, ``<map>_best_iou``, ``foreground_iou``, ``chance_ap``.

    ``scenes`` (figures, images) are :data:`SCENES`, NaN where an image has none; ``groups`` the words true of
    the classes of each group. Files of version 0.2 have things and stuff as groups and no figures of scenes.
    """

    names: tuple[str, ...]
    sums: NDArray[np.float64]
    pairs: NDArray[np.int64]
    groups: tuple[str, ...] = KINDS
    scenes: NDArray[np.float64] | None = None

    @property
    def images(self) -> int:
        return len(self.pairs)

    def has(self, name: str) -> bool:
        """Tell whether there is a figure ``name``."""
        return name in self.names or (name in SCENES and self.scenes is not None)

    def mean(self, name: str, kind: str | None = None, times: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the mean over (image, class) of figure ``name``, of classes of ``kind`` (None: all), a fraction: (R,).

        ``kind``: thing, stuff, seen or unseen. Figures of :data:`SCENES` are means over images, of no kind. ``times``
        (images, R): how often each image counts; without, once each and R = 1. NaN where nothing is averaged.
        """
        times = np.ones((self.images, 1)) if times is None else times
        if name in SCENES:
            values = np.full(self.images, np.nan) if self.scenes is None or kind else self.scenes[SCENES.index(name)]
            known = np.isfinite(values)
            sums, pairs = np.where(known, values, 0) @ times, known.astype(np.float64) @ times
        else:
            chosen = [i for i, group in enumerate(self.groups) if kind is None or kind in group.split()]
            sums = self.sums[self.names.index(name)][:, chosen].sum(axis=1) @ times
            pairs = self.pairs[:, chosen].sum(axis=1) @ times
        return np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)

    def save(self, path: Path) -> None:
        """Write all of it as one npz file, atomically."""
        arrays = {
            "names": np.array(self.names),
            "sums": self.sums,
            "pairs": self.pairs,
            "groups": np.array(self.groups),
        }
        scenes = {} if self.scenes is None else {"scenes": self.scenes}
        write_atomic(path, lambda f: np.savez_compressed(f, allow_pickle=False, **arrays, **scenes))

    @classmethod
    def load(cls, path: Path) -> MapScores:
        """Load what :meth:`save` wrote, now or in version 0.2."""
        with np.load(path, allow_pickle=False) as stored:
            groups = tuple(stored["groups"].tolist()) if "groups" in stored else KINDS
            scenes = stored.get("scenes")
            return cls(tuple(stored["names"].tolist()), stored["sums"], stored["pairs"], groups, scenes)


def whole_view(protocol: Protocol, image: NDArray[np.uint8], device: torch.device | str) -> Tensor:
    """Return the view (1, 3, window, window), 0..255, of all of ``image`` (H, W, 3), made as the protocol makes it."""
    window = SlidingWindow(dataclasses.replace(protocol, whole_image=True))
    return window.views(window.resize(image), device)[-1:]


@torch.no_grad()
def measure_maps(
    method: Method,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    protocol: Protocol,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MapScores:
    """Measure figures of every map that ``method`` offers, over the classes that are in each of the images.

    Each image is the view of ``protocol`` that shows all of it; nothing is averaged over windows. A folded background
    is not looked at as a class: it is many prompts and has no map of its own; it is what is not foreground. Raises
    RunError where the method offers no map.
    """
    groups = [GROUPS.index(group) for group in class_groups(benchmark)]
    things = [kind == "thing" for kind in benchmark.class_kinds()]
    device = next(method.parameters()).device
    prompts = method.prompts(benchmark.prompt_names(), benchmark.background_index)
    classes = benchmark.num_classes if benchmark.background_index is None else benchmark.background_index
    names: tuple[str, ...] = ()
    sums, counts, scenes = [], [], []
    for pair in pairs:
        view = whole_view(protocol, stored_image(pair.image), device)
        maps = {k: v[0].double().cpu().numpy() for k, v in method.diagnostics(view, prompts).items()}
        names = names or figure_names(maps)
        if len(names) < 2:
            raise RunError(
                f"{type(method).__name__} offers no map to be measured",
                expected=f"one of {', '.join((*CONTINUOUS, MASK))} from Method.diagnostics",
                found=sorted(maps) or "none",
                mend="leave the method out with --methods",
            )
        label = read_label(pair.label)
        total, count = image_figures(maps, label, classes, groups)
        sums.append(total)
        counts.append(count)
        scenes.append(foreground_figures(maps, label, classes, things))
        progress(len(sums), len(pairs))
    return MapScores(names, np.stack(sums, axis=1), np.stack(counts), GROUPS, np.stack(scenes, axis=1))


def figure_names(maps: Mapping[str, NDArray[np.float64]]) -> tuple[str, ...]:
    """Return the figures that follow from ``maps``, in the order :func:`image_figures` gives them."""
    names = [f"{name}_{figure}" for name in CONTINUOUS if name in maps for figure in ("ap", "best_iou")]
    return (*names, *((f"{MASK}_iou",) if MASK in maps else ()), CHANCE)


def image_figures(
    maps: Mapping[str, NDArray[np.float64]], label: NDArray[np.integer], classes: int, groups: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return sums (figures, groups) over the classes in ``label`` (H, W), and the number (groups,) of each group.

    ``maps`` are (N, h, w) with N >= ``classes``; ``groups`` the index in :data:`GROUPS` of each class.
    """
    names = figure_names(maps)
    sums, counts = np.zeros((len(names), len(GROUPS))), np.zeros(len(GROUPS), np.int64)
    pixels = {grid: pixels_by_token(label, classes, grid) for grid in {m.shape[1:] for m in maps.values()}}
    present = np.flatnonzero(np.bincount(label[label < classes].ravel(), minlength=classes))
    for c in present.tolist():
        values: list[float] = []
        for name in CONTINUOUS:
            if name in maps:
                tokens = pixels[maps[name].shape[1:]]
                found = detect(maps[name][c].ravel(), tokens[:, c], tokens[:, :classes].sum(axis=1))
                values += [found.average_precision, found.best_iou]
        tokens = next(iter(pixels.values()))
        if MASK in maps:
            tokens = pixels[maps[MASK].shape[1:]]
            values.append(overlap(maps[MASK][c].ravel() > 0.5, tokens[:, c], tokens[:, :classes].sum(axis=1)))
        values.append(tokens[:, c].sum() / tokens[:, :classes].sum())
        sums[:, groups[c]] += values
        counts[groups[c]] += 1
    return sums, counts


def foreground_figures(
    maps: Mapping[str, NDArray[np.float64]], label: NDArray[np.integer], classes: int, things: Sequence[bool]
) -> NDArray[np.float64]:
    """Return :data:`SCENES` of an image: how its maps, of any class, find pixels of things among things and stuff.

    A place is ranked by the largest value there of the maps of the classes in ``label`` (H, W): the saliency, or of a
    method without one the correlation. ``maps`` are (N, h, w) with N >= ``classes``, ``things`` says it of all
    evaluated classes, which may be more (a folded background). NaN where things or stuff are missing, or maps.
    """
    found = next((maps[name] for name in CONTINUOUS if name in maps), None)
    present = np.flatnonzero(np.bincount(label[label < len(things)].ravel(), minlength=len(things)))
    mapped = present[present < classes]
    if found is None or not len(mapped) or len({things[c] for c in present.tolist()}) < 2:
        return np.full(len(SCENES), np.nan)
    pixels = pixels_by_token(label, len(things), found.shape[1:])[:, : len(things)]
    own, labelled = pixels[:, np.array(things)].sum(axis=1), pixels.sum(axis=1)
    detection = detect(found[mapped].max(axis=0).ravel(), own, labelled)
    return np.array([detection.average_precision, own.sum() / labelled.sum()])
