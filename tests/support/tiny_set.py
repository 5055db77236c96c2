"""A handful of images with labels on disk, and a benchmark over them, for tests of the engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("red", "green", "blue", "yellow", "grey")
COLOURS = np.array([[220, 30, 30], [30, 200, 40], [40, 60, 220], [220, 210, 40], [128, 128, 128]])


@dataclasses.dataclass(frozen=True)
class TinyPair:
    """As repro.datasets.layout.Pair."""

    key: str
    image: Path
    label: Path


@dataclasses.dataclass(frozen=True)
class TinyBenchmark:
    """As repro.datasets.benchmarks.Benchmark, as far as the engine asks."""

    id: str = "tiny"
    ignore_label: int = 255
    background_index: int | None = None
    names: tuple[str, ...] = NAMES
    prompts: tuple[str, ...] | None = None
    root: Path | None = None
    described_by: Path | None = None

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def class_names(self) -> tuple[str, ...]:
        return self.names

    def legal_labels(self) -> str:
        return f"0..{self.num_classes - 1}, {self.ignore_label}"

    def prompt_names(self) -> tuple[str, ...]:
        return self.prompts or self.names


def write_pairs(
    folder: Path, count: int = 6, sizes: tuple[tuple[int, int], ...] = ((48, 64), (70, 40))
) -> list[TinyPair]:
    """``count`` images of coloured blocks, labelled by colour, a tenth of the blocks ignored (255)."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(count):
        rng = np.random.default_rng(number)
        height, width = sizes[number % len(sizes)]
        blocks = rng.integers(0, len(NAMES), (-(-height // 8), -(-width // 8)))
        blocks = np.where(rng.random(blocks.shape) < 0.1, 255, blocks)
        label = blocks.repeat(8, 0).repeat(8, 1)[:height, :width]
        colours = COLOURS[np.where(label == 255, 4, label)]
        image = np.clip(colours + rng.integers(-20, 21, colours.shape), 0, 255)
        pair = TinyPair(f"tiny_{number:03d}", folder / f"{number:03d}.png", folder / f"{number:03d}_label.png")
        Image.fromarray(image.astype(np.uint8)).save(pair.image)
        Image.fromarray(label.astype(np.uint8)).save(pair.label)
        pairs.append(pair)
    return pairs
