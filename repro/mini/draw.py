"""The whole miniature: drawn, with its panoptic sets and a sheet to look at, and its labels prepared."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

CONTACT_SHEET = "contact_sheet.png"
Progress = Callable[[str, str], contextlib.AbstractContextManager[Callable[[int, int], None]]]
"""Called with what is done and its unit; yields a function of (done, in all)."""


@contextlib.contextmanager
def silent(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show nothing."""
    del title, unit
    yield lambda done, total: None


def draw_miniature(
    root: Path,
    seed: int,
    sizes: Mapping[str, Any],
    log: Callable[[str], None] | None = None,
    *,
    prepared: bool = True,
    progress: Progress = silent,
) -> None:
    """Draw the miniature below ``root`` with its contact sheet and, with ``prepared``, convert its labels.

    Raises DataError where ``root`` holds data sets that this program did not draw.
    """
    from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS
    from repro.datasets.prepare.prepare import prepare
    from repro.mini.contact_sheet import contact_sheet
    from repro.mini.panoptic import synth_panoptic
    from repro.mini.synth import SETS, MiniSizes, draw_scene, synth

    mini = MiniSizes(**sizes)
    with progress("drawing the miniature", "picture") as update:
        synth(root, seed=seed, sizes=mini, progress=update)
    with progress("drawing the panoptic sets", "picture") as update:
        synth_panoptic(root, seed, mini, update)
    samples = [(name, i) for name in SETS for i in range(min(8, getattr(mini, name)))]
    contact_sheet([draw_scene(seed, name, i, mini) for name, i in samples], root / CONTACT_SHEET, seed=seed)
    if log:
        log(f"drew the miniature; to look at it: {root / CONTACT_SHEET}")
    if prepared:
        for set_id in (*BENCHMARKS, *TRAIN_SETS):
            summary = prepare(set_id, root)
            if log:
                log(f"prepared {set_id}: {summary.images} images")
