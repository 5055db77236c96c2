"""``repro figures --backbone``: dense maps of CLIP towers side by side, image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.console import log, stdout_to_stderr
from repro.datasets import layout
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.images import read_label, stored_image
from repro.hardware import choose_device
from repro.measuring import figures as measured
from repro.measuring.dense import SIMILARITY, ShownTower, class_text, dense_data, shown_tower
from repro.reports.figures.colours import class_colours
from repro.reports.figures.maps import class_legend, heat, panels, save_png, tinted
from repro.reports.figures.plot_style import need_matplotlib

if TYPE_CHECKING:
    from repro.measuring.figures import ImageData
    from repro.reports.figures.draw import FiguresRequest

Picture = tuple[str, NDArray[np.uint8], NDArray[Any] | None, tuple[int, ...]]
"""Key, pixels (H, W, 3), label (H, W) or None, and the classes to draw."""


def draw_dense(request: FiguresRequest) -> list[Path]:
    """Draw a figure an image with a column a tower; returns the files.

    Towers are those of the profile by their keys, or ``SOURCE:WHAT``. Raises UsageError for names that do not exist,
    WeightsError for weights that are not there, ResourceError without matplotlib.
    """
    need_matplotlib()
    benchmark = get_benchmark(request.benchmark)
    towers = [
        shown_tower(name, request.profile, request.runs, request.data_root)
        for name in dict.fromkeys(request.backbone or ())
    ]
    names = _class_names(request, benchmark)
    subject = "photo" if request.image else benchmark.id
    with stdout_to_stderr():
        device = choose_device(request.device)
        pictures = list(_pictures(request, benchmark, towers[0], names))
        found: dict[str, list[tuple[str, ImageData]]] = {}
        for shown in towers:
            tower = shown.build(device)
            text, side = class_text(tower, names, shown), shown.settings.image_size
            for key, image, label, chosen in pictures:
                data = dense_data(tower, text, side, key, image, label, chosen)
                found.setdefault(key, []).append((f"{shown.title}\n{shown.name}", data))
        written = []
        for key, columns in found.items():
            path = request.out / f"{subject}_{key}_dense.png"
            caption = f"cosine of places and class names | profile {request.profile} | {subject} | {key}"
            dense_figure(columns, names, caption, path)
            log(f"wrote {path}")
            written.append(path)
    return written


def dense_figure(columns: Sequence[tuple[str, ImageData]], names: Sequence[str], caption: str, path: Path) -> None:
    """Draw the nearest classes of all towers in a row, and below a row per class with each tower's similarities.

    As Figure 5 of the DenseVLM paper. All data are of the same image and classes, ``columns`` are (title, data); each
    map runs from its smallest to its largest value, since towers have cosines of their own scale.
    """
    first = columns[0][1]
    before = ["image"] if first.label is None else ["image", "ground truth"]
    figure, axes = panels(len(first.classes) + 1, len(columns) + len(before), first.image.shape)
    colours = class_colours(names)
    axes[0][0].set_ylabel("nearest class", fontsize=9)
    for row, panel in enumerate(axes[:, 0]):
        panel.imshow(first.image)
        if row:
            panel.set_ylabel(names[first.classes[row - 1]], fontsize=9)
    if first.label is not None:
        axes[0][1].imshow(tinted(first.image, first.label, colours))
        for panel, index in zip(axes[1:, 1], first.classes, strict=True):
            heat(panel, first.image, (first.label == index).astype(np.float32), binary=True)
    for column, (_, data) in enumerate(columns, len(before)):
        axes[0][column].imshow(tinted(data.image, data.prediction, colours))
        for panel, values in zip(axes[1:, column], data.maps[SIMILARITY], strict=True):
            heat(panel, data.image, values)
    for panel, title in zip(axes[0], [*before, *(title for title, _ in columns)], strict=True):
        panel.set_title(title, fontsize=9)
    class_legend(figure, [data for _, data in columns], names, colours)
    save_png(figure, caption, path)


def _class_names(request: FiguresRequest, benchmark: Benchmark) -> list[str]:
    """Return the names that places are compared with: the benchmark's classes, without a folded background, and own."""
    if not request.image:
        return measured.class_titles(benchmark)[: benchmark.background_index]
    words = measured.words_of(benchmark, request.classes or ())
    return list(words.names[: words.background_index])


def _pictures(
    request: FiguresRequest, benchmark: Benchmark, shown: ShownTower, names: Sequence[str]
) -> Iterator[Picture]:
    """Yield the pictures that are asked for."""
    from repro.evaluation.predict import read_photo

    if request.image:
        chosen = measured.places_of(names, request.classes or ())
        for key, path in measured.keyed(request.image):
            yield key, read_photo(path), None, chosen
        return
    pairs = layout.prepared_pairs(benchmark, shown.assets.ensure_set(benchmark, log))
    for pair in measured.choose_pairs(pairs, request.images, request.count):
        label = read_label(pair.label)
        classes = measured.choose_classes(label, benchmark, request.classes, request.rows) or (0,)
        yield pair.key, stored_image(pair.image), label, classes
