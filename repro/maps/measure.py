"""Detection of the classes of each image by a method's maps, image by image, so that intervals follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.benchmarks.images import read_label, stored_image
from repro.benchmarks.layout import Pair
from repro.benchmarks.protocol import Protocol
from repro.benchmarks.spec import Benchmark
from repro.engine.infer import SlidingWindow
from repro.errors import RunError
from repro.files import write_atomic
from repro.layers.method import Method
from repro.maps.scores import detect, overlap, pixels_by_token

CONTINUOUS = ("saliency", "correlation")
MASK = "foreground"
CHANCE = "chance_ap"
"""What a map that ranks pixels at random has on average: the share of the class in the image."""
KINDS = ("thing", "stuff")


@dataclasses.dataclass(frozen=True, eq=False)
class MapScores:
    """Sums over the classes of each image: ``sums`` (figures, images, kinds), ``pairs`` (images, kinds) how many
    classes were looked at. Figures: ``<map>_ap``, ``<map>_best_iou``, ``foreground_iou``, ``chance_ap``."""

    names: tuple[str, ...]
    sums: NDArray[np.float64]
    pairs: NDArray[np.int64]

    @property
    def images(self) -> int:
        return len(self.pairs)

    def mean(self, name: str, kind: str | None = None, times: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Mean over (image, class) of figure ``name``, of classes of ``kind`` (None: all), a fraction: (R,).

        ``times`` (images, R): how often each image counts; without, once each and R = 1. NaN where nothing is averaged.
        """
        chosen = list(range(len(KINDS))) if kind is None else [KINDS.index(kind)]
        times = np.ones((self.images, 1)) if times is None else times
        sums = self.sums[self.names.index(name)][:, chosen].sum(axis=1) @ times
        pairs = self.pairs[:, chosen].sum(axis=1) @ times
        return np.divide(sums, pairs, out=np.full(sums.shape, np.nan), where=pairs > 0)

    def save(self, path: Path) -> None:
        """Write all of it as one npz file, atomically."""
        names = np.array(self.names)
        write_atomic(path, lambda f: np.savez_compressed(f, names=names, sums=self.sums, pairs=self.pairs))

    @classmethod
    def load(cls, path: Path) -> MapScores:
        """What :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(tuple(stored["names"].tolist()), stored["sums"], stored["pairs"])


def whole_view(protocol: Protocol, image: NDArray[np.uint8], device: torch.device | str) -> Tensor:
    """The view (1, 3, window, window), 0..255, of all of ``image`` (H, W, 3), made as the protocol makes it."""
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
    """Figures of every map that ``method`` offers, over the classes that are in each of the images.

    Each image is the view of ``protocol`` that shows all of it; nothing is averaged over windows. A folded background
    is not looked at: it is many prompts and has no map of its own. Raises RunError where the method offers no map.
    """
    kinds = [KINDS.index(kind) for kind in benchmark.class_kinds()]
    device = next(method.parameters()).device
    prompts = method.prompts(benchmark.prompt_names(), benchmark.background_index)
    classes = benchmark.num_classes if benchmark.background_index is None else benchmark.background_index
    names: tuple[str, ...] = ()
    sums, counts = [], []
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
        total, count = image_figures(maps, read_label(pair.label), classes, kinds)
        sums.append(total)
        counts.append(count)
        progress(len(sums), len(pairs))
    return MapScores(names, np.stack(sums, axis=1), np.stack(counts))


def figure_names(maps: Mapping[str, NDArray[np.float64]]) -> tuple[str, ...]:
    """The figures that follow from ``maps``, in the order :func:`image_figures` gives them."""
    names = [f"{name}_{figure}" for name in CONTINUOUS if name in maps for figure in ("ap", "best_iou")]
    return (*names, *((f"{MASK}_iou",) if MASK in maps else ()), CHANCE)


def image_figures(
    maps: Mapping[str, NDArray[np.float64]], label: NDArray[np.integer], classes: int, kinds: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums (figures, kinds) over the classes in ``label`` (H, W), and how many (kinds,) there are of each kind.

    ``maps`` are (N, h, w) with N >= ``classes``; ``kinds`` the kind of each class; other labels are ignored.
    """
    names = figure_names(maps)
    sums, counts = np.zeros((len(names), len(KINDS))), np.zeros(len(KINDS), np.int64)
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
        sums[:, kinds[c]] += values
        counts[kinds[c]] += 1
    return sums, counts
