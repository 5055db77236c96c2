"""Evaluation of one method at many values of its threshold, for one forward pass an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from repro.datasets.images import check_label, read_label, stored_image
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow
from repro.methods.interface import Method
from repro.metrics.counts import Counts, CountsBuilder

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair


@torch.no_grad()
def count_thresholds(
    method: Method,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    protocol: Protocol,
    values: Sequence[float],
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Mapping[float, Counts]:
    """Return the counts of an evaluation at each of ``values`` of the option that :attr:`Method.threshold` names.

    The logits of an image are made once; what follows them is done for each value by the code of an evaluation, with
    images in the same batches. So the counts are those of :func:`repro.evaluation.evaluate.evaluate` of a method with
    that option, to the pixel. Raises DataError for unreadable or ill-fitting images and labels, RunError for NaN.
    """
    method.to(device).eval()
    window = SlidingWindow(protocol)
    classes = method.prompts(benchmark.prompt_names(), benchmark.background_index)
    builders = {
        value: CountsBuilder(benchmark.num_classes, benchmark.ignore_label, benchmark.background_index)
        for value in values
    }
    step = window.images_at_once(len(classes), device)
    for start in range(0, len(pairs), step):
        batch = pairs[start : start + step]
        images = [stored_image(pair.image) for pair in batch]
        logits = window.logits(method, [window.resize(image) for image in images], classes)
        for pair, image, views in zip(batch, images, logits, strict=True):
            size = (image.shape[0], image.shape[1])
            label = read_label(pair.label)
            check_label(label, benchmark, pair.label, size)
            for value, builder in builders.items():
                prediction = window.labels(method, method.at_threshold(views, classes, value), size)
                builder.add(pair.key, prediction.astype("int64"), label)
        progress(min(start + step, len(pairs)), len(pairs))
    return {value: builder.build() for value, builder in builders.items()}
