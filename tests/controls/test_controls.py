"""The controls on small methods: those of the project hold, broken ones do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.configuration.profiles import load_profile
from repro.controls.criteria import judge_overfit, judge_start
from repro.controls.images import only_present, squares
from repro.controls.overfit import chance_ap, map_ap, overfit, showable
from repro.controls.start import mean_cosine, start
from repro.datasets.layout import Pair
from repro.methods import get_method
from repro.methods.interface import Method
from repro.training.settings import TrainSettings

CLASSES = ("sky", "grass", "dog")
TOWER = TowerSpec("tiny", None, resolution=48, dense_residual="token")
# At twice the rate the end hangs on rounding: CAT-Seg then names 80 to 100 % of the pixels, by the number of threads.
STEPS = 400
SETTINGS = TrainSettings(batch_size=2, lr=2e-3, clip_grad_norm=1.0)


def scenes() -> tuple[Tensor, Tensor]:
    """Three pictures (3, 3, 48, 48) of coloured bands, and their labels."""
    torch.manual_seed(0)
    labels = torch.zeros(3, 48, 48, dtype=torch.long)
    labels[:, 24:] = 1
    labels[0, 8:24, 8:24] = labels[1, 24:40, 16:40] = 2
    labels[2, :, :16] = 2
    labels[:, :2] = 255
    colours = torch.tensor([[60.0, 120, 220], [60, 160, 60], [180, 110, 60]])
    images = colours[labels.clamp(max=2)].permute(0, 3, 1, 2) + 20 * torch.randn(3, 3, 48, 48)
    return images.clamp(0, 255), labels


def small(name: str, **changes: object) -> Method:
    torch.manual_seed(0)
    entry, base = get_method(name), load_profile("smoke").methods[name]["base"]
    return entry.create(build_tower(TOWER), entry.make_options({**base, **changes}))


class Blind(Method):
    """Says the same of every class, or, with ``still``, never learns."""

    def __init__(self, clip: ClipTower, still: bool = False) -> None:
        super().__init__()
        self.clip, self.still = clip, still
        clip.train_only()
        self.head = nn.Conv2d(3, 1, 1)

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        logits: Tensor = self.head(images / 255)
        return logits.expand(-1, len(classes), -1, -1)

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        return {"loss": nn.functional.cross_entropy(self(images, classes), labels, ignore_index=255)}


@pytest.mark.parametrize("name", ["catseg", "logoseg", "disa"])
def test_every_method_with_masks_learns_pictures_by_heart(name: str) -> None:
    images, labels = scenes()
    steps: list[int] = []
    found = overfit(small(name), images, labels, CLASSES, SETTINGS, STEPS, lambda done, total: steps.append(done))
    assert judge_overfit(vars(found), "masks").holds, found
    assert found.map_ap > found.chance_ap
    assert steps == list(range(1, STEPS + 1))


def test_a_method_that_is_blind_to_classes_holds_neither_control() -> None:
    images, labels = scenes()
    method = Blind(build_tower(TOWER))
    assert not judge_start(vars(start(method, images, CLASSES))).holds
    assert not judge_overfit(vars(overfit(method, images, labels, CLASSES, SETTINGS, 20)), "masks").holds


def test_labels_that_say_nothing_of_the_picture_are_not_learned_in_so_few_steps() -> None:
    images, labels = scenes()
    noise = torch.randint(0, 3, labels.shape)
    assert not judge_overfit(vars(overfit(small("catseg"), images, noise, CLASSES, SETTINGS, 20)), "masks").holds


@pytest.mark.parametrize(("name", "old"), [("disa", {"text_scale": "unit"}), ("logoseg", {"text_scale": "unit"})])
def test_text_of_unit_length_brings_the_queries_together(name: str, old: dict[str, object]) -> None:
    images, _ = scenes()
    names = [f"class {i}" for i in range(20)]
    now, before = (start(small(name, **o), images, names) for o in ({}, old))
    assert now.query_cosine is not None
    assert before.query_cosine is not None
    assert 1 - now.query_cosine > 2 * (1 - before.query_cosine)


def test_mean_cosine_of_different_vectors() -> None:
    assert mean_cosine(torch.eye(4).unsqueeze(0)) == pytest.approx(0, abs=1e-6)
    assert mean_cosine(torch.ones(2, 3, 5)) == pytest.approx(1)
    vectors = torch.randn(2, 6, 4)
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    pairs = [float(unit[b, i] @ unit[b, j]) for b in range(2) for i in range(6) for j in range(6) if i != j]
    assert mean_cosine(vectors) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_variances_are_those_over_classes_and_over_places() -> None:
    class Drawn(Blind):
        def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
            return table.expand(len(images), -1, -1, -1)

    table = torch.randn(3, 4, 5)
    found = start(Drawn(build_tower(TOWER)), torch.zeros(2, 3, 48, 48), CLASSES)
    assert found.over_classes == pytest.approx(float(np.var(table.numpy(), axis=0, ddof=1).mean()), rel=1e-5)
    assert found.over_places == pytest.approx(float(np.var(table.flatten(1).numpy(), axis=1, ddof=1).mean()), rel=1e-5)


def test_average_precision_of_right_maps_is_one_and_of_level_maps_the_share() -> None:
    _, labels = scenes()
    right = nn.functional.one_hot(labels.clamp(max=2), 3).permute(0, 3, 1, 2).float()
    assert map_ap(right, labels) == pytest.approx(1)
    assert map_ap(torch.zeros_like(right), labels) == pytest.approx(chance_ap(labels))


def test_squares_are_the_middle_of_images_spread_over_the_set(tmp_path: Path) -> None:
    pairs = []
    for i in range(5):
        picture = np.full((20, 40, 3), 40 * i, np.uint8)
        label = np.full((20, 40), 255, np.uint8)
        label[:, 10:30] = i
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        Image.fromarray(label).save(tmp_path / f"{i}-label.png")
        pairs.append(Pair(str(i), tmp_path / f"{i}.png", tmp_path / f"{i}-label.png"))
    images, labels = squares(pairs, 3, 8)
    assert images.shape == (3, 3, 8, 8)
    assert labels.flatten(1).unique(dim=1).tolist() == [[0], [2], [4]]
    assert images.flatten(1).mean(dim=1).tolist() == pytest.approx([0, 80, 160])
    own, present = only_present(labels, 171)
    assert present == [0, 2, 4]
    assert own.flatten(1).unique(dim=1).tolist() == [[0], [1], [2]]
    own, present = only_present(torch.tensor([[[7, 255, 3]]]), 171)
    assert (own.tolist(), present) == ([[[1, 255, 0]]], [3, 7])


def test_images_of_controls_are_read_as_their_labels_are_stored(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 200
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a-label.png")
    images, _ = squares([Pair("a", tmp_path / "a.png", tmp_path / "a-label.png")], 1, 8)
    assert images[0, 0, 0, 0] == 200


def test_pixels_that_a_map_can_show_lie_in_cells_of_one_class() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, :, 4:] = 1
    labels[0, 3, 0] = 2  # one pixel of a cell of four by four
    labels[0, 7, 7] = 255
    shown = showable(labels, 3, (8, 8))
    assert int(shown.sum()) == 63  # a map of full size shows all that is labelled
    assert not shown[0, 7, 7]
    coarse = showable(labels, 3, (2, 2))
    assert not coarse[0, :4, :4].any()
    assert coarse[0, 4:, :4].all()
    assert int(coarse[0, :, 4:].sum()) == 31  # what is not labelled makes no cell mixed
    assert not showable(labels, 3, (1, 1)).any()
