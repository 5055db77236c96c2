"""The losses of single patches, against plain loops and closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repro.mini.captions import listed, never_together, salient
from repro.mini.catalogue import CONCEPTS
from repro.mini.clip.data import PairStream, Picture, patch_labels, picture_regions
from repro.mini.clip.model import (
    both_read_outs,
    build,
    image_tokens,
    list_loss,
    normalised,
    region_loss,
    training_loss,
    word_loss,
)
from repro.mini.clip.scores import dense_features
from repro.mini.clip.training import TEST_RECIPE, Phase, TinyClipRecipe
from repro.mini.scenes import render_scene


def test_word_loss_is_what_a_loop_over_words_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    likeness = torch.rand(3, 5, 4, generator=generator, dtype=torch.float64) * 2 - 1
    named = torch.tensor([(0, 1), (0, 3), (1, 2), (2, 0), (2, 1), (2, 2)])
    expected = 0.0
    for image in range(3):
        words = [int(w) for i, w in named if i == image]
        for word in words:
            own = -F.log_softmax(15 * likeness[image], -1)[:, word]
            weight = torch.exp(60 * likeness[image, :, word])
            expected += float((weight / weight.sum() * own).sum()) / len(words) / 3
    assert float(word_loss(likeness, named)) == pytest.approx(expected, rel=1e-12)


def test_list_loss_is_what_a_loop_over_patches_computes() -> None:
    generator = torch.Generator().manual_seed(1)
    likeness = torch.rand(3, 5, 4, generator=generator, dtype=torch.float64) * 2 - 1
    named = torch.tensor([(0, 1), (0, 3), (1, 2), (2, 0), (2, 1), (2, 2)])
    probabilities = (15 * likeness).softmax(-1)
    terms = [-torch.log(p[[1, 3]].sum()) for p in probabilities[0]]
    terms += [-torch.log(p[[0, 1, 2]].sum()) for p in probabilities[2]]
    found = list_loss(likeness, named, torch.tensor([True, False, True]))
    assert float(found) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-12)
    assert float(list_loss(likeness, named, torch.zeros(3, dtype=torch.bool))) == 0


def test_a_word_learns_from_the_patch_that_answers_it() -> None:
    likeness = torch.zeros(1, 4, 2)
    likeness[0, 2, 0] = 0.5
    likeness.requires_grad_()
    word_loss(likeness, torch.tensor([(0, 0)])).backward()
    assert likeness.grad is not None
    strength = likeness.grad.abs().sum(-1)[0]
    assert strength.argmax() == 2
    assert strength[2] < 0.01 * 15 * 2  # that patch is nearly sure already ..
    assert strength[[0, 1, 3]].max() < 1e-10  # .. and the others are not asked


def test_both_read_outs_are_those_of_dense_prediction() -> None:
    model = build(TEST_RECIPE).eval()
    images = normalised(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))
    with torch.no_grad():
        tokens, dense = both_read_outs(model, images, (0, 0))
        torch.testing.assert_close(tokens, image_tokens(model, images, (0, 0)))
        expected = dense_features(model, images)["value/token"]
        torch.testing.assert_close(F.normalize(dense @ model.visual.proj, dim=-1), expected)


def test_majority_labels_are_those_of_counting() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (48, 64)).astype(np.int16)
    labels[:12, :16], labels[36:, 48:] = 7, 9
    found = patch_labels(labels, 4).reshape(4, 4)
    assert found[0, 0] == 7
    assert found[3, 3] == 9
    counts = np.bincount(labels[12:24, 16:32].ravel())
    assert counts[found[1, 1]] >= 0.8 * counts.max()


def _recipe(**changes: object) -> TinyClipRecipe:
    phase = Phase(1, 12, 32, 0.5, 0.5, windows=3, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(TEST_RECIPE, phases=(phase,))


def test_words_of_a_batch_are_those_its_captions_name() -> None:
    batch = PairStream(_recipe(word_weight=1.0, listed=1.0))[0]
    image, word = batch.named.T
    assert image.unique().tolist() == list(range(12))
    assert word.unique().tolist() == list(range(len(batch.words)))
    assert not batch.regions.numel()
    assert batch.listed.all()
    assert (torch.bincount(image)[:6] > 1).any()  # crops name their ground
    alone = PairStream(_recipe(word_weight=1.0))[0]
    assert not alone.listed.any()
    assert (torch.bincount(alone.named[:, 0])[:6] == 1).all()
    plain = PairStream(_recipe())[0]
    assert not plain.words.numel()


def test_regions_are_asked_among_all_concepts() -> None:
    batch = PairStream(_recipe(region_weight=1.0))[0]
    assert len(batch.words) == len(CONCEPTS)
    assert batch.cover.shape == (len(batch.regions), 16)
    for pair in batch.named[:6].tolist():  # the concept of a crop is one of its regions
        assert pair in batch.regions.tolist()


def test_regions_are_each_stretch_of_stuff_each_thing_and_its_box() -> None:
    things = [i for i, c in enumerate(CONCEPTS) if c.kind == "thing"][:2]
    stuff = next(i for i, c in enumerate(CONCEPTS) if c.kind == "stuff")
    concepts, instances = np.full((32, 32), stuff, np.int16), np.zeros((32, 32), np.int16)
    concepts[0:16, 0:8], instances[0:16, 0:8] = things[0], 1
    concepts[16:24, 0:16], instances[16:24, 0:16] = things[0], 2  # the same concept again, another object
    concepts[24:32, 24:32], instances[24:32, 24:32] = things[1], 3
    concepts[24:28, 24:28], instances[24:28, 24:28] = stuff, 0
    concepts[0, 31], instances[0, 31] = things[1], 4  # too small to be asked for
    picture = Picture(np.zeros((32, 32, 3), np.uint8), concepts, instances, things, False)
    found = picture_regions(picture, 4)
    assert sorted(concept for concept, _ in found) == sorted([stuff, *[things[0]] * 4, *[things[1]] * 2])
    mask, box = (cover.reshape(4, 4) for concept, cover in found if concept == things[1])
    assert (mask[3, 3], mask.sum()) == (0.75, 0.75)
    assert (box[3, 3], box.sum()) == (1, 1)
    (ground,) = (cover for concept, cover in found if concept == stuff)
    assert ground.sum() == pytest.approx((concepts == stuff).sum() / 64)


def test_a_region_counts_as_one_however_many_patches_it_covers() -> None:
    words = F.normalize(torch.eye(3, 4), dim=-1)
    patches = words[[0, 0, 0, 1]][None].requires_grad_()
    regions, cover = (
        torch.tensor([[0, 0], [0, 1], [0, 2]]),
        torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0.1], [0, 0, 0, 0.0]]),
    )
    sure = math.log(1 + 2 * math.exp(-20))
    loss = region_loss(patches, words, regions, cover)
    assert loss.item() == pytest.approx(sure, abs=1e-7)  # the third covers nothing and is left out
    wrong = region_loss(patches, words, torch.tensor([[0, 0], [0, 2], [0, 2]]), cover)
    assert wrong.item() == pytest.approx((20 + 2 * sure) / 2, abs=1e-5)
    half = region_loss(patches, words, torch.tensor([[0, 0]]), torch.tensor([[1.0, 0, 0, 1.0]]))
    assert half.item() == pytest.approx(math.log(2 + math.exp(-20 / math.sqrt(2))), abs=1e-5)  # the mean of both


@pytest.mark.parametrize("term", ["patch_weight", "word_weight", "list_weight", "region_weight"])
def test_every_weight_adds_its_term_and_only_regions_read_labels(term: str) -> None:
    recipe = _recipe(**{"listed": 0.5, "patch_weight": 0.0, "region_weight": 1e-9, term: 1.0})
    phase, batch, model = recipe.phases[0], PairStream(recipe)[0], build(recipe)
    with torch.no_grad():
        whole = training_loss(model, batch, (0, 0), None, phase)
        without = training_loss(model, batch, (0, 0), None, dataclasses.replace(phase, **{term: 0.0}))
        moved = dataclasses.replace(batch, regions=batch.regions.roll(1, 0)) if batch.regions.numel() else batch
        other = training_loss(model, moved, (0, 0), None, phase)
    assert whole > without + 0.1
    assert (other == pytest.approx(float(whole), abs=1e-6)) is (term != "region_weight")


def test_no_caption_of_the_training_holds_an_unseen_pair() -> None:
    rng, several = np.random.default_rng(0), 0
    for _ in range(200):
        labels = render_scene(rng, 64, 80).concepts
        for named in (salient(rng, labels, 0.9), listed(labels, 0.005, 9)):
            things = [c for c in named if CONCEPTS[c].kind == "thing"]
            several += len(things) > 1
            assert not any(never_together(a, b) for a in things for b in things if a != b)
    assert several > 50
