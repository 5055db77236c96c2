"""Figures of single images: what a method finds salient and predicts, and correlation maps of several methods.

Drawn without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.files import write_atomic
from repro.measuring.figures import ImageData
from repro.reports.figures.colours import class_colours
from repro.reports.figures.plot_style import bare, need_matplotlib, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAT = "inferno"
PANEL_INCHES = 2.4
LEGEND_CLASSES = 10
TINT = 0.75
"""Of the class colours over the grey photograph."""
ATTENTION, SALIENCY, FOREGROUND, CORRELATION = "attention", "saliency", "foreground", "correlation"
TITLES = {FOREGROUND: "foreground (top-k tokens)"}


def explain_figure(data: ImageData, names: Sequence[str], caption: str, path: Path) -> None:
    """Draw a row per class: image, the maps the method has, prediction, and ground truth where there is one.

    As Fig. 5 of the DiSa paper. Attention and saliency run from the smallest to the largest value in each panel.
    ``names`` are all class names; ``caption`` is printed above.
    """
    offered = [m for m in (ATTENTION, SALIENCY, FOREGROUND) if m in data.maps]
    columns = ["image", *offered, "prediction", *(["ground truth"] if data.label is not None else [])]
    figure, axes = panels(len(data.classes), len(columns), data.image.shape)
    colours = class_colours(names)
    for row, index in enumerate(data.classes):
        for name, panel in zip(columns, axes[row], strict=True):
            if name in data.maps:
                heat(panel, data.image, data.maps[name][row], binary=name == FOREGROUND)
            elif name == "image":
                panel.imshow(data.image)
                panel.set_ylabel(names[index], fontsize=9)
            else:
                classes = data.label if name == "ground truth" and data.label is not None else data.prediction
                panel.imshow(tinted(data.image, classes, colours))
            if row == 0:
                panel.set_title(TITLES.get(name, name), fontsize=10)
    class_legend(figure, [data], names, colours)
    save_png(figure, caption, path)


def correlation_figure(
    columns: Sequence[tuple[str, ImageData]], names: Sequence[str], caption: str, path: Path
) -> None:
    """Draw a row per class: the image, its ground truth for the class, and the correlation map of each (title, data).

    As Fig. 1 of the DiSa paper; a picture without labels has no ground truth. All data are of the same image and
    classes; each map runs from its smallest to its largest value, since methods correlate on scales of their own.
    """
    first = columns[0][1]
    before = ["image"] if first.label is None else ["image", "ground truth"]
    figure, axes = panels(len(first.classes), len(columns) + len(before), first.image.shape)
    for row, index in enumerate(first.classes):
        axes[row][0].imshow(first.image)
        axes[row][0].set_ylabel(names[index], fontsize=9)
        if first.label is not None:
            heat(axes[row][1], first.image, (first.label == index).astype(np.float32), binary=True)
        for panel, (_, data) in zip(axes[row][len(before) :], columns, strict=True):
            heat(panel, data.image, data.maps[CORRELATION][row])
    for panel, title in zip(axes[0], [*before, *(title for title, _ in columns)], strict=True):
        panel.set_title(title, fontsize=10)
    save_png(figure, caption, path)


def panels(rows: int, columns: int, shape: tuple[int, ...]) -> tuple[Figure, NDArray[Any]]:
    """Make axes (rows, columns) without ticks, as high as images of ``shape`` need."""
    need_matplotlib()
    height = PANEL_INCHES * min(2.0, max(0.4, shape[0] / shape[1]))
    figure, axes = new_figure(PANEL_INCHES * columns + 0.4, height * rows + 0.9, rows, columns)
    for panel in axes.flat:
        bare(panel)
    return figure, axes


def _grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the photograph (H, W, 3) in light grey, 0..1, to draw over."""
    luminance = image @ np.array([0.299, 0.587, 0.114]) / 255
    return np.repeat((0.25 + 0.75 * luminance)[..., None], 3, axis=2)


def heat(panel: Axes, image: NDArray[np.uint8], values: NDArray[np.float32], *, binary: bool = False) -> None:
    """Draw a map (h, w) stretched over the grey image; a binary one keeps its edges."""
    height, width = image.shape[:2]
    low, high = (0.0, 1.0) if binary else (float(values.min()), float(values.max()))
    panel.imshow(_grey(image))
    panel.imshow(
        values,
        cmap="Blues" if binary else HEAT,
        vmin=low,
        vmax=high if high > low else low + 1,
        alpha=0.65,
        interpolation="nearest" if binary else "bilinear",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )


def tinted(image: NDArray[np.uint8], classes: NDArray[Any], colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Paint class colours over the grey image; what no class covers (ignored pixels) stays grey."""
    picture = _grey(image)
    known = classes < len(colours)
    picture[known] = (1 - TINT) * picture[known] + TINT * colours[classes[known]] / 255
    return picture


def class_legend(figure: Figure, shown: Sequence[ImageData], names: Sequence[str], colours: NDArray[np.uint8]) -> None:
    """Show the classes that cover most of predictions and ground truth, with their colours, below the panels."""
    from matplotlib.patches import Patch

    label = shown[0].label
    labelled = [] if label is None else [label[label < len(names)].ravel()]
    every = np.concatenate([*labelled, *(data.prediction.ravel() for data in shown)]).astype(np.int64)
    counts = np.bincount(every, minlength=len(names))
    most = [int(i) for i in np.argsort(-counts, kind="stable")[:LEGEND_CLASSES] if counts[i]]
    patches = [Patch(color=(1 - TINT) * 0.8 + TINT * colours[i] / 255, label=names[i]) for i in most]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, fontsize=7, frameon=False)


def save_png(figure: Figure, caption: str, path: Path) -> None:
    """Write the figure with ``caption`` above it, atomically."""
    figure.suptitle(caption, fontsize=8, color="0.3", x=0.01, ha="left")
    write_atomic(path, lambda stream: figure.savefig(stream, format="png", dpi=150))
