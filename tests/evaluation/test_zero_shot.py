"""The class signal of dense features: what knows its classes, what guesses, and what only seems to know."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from repro.datasets.layout import Pair
from repro.errors import DataError
from repro.evaluation.zero_shot import _signal, class_signal

COLOURS = np.random.default_rng(0).permutation(12**3)[:20]
NAMES = [f"class {i}" for i in range(20)]


def colour(c: int) -> tuple[int, int, int]:
    code = int(COLOURS[c])
    return 20 * (code // 144) + 10, 20 * (code // 12 % 12) + 10, 20 * (code % 12) + 10


class ColourTower:
    """Knows a class by its colour: dense features are how near each patch is to every colour."""

    grid = 4
    mean = torch.zeros(1)

    def _near(self, rgb: Tensor) -> Tensor:
        known = torch.tensor([colour(c) for c in range(20)], dtype=torch.float32)
        return torch.exp(-(rgb[:, None] - known).square().sum(-1) / 200)

    def dense(self, images: Tensor) -> Any:
        rgb = F.avg_pool2d(images, images.shape[-1] // 4)[0].flatten(1).T
        return SimpleNamespace(map=self._near(rgb).T.reshape(1, 20, 4, 4))

    def text(self, names: list[str], template: str) -> Tensor:
        return torch.eye(20)[[int(name.split()[1]) for name in names]]


class BiasedTower(ColourTower):
    """Names one class everywhere."""

    def dense(self, images: Tensor) -> Any:
        return SimpleNamespace(map=torch.eye(20)[3].view(1, 20, 1, 1).expand(1, 20, 4, 4))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Images wider than high, a square of 4 x 4 cells of one colour each in their middle."""
    folder = tmp_path_factory.mktemp("colours")
    rng, found = np.random.default_rng(1), []
    for number in range(30):
        cells = rng.integers(0, 20, (4, 4))
        label = np.full((16, 24), 255, np.uint8)
        label[:, 4:20] = cells.repeat(4, 0).repeat(4, 1)
        image = np.array([colour(c) if c < 20 else (0, 0, 0) for c in label.ravel()], np.uint8).reshape(16, 24, 3)
        paths = [folder / f"{kind}{number}.png" for kind in ("image", "label")]
        Image.fromarray(image).save(paths[0])
        Image.fromarray(label).save(paths[1])
        found.append(Pair(str(number), *paths))
    return found


def test_a_tower_that_knows_every_class_is_right_everywhere(pairs: list[Pair]) -> None:
    signal = class_signal(ColourTower(), pairs, NAMES)  # type: ignore[arg-type]
    assert (signal.images, signal.patches, signal.classes) == (30, 480, 20)
    assert (signal.top1, signal.mean_class) == (1.0, 1.0)
    assert signal.over_chance == pytest.approx(20)
    assert signal.mean_class > signal.bar(2.0)


def test_naming_one_class_everywhere_is_exactly_chance(pairs: list[Pair]) -> None:
    signal = class_signal(BiasedTower(), pairs, NAMES)  # type: ignore[arg-type]
    assert signal.mean_class == pytest.approx(signal.chance)
    assert signal.shuffled == pytest.approx(signal.chance)
    assert signal.mean_class <= signal.bar(2.0)


def test_shuffled_texts_stay_below_the_bar(pairs: list[Pair]) -> None:
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(20)
        signal = class_signal(ColourTower(), pairs, [NAMES[i] for i in order])  # type: ignore[arg-type]
        assert signal.mean_class == pytest.approx(np.mean(order == np.arange(20)))
        assert signal.mean_class <= signal.bar(2.0)


def test_images_are_spread_evenly_and_labels_beyond_the_names_left_out(pairs: list[Pair]) -> None:
    seen: list[tuple[int, int]] = []
    signal = class_signal(
        ColourTower(),  # type: ignore[arg-type]
        pairs,
        NAMES[:10],
        images=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 4) for i in (1, 2, 3, 4)]
    labels = [np.asarray(Image.open(pairs[i].label))[2::4, 6:20:4] for i in (0, 9, 19, 29)]
    kept = np.concatenate([label[label < 10] for label in labels])
    assert (signal.patches, signal.classes) == (len(kept), len(np.unique(kept)))


def test_mean_is_over_classes_not_patches() -> None:
    confusion = np.array([[90.0, 0.0], [10.0, 0.0]])
    signal = _signal(confusion, 1)
    assert (signal.top1, signal.mean_class, signal.chance) == (0.9, 0.5, 0.5)


def test_one_class_alone_says_nothing(pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="two classes"):
        class_signal(ColourTower(), pairs[:1], NAMES[:0])  # type: ignore[arg-type]
