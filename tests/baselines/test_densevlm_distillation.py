"""Feature and logit distillation from the powerful model: closed forms, where gradients go, and their trainings."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from baselines.densevlm import ALIGNMENT
from baselines.densevlm.distillation import feature_distillation, logit_distillation
from baselines.densevlm.loss import decoupled_alignment
from baselines.densevlm.options import DenseVLMOptions
from baselines.densevlm.train import CHECKPOINT, _Training, align
from baselines.densevlm.trained import make_projection
from repro.clip.names import TINY as TINY_CONFIG
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import UsageError
from repro.files import write_json
from repro.methods.alignments import CONFIG, FACTS, WEIGHTS

TINY = TowerSpec("tiny", None, resolution=48, dense_residual="token")
TEACHER = TowerSpec("tiny", None, resolution=48, dense_residual="token", seed=1)
THINGS = torch.tensor([True, False])


def options(**changes: object) -> DenseVLMOptions:
    quick = {"image_size": 32, "categories": "coco133", "templates": ("{}",), "iterations": 4, "batch_size": 2}
    steps = {"lr": 1e-3, "warmup_iterations": 1, "workers": 0, "checkpoint_every": 2, "threshold": 0.0}
    made: DenseVLMOptions = ALIGNMENT.make_options({**quick, **steps, **changes})
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(6)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (32, 40, 3), np.uint8)).save(path)
    return paths


def test_logit_distillation_of_two_categories_is_the_divergence_of_two_coins() -> None:
    # The powerful model says 3/4 and 1/2, the trained one 1/2 and 1/4; the third region is padding.
    powerful = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0], [9.0, 0.0]]])
    trained = torch.tensor([[[0.0, 0.0], [0.0, math.log(3)], [0.0, 9.0]]])
    valid = torch.tensor([[True, True, False]])
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    outcome = logit_distillation(trained, powerful, valid, things=THINGS, reduction="image")
    assert float(outcome.loss) == pytest.approx((first + second) / 2, abs=1e-6)
    assert (int(outcome.thing), int(outcome.stuff)) == (2, 0)  # of equals the first category, a thing


def test_logit_distillation_is_the_alignment_without_denoising_and_without_kinds() -> None:
    torch.manual_seed(0)
    trained, powerful, things = torch.randn(3, 5, 7), torch.randn(3, 5, 7), torch.tensor([True] * 3 + [False] * 4)
    valid = torch.rand(3, 5) > 0.3
    plain = logit_distillation(trained, powerful, valid, things=things, reduction="image")
    other = decoupled_alignment(
        trained,
        powerful,
        valid,
        thing_classes="all",
        stuff_classes="all",
        reduction="image",
        things=things,
        threshold=0,
    )
    torch.testing.assert_close(plain.loss, other.loss)
    assert (int(plain.thing), int(plain.stuff)) == (int(other.thing), int(other.stuff))


def test_feature_distillation_is_one_minus_the_cosine_of_regions() -> None:
    powerful = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [1.0, 0.0]]])
    projected = torch.tensor([[[5.0, 0.0], [1.0, 1.0]], [[-1.0, -1.0], [7.0, 7.0]]])
    valid = torch.tensor([[True, True], [True, False]])
    of_images = ((0 + (1 - math.sqrt(0.5))) / 2, 2.0)
    by_image = feature_distillation(projected, powerful, valid, reduction="image")
    assert float(by_image.loss) == pytest.approx(sum(of_images) / 2, abs=1e-6)
    by_batch = feature_distillation(projected, powerful, valid, reduction="group")
    assert float(by_batch.loss) == pytest.approx((0 + (1 - math.sqrt(0.5)) + 2) / 3, abs=1e-6)
    assert (int(by_image.thing), int(by_image.stuff)) == (3, 0)


@pytest.mark.parametrize("objective", ["logits", "features"])
def test_only_the_trained_model_gets_a_gradient_and_padding_gives_none(objective: str) -> None:
    torch.manual_seed(1)
    trained, powerful = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
    valid = torch.tensor([[True, True, False], [True, False, False]])
    if objective == "logits":
        things = torch.tensor([True, True, False, False])
        loss = logit_distillation(trained, powerful, valid, things=things, reduction="image").loss
    else:
        loss = feature_distillation(trained, powerful, valid, reduction="image").loss
    loss.backward()
    assert powerful.grad is None
    assert trained.grad is not None
    assert ((trained.grad.abs().sum(-1) > 1e-9) == valid).all()


def test_no_region_is_no_loss_with_a_gradient_of_zero() -> None:
    projected = torch.ones(1, 2, 3, requires_grad=True)
    outcome = feature_distillation(
        projected, torch.ones(1, 2, 3), torch.zeros(1, 2, dtype=torch.bool), reduction="image"
    )
    outcome.loss.backward()
    assert outcome.loss == 0
    assert projected.grad is not None
    assert (projected.grad == 0).all()


def test_the_projection_starts_as_a_map_that_keeps_angles_and_is_the_same_for_a_seed() -> None:
    wide, same, other = make_projection(3, 5, 0), make_projection(3, 5, 0), make_projection(3, 5, 1)
    assert wide.weight.shape == (5, 3)
    torch.testing.assert_close(wide.weight.T @ wide.weight, torch.eye(3))
    assert torch.equal(wide.weight, same.weight)
    assert not torch.equal(wide.weight, other.weight)


def test_the_projection_begins_with_what_brings_the_texts_together() -> None:
    torch.manual_seed(2)
    turn = torch.linalg.qr(torch.randn(6, 4))[0]  # 4 channels into 6, angles kept
    few, many = torch.randn(2, 4), torch.randn(9, 4)
    for seed in (0, 1):  # texts in every direction leave nothing to chance
        found = make_projection(4, 6, seed, (many, many @ turn.T)).weight
        torch.testing.assert_close(found, turn, atol=2e-3, rtol=0)
    weights = [make_projection(4, 6, seed, (few, few @ turn.T)).weight for seed in (0, 1)]
    for weight in weights:
        torch.testing.assert_close(few @ weight.T, few @ turn.T, atol=5e-3, rtol=0)
        torch.testing.assert_close(weight.T @ weight, torch.eye(4))
    assert not torch.allclose(*weights, atol=0.05)


def test_the_alignment_s_projection_is_that_of_its_texts_unless_asked_otherwise(images: list[Path]) -> None:
    made = [
        _Training(TINY, TEACHER, options(objective="features", **more), images, 0, torch.device("cpu"), None)
        for more in ({}, {"projection": "random"})
    ]
    assert made[0].projection is not None
    assert made[1].projection is not None
    assert torch.equal(made[1].projection.weight, make_projection(32, 32, 0).weight)
    nearness = [
        float(torch.cosine_similarity(t.texts[0] @ t.projection.weight.T, t.texts[1]).mean())  # type: ignore[union-attr]
        for t in made
    ]
    assert nearness[0] > 0.5 > abs(nearness[1])


@pytest.mark.parametrize("objective", ["logits", "features"])
def test_towers_of_two_widths_come_nearer_and_the_teacher_stays(
    objective: str, images: list[Path], tmp_path: Path
) -> None:
    losses: list[float] = []
    many = options(objective=objective, iterations=25, lr=3e-3)
    write_json(tmp_path / "wider" / CONFIG, {"model_cfg": {**TINY_CONFIG, "embed_dim": 40}})
    teacher = dataclasses.replace(TEACHER, model=str(tmp_path / "wider"))
    assert (build_tower(TINY).embed_dim, build_tower(teacher).embed_dim) == (32, 40)
    folder = align(TINY, teacher, many, images, tmp_path / "out", progress=lambda s, t, f: losses.append(f["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    facts = json.loads((folder / FACTS).read_text())
    counted = {"regions"} if objective == "features" else {"thing_regions", "stuff_regions"}
    assert set(facts["curve"][0]) == {"step", "loss", *counted}
    assert set(torch.load(folder / WEIGHTS, weights_only=True)) == set(build_tower(TINY).open_clip_state())
    assert facts["options"]["objective"] == objective


def test_ended_feature_distillation_goes_on_with_its_projection(images: list[Path], tmp_path: Path) -> None:
    class EndedError(Exception):
        pass

    def end(step: int, total: int, figures: Mapping[str, float]) -> None:
        if step == 3:
            raise EndedError

    chosen = options(objective="features")
    whole = align(TINY, TEACHER, chosen, images, tmp_path / "whole")
    with pytest.raises(EndedError):
        align(TINY, TEACHER, chosen, images, tmp_path / "ended", progress=end)
    assert (tmp_path / "ended" / CHECKPOINT).is_file()
    ended = align(TINY, TEACHER, chosen, images, tmp_path / "ended")
    expected, found = (torch.load(f / WEIGHTS, weights_only=True) for f in (whole, ended))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_result_says_what_an_epoch_took_and_what_memory(images: list[Path], tmp_path: Path) -> None:
    folder = align(TINY, TEACHER, options(), images, tmp_path)
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
    cost = facts["cost"]
    assert set(cost) == {"images", "seconds_per_epoch", "memory_mib", "memory", "device"}
    assert (cost["images"], cost["memory"]) == (6, "resident")
    assert 0 < cost["seconds_per_epoch"] * 4 * 2 / 6 <= facts["seconds"] + 0.1  # 4 steps of 2 of the 6 images
    assert cost["memory_mib"] is None or cost["memory_mib"] > 50  # torch alone takes more


def test_a_share_of_the_images_is_part_of_a_larger_one(images: list[Path], tmp_path: Path) -> None:
    from baselines.densevlm.train import _share

    half, third = _share(images, None, 0.5, 0)[0], _share(images, None, 1 / 3, 0)[0]
    assert (len(half), len(third)) == (3, 2)
    assert set(third) < set(half) < set(images)
    assert list(half) == sorted(half)
    assert len(_share(images, None, 0.01, 0)[0]) == 1
    folder = align(TINY, TEACHER, options(image_share=0.5), images, tmp_path)
    assert json.loads((folder / FACTS).read_text())["cost"]["images"] == 3


def test_labels_go_with_their_images() -> None:
    from baselines.densevlm.train import _share
    from repro.methods.alignments import Labels

    images, labels = ([Path(f"{i}{ending}") for i in range(9)] for ending in (".jpg", ".png"))
    kept, own = _share(images, Labels(tuple(labels), ("a",)), 0.4, 3)
    assert own is not None
    assert [p.stem for p in kept] == [p.stem for p in own.files]


def test_options_that_came_later_leave_addresses_alone_until_they_are_used() -> None:
    before, after = ALIGNMENT.values(options()), ALIGNMENT.values(options(objective="logits", image_share=0.5))
    assert not {"objective", "image_share", "projection"} & set(before)
    assert (after["objective"], after["image_share"]) == ("logits", 0.5)


def test_labels_have_no_features() -> None:
    with pytest.raises(UsageError, match="objective"):
        options(teacher="labels", categories="coco_stuff171", objective="features")


def test_the_decoupled_training_has_no_projection(images: list[Path]) -> None:
    assert _Training(TINY, TEACHER, options(), images, 0, torch.device("cpu"), None).projection is None
