"""Qualitative figures as in the papers: image, ground truth and predictions side by side, images chosen by the counts.

Drawn without a display.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.benchmarks import Benchmark
from repro.datasets.palettes import voc_palette
from repro.datasets.vocabulary import first_synonym
from repro.metrics.counts import Counts
from repro.metrics.miou import divide
from repro.reports.figures.colours import class_colours
from repro.reports.figures.plot_style import bare, new_figure
from repro.stats.resample import Float64

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINS, LOSSES, FAILURES = "wins", "losses", "failures"
LEGEND_CLASSES = 9
OPACITY = 0.78
"""Of class colours over the photograph in grey."""
VOID = (1.0, 1.0, 1.0)


# -- which images -------------------------------------------------------------------------------------------------
def image_miou(counts: Counts) -> Float64:
    """Compute mIoU (images,) of each image over the classes with ground truth in it; NaN where it has none."""
    image = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))
    present = counts.ground_truth > 0
    union = (counts.ground_truth + counts.prediction - counts.intersection)[present]
    total = np.bincount(image[present], counts.intersection[present] / union, len(counts))
    return divide(total, np.bincount(image[present], minlength=len(counts)))


def chosen_images(a: Sequence[Counts], b: Sequence[Counts], count: int) -> dict[str, list[str]]:
    """Choose images (keys) where ``a`` gains most on ``b`` (wins), loses most, and where both are worst (failures).

    By :func:`image_miou`, mean over the runs of a side; equal values in the order of the set. Wins are only images
    with a gain, losses only with a loss. Raises ValueError where the two sides are of different images.
    """
    keys = a[0].keys
    if any(c.keys != keys for c in (*a, *b)):
        raise ValueError("counts of different images")
    ours, theirs = (np.mean([image_miou(c) for c in side], axis=0) for side in (a, b))
    difference, best = ours - theirs, np.maximum(ours, theirs)

    def first(order: Float64, wanted: NDArray[np.bool_]) -> list[str]:
        ranked = [i for i in np.argsort(order, kind="stable") if wanted[i]]
        return [keys[i] for i in ranked[:count]]

    return {
        WINS: first(-difference, difference > 0),
        LOSSES: first(difference, difference < 0),
        FAILURES: first(best, np.isfinite(best)),
    }


# -- colours ------------------------------------------------------------------------------------------------------
def benchmark_colours(benchmark: Benchmark) -> NDArray[np.uint8]:
    """Return the colours (C, 3) in which papers show the classes of ``benchmark``.

    PAS-20 and PAS-20b: the VOC map. A-150 and PC-59: the palettes of mmsegmentation, which figures in papers use,
    where its class order is ours. Vocabularies without a published map, or without mmsegmentation: colours by name.
    """
    names = [first_synonym(name) for name in benchmark.class_names()]
    if benchmark.vocabulary.startswith("voc"):
        objects = voc_palette()[:21]
        return objects[1:21] if benchmark.background_index is None else np.concatenate([objects[1:], objects[:1]])
    published = _mmseg_colours(benchmark.id, names)
    return class_colours(names) if published is None else published


def _mmseg_colours(benchmark: str, names: Sequence[str]) -> NDArray[np.uint8] | None:
    known = {"A-150": "ADE20KDataset", "PC-59": "PascalContextDataset59"}
    if benchmark not in known:
        return None
    try:
        from mmseg import datasets
    except ImportError:
        return None
    meta = getattr(datasets, known[benchmark]).METAINFO
    theirs = [name.strip() for name in meta["classes"]]
    # Its "table" of PASCAL-Context is our "diningtable".
    if len(theirs) != len(names) or not all(a in b for a, b in zip(theirs, names, strict=True)):
        return None
    return np.array(meta["palette"], np.uint8)


# -- the figure ---------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Example:
    """One image with its label and, by title of the run, predictions; classes (H, W), image (H, W, 3) in RGB.

    ``scores`` are mIoU of this image by title.
    """

    key: str
    image: NDArray[np.uint8]
    label: NDArray[Any]
    predictions: Mapping[str, NDArray[Any]]
    scores: Mapping[str, float]


def comparison_figure(
    examples: Sequence[Example], names: Sequence[str], colours: NDArray[np.uint8], caption: str
) -> Figure:
    """Draw a row per image: photograph, ground truth, every prediction with its mIoU on the image, and a legend.

    Unlabelled pixels of the ground truth are white. ``names`` and ``colours`` (C, 3) are of all classes.
    """
    from matplotlib.patches import Patch

    titles = list(examples[0].predictions)
    columns, width = len(titles) + 2, 1.75
    heights = [width * min(1.6, max(0.5, e.image.shape[0] / e.image.shape[1])) + 0.16 for e in examples]
    width_ratios, size = [width] * columns + [1.4], (width * columns + 1.5, sum(heights) + 0.5)
    figure, axes = new_figure(*size, len(examples), columns + 1, width_ratios=width_ratios, height_ratios=heights)
    for row, example in zip(axes, examples, strict=True):
        for panel in row:
            bare(panel)
        row[0].imshow(example.image)
        row[0].set_ylabel(example.key, fontsize=6)
        row[1].imshow(_painted(example.image, example.label, colours))
        for panel, title in zip(row[2:], titles, strict=False):
            panel.imshow(_painted(example.image, example.predictions[title], colours))
            panel.set_xlabel(f"mIoU {100 * example.scores[title]:.1f}", fontsize=7, labelpad=2)
        patches = [
            Patch(facecolor=_mixed(colours[i], 0.6), edgecolor="0.4", linewidth=0.4, label=names[i][:22])
            for i in _largest(example, len(names))
        ]
        row[-1].legend(
            handles=patches, loc="center left", bbox_to_anchor=(-0.1, 0.5), fontsize=6.5, frameon=False,
            handlelength=1.1, handleheight=1.0, labelspacing=0.3, borderpad=0,
        )  # fmt: skip
    for panel, title in zip(axes[0], ["image", "ground truth", *titles], strict=False):
        panel.set_title(title, fontsize=8.5)
    figure.suptitle(caption, fontsize=7, color="0.35", x=0.01, ha="left")
    return figure


def _painted(image: NDArray[np.uint8], classes: NDArray[Any], colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Paint class colours over the grey photograph; what has no class is white."""
    grey = image @ np.array([0.299, 0.587, 0.114]) / 255
    known = classes < len(colours)
    picture = np.empty((*classes.shape, 3))
    picture[~known] = VOID
    picture[known] = OPACITY * colours[classes[known]] / 255 + (1 - OPACITY) * grey[known][:, None]
    return picture


def _mixed(colour: NDArray[np.uint8], grey: float) -> tuple[float, float, float]:
    r, g, b = (OPACITY * colour / 255 + (1 - OPACITY) * grey).tolist()
    return r, g, b


def _largest(example: Example, classes: int) -> list[int]:
    """Choose classes of the ground truth by pixels, then those that predictions add, as many as the legend holds."""
    truth = np.bincount(example.label[example.label < classes].ravel().astype(np.int64), minlength=classes)
    added = sum(np.bincount(p.ravel().astype(np.int64), minlength=classes) for p in example.predictions.values())
    share = truth / max(truth.sum(), 1) + 1e-3 * added / max(int(np.sum(added)), 1)
    order = np.argsort(-share, kind="stable")[:LEGEND_CLASSES]
    return [int(i) for i in order if share[i] > 0]
