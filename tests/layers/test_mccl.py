"""FSS and the four MCCL losses against transcriptions with loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.errors import UsageError
from repro.layers.mccl import (
    MCCL,
    TERMS,
    at_places,
    auxiliary_mccl,
    bounded_similarity,
    drawn,
    image_labels,
    mccl,
    pairs_of,
    synergy,
)

C, L = 5, 6
IMAGE = torch.tensor([0, 0, 0, 2, 3, 3])
"""Whose class: three, none, one and two classes of four images."""
READINGS = ("mapped", "clipped")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def close(found: Tensor, expected: Tensor | float) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=found.dtype), rtol=0, atol=1e-12)


def vectors() -> tuple[Tensor, Tensor, Tensor]:
    f, b, t = torch.randn(3, len(IMAGE), C, dtype=torch.float64)
    return f, b + 0.5 * f, t  # of a foreground and background above and below the bound on the cosine


def cosine(u: Tensor, v: Tensor) -> float:
    return float(sum(x * y for x, y in zip(u, v, strict=True)) / (math.hypot(*u) * math.hypot(*v)))


def printed_s(cos: float, reading: str, eps: float = 0.005) -> float:
    if reading == "clipped":
        return min(max(cos, eps), 1 - eps)
    return eps + (1 - 2 * eps) * (min(max(cos, -1), 1) + 1) / 2


def printed(f: Tensor, b: Tensor, t: Tensor, images: int, reading: str, above: float) -> dict[str, float]:
    totals = dict.fromkeys(TERMS, 0.0)
    for i in range(images):
        classes = [p for p in range(len(IMAGE)) if IMAGE[p] == i]
        n = len(classes)
        for c in classes:
            totals["align"] -= math.log(printed_s(cosine(f[c], t[c]), reading)) / n
            if cosine(f[c], b[c]) > above:
                totals["cont"] -= math.log(1 - printed_s(cosine(f[c], b[c]), reading)) / n
        for j in classes:
            for k in classes:
                if j != k:
                    totals["back"] -= math.log(printed_s(cosine(b[j], b[k]), reading)) / (n * (n - 1))
                    totals["sep"] -= math.log(1 - printed_s(cosine(f[j], f[k]), reading)) / (n * (n - 1))
    return {name: total / images for name, total in totals.items()}


def test_synergy_features_are_weighted_means() -> None:
    activation, features = torch.rand(3, L, dtype=torch.float64), torch.randn(3, L, C, dtype=torch.float64)
    foreground, background = synergy(activation, features)
    for p in range(3):
        f = sum(activation[p, x] * features[p, x] for x in range(L)) / (sum(activation[p]) + 1e-6)
        b = sum((1 - activation[p, x]) * features[p, x] for x in range(L)) / (sum(1 - activation[p]) + 1e-6)
        close(foreground[p], f)
        close(background[p], b)


def test_an_activation_of_nothing_gives_finite_features() -> None:
    foreground, background = synergy(torch.tensor([[0.0] * L, [1.0] * L]), torch.randn(2, L, C))
    assert foreground.isfinite().all()
    assert background.isfinite().all()
    assert foreground[0].abs().max() == background[1].abs().max() == 0


@pytest.mark.parametrize("reading", READINGS)
def test_similarities_are_bounded_as_each_version_prints_them(reading: str) -> None:
    cosines = [-1.5, -1, -0.3, 0.001, 0.1, 0.7, 1, 1.0000001]
    found = bounded_similarity(torch.tensor(cosines, dtype=torch.float64), MCCL(similarity=reading))  # type: ignore[arg-type]
    close(found, torch.tensor([printed_s(c, reading) for c in cosines], dtype=torch.float64))
    assert found.min() >= 0.005 - 1e-15
    assert found.max() <= 0.995 + 1e-15


@pytest.mark.parametrize("above", [0.1, -1.0])
@pytest.mark.parametrize("reading", READINGS)
def test_the_four_losses(reading: str, above: float) -> None:
    f, b, t = vectors()
    options = MCCL((1.0, 2.0, 3.0, 4.0), reading, contrast_above=above)  # type: ignore[arg-type]
    found = mccl(f, b, t, IMAGE, 4, options)
    expected = printed(f, b, t, 4, reading, above)
    assert tuple(found) == TERMS
    for weight, name in enumerate(TERMS, start=1):
        close(found[name], weight * expected[name])
        assert expected[name] > 0


def test_the_bound_on_the_cosine_leaves_pairs_out_of_cont() -> None:
    f, b, t = vectors()
    cosines = [cosine(f[p], b[p]) for p in range(len(IMAGE))]
    assert min(cosines) < 0.1 < max(cosines)
    assert mccl(f, b, t, IMAGE, 4, MCCL())["cont"] < mccl(f, b, t, IMAGE, 4, MCCL(contrast_above=-1))["cont"]


def test_lengths_of_vectors_do_not_matter() -> None:
    f, b, t = vectors()
    lengths = 10 ** torch.linspace(-3, 3, len(IMAGE), dtype=torch.float64)[:, None]
    found, expected = mccl(lengths * f, b / lengths, 7 * t, IMAGE, 4, MCCL()), mccl(f, b, t, IMAGE, 4, MCCL())
    for name in TERMS:
        close(found[name], expected[name])


def test_an_image_with_one_class_has_no_pair_terms_and_no_nan() -> None:
    f, b, t = (x[:1].requires_grad_() for x in vectors())
    losses = mccl(f, b, t, IMAGE[:1], 1, MCCL())
    assert losses["back"] == losses["sep"] == 0
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert f.grad is not None
    assert f.grad.isfinite().all()


def test_a_batch_without_any_class_has_a_loss_of_zero_with_a_graph() -> None:
    f, b, t = (x[:0].requires_grad_() for x in vectors())
    total = sum(mccl(f, b, t, IMAGE[:0], 2, MCCL()).values())
    assert isinstance(total, Tensor)
    assert total == 0
    total.backward()


def test_a_weight_of_zero_leaves_its_loss_out_and_the_others_alone() -> None:
    f, b, t = vectors()
    whole = mccl(f, b, t, IMAGE, 4, MCCL())
    for index, name in enumerate(TERMS):
        weights = tuple(w * (i != index) for i, w in enumerate(MCCL().weights))
        part = mccl(f, b, t, IMAGE, 4, MCCL(weights))
        assert part == {n: v for n, v in whole.items() if n != name}


def test_the_losses_are_computed_in_float32_under_autocast() -> None:
    f, b, t = (x.float() for x in vectors())
    plain = mccl(f, b, t, IMAGE, 4, MCCL())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mccl(f, b, t, IMAGE, 4, MCCL()) == plain


@pytest.mark.parametrize("reading", READINGS)
def test_gradients_are_those_of_finite_differences(reading: str) -> None:
    inputs = tuple(x.requires_grad_() for x in vectors())
    options = MCCL(similarity=reading)  # type: ignore[arg-type]

    def total(*x: Tensor) -> Tensor:
        return torch.stack(list(mccl(*x, IMAGE, 4, options).values())).sum()  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(total, inputs)


def test_image_labels_are_the_sets_of_classes() -> None:
    labels = torch.tensor([[[0, 2], [255, 2]], [[255, 255], [255, 255]], [[3, 3], [3, 3]]])
    present = image_labels(labels, 5)
    assert [row.nonzero().flatten().tolist() for row in present] == [[0, 2], [], [3]]
    pairs = pairs_of(present)
    assert (pairs.image.tolist(), pairs.category.tolist()) == ([0, 0, 2], [0, 2, 3])


GRIDS = [((4, 4), (8, 8)), ((3, 5), (12, 20)), ((4, 6), (7, 13)), ((5, 5), (5, 5)), ((2, 3), (32, 9)), ((1, 1), (6, 4))]
"""Grid of the features and size of the maps: whole multiples, others, equal, uneven, a single place."""


@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_pooling_at_places_is_pooling_features_resized_to_maps(grid: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.rand(3, *size, dtype=torch.float64)
    features = torch.randn(3, C, *grid, dtype=torch.float64)
    fine = F.interpolate(features, size, mode="bilinear")
    at_pixels = (maps.unsqueeze(1) * fine).sum(dim=(2, 3)) / maps.sum(dim=(1, 2))[:, None]
    weight = at_places(maps, grid)
    at_grid = (weight.unsqueeze(1) @ features.flatten(2).transpose(1, 2)).squeeze(1) / weight.sum(dim=1, keepdim=True)
    close(at_grid, at_pixels)


@pytest.mark.parametrize(("grid", "size"), GRIDS)
def test_places_share_a_map_out_and_the_rest_of_it_is_the_rest(grid: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.rand(2, *size, dtype=torch.float64)
    found = at_places(maps, grid)
    close(found.mean(dim=1), maps.mean(dim=(1, 2)))
    close(at_places(1 - maps, grid).sum(dim=1), (1 - found).sum(dim=1))
    turned = at_places(maps.transpose(1, 2), (grid[1], grid[0])).unflatten(1, (grid[1], grid[0]))
    close(turned.transpose(1, 2).flatten(1), found)


def test_maps_of_the_grid_are_left_alone_and_pixels_of_a_place_differ_in_their_gradients() -> None:
    maps = torch.rand(2, 5, 4, dtype=torch.float64)
    close(at_places(maps, (5, 4)), maps.flatten(1))
    fine = torch.rand(1, 8, 8, dtype=torch.float64, requires_grad=True)
    at_places(fine, (2, 2))[0, 0].backward()
    assert fine.grad is not None
    assert len(fine.grad[0, :4, :4].unique()) > 1


def test_a_draw_has_the_number_that_is_asked_for_and_only_what_may_be_chosen() -> None:
    chosen = torch.rand(40, 30) < 0.4
    chosen[0] = False
    chosen[1] = torch.arange(30) < 3
    keys = torch.arange(40) * 12345 + 7
    for count in (0, 1, 8, 29, 30, 100):
        found = drawn(chosen, count, keys)
        assert not (found & ~chosen).any()
        assert torch.equal(found.sum(dim=1), chosen.sum(dim=1).clamp(max=count))


def test_a_draw_is_the_same_however_a_batch_is_divided_and_differs_between_images() -> None:
    chosen, keys = torch.rand(12, 171) < 0.9, torch.randint(0, 2**31, (12,))
    whole = drawn(chosen, 8, keys)
    for size in (1, 5, 6):
        parts = [drawn(c, 8, k) for c, k in zip(chosen.split(size), keys.split(size), strict=True)]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(12)
    assert torch.equal(drawn(chosen[order], 8, keys[order]), whole[order])
    everything = drawn(torch.ones_like(chosen), 8, keys)
    assert len(everything.unique(dim=0)) == 12


@pytest.mark.parametrize("step", [1, 97, 1 << 20])
def test_over_many_images_every_class_is_drawn_about_as_often(step: int) -> None:
    images, classes, count = 4000, 40, 8
    often = drawn(torch.ones(images, classes, dtype=torch.bool), count, torch.arange(images) * step).sum(dim=0)
    expected = images * count / classes
    spread = (images * (count / classes) * (1 - count / classes)) ** 0.5
    assert float((often - expected).abs().max()) < 5 * spread  # of a fair draw 3.2 on average
    # Nor do two classes come together more often than others.
    pairs = drawn(torch.ones(images, classes, dtype=torch.bool), count, torch.arange(images) * step).double()
    together = (pairs.T @ pairs)[~torch.eye(classes, dtype=torch.bool)]
    share = count * (count - 1) / (classes * (classes - 1))
    assert float((together - images * share).abs().max()) < 6 * (images * share * (1 - share)) ** 0.5


def resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (C, H, W), each place of unit length, resized bilinearly to (C, *size)."""
    unit = features / features.square().sum(dim=0).sqrt()
    return F.interpolate(unit[None], size, mode="bilinear")[0]


def test_the_auxiliary_loss_is_mccl_of_unit_features_resized_to_the_maps() -> None:
    scores, features = torch.rand(2, 4, 8, 8, dtype=torch.float64), torch.randn(2, C, 4, 4, dtype=torch.float64)
    text, labels = torch.randn(4, C, dtype=torch.float64), torch.tensor([[[0, 3]], [[255, 1]]])
    f, b = [], []
    for image, category in ((0, 0), (0, 3), (1, 1)):
        a, v = scores[image, category], resized(features[image], (8, 8))
        f.append((a * v).sum(dim=(1, 2)))
        b.append(((1 - a) * v).sum(dim=(1, 2)))
    terms = mccl(torch.stack(f), torch.stack(b), text[[0, 3, 1]], torch.tensor([0, 0, 1]), 2, MCCL())
    close(auxiliary_mccl(scores, features, text, labels), float(sum(terms.values())))  # type: ignore[arg-type]


def test_the_auxiliary_loss_goes_by_directions_of_features_and_text() -> None:
    scores, features = torch.rand(2, 4, 8, 8, dtype=torch.float64), torch.randn(2, C, 4, 4, dtype=torch.float64)
    text, labels = torch.randn(4, C, dtype=torch.float64), torch.tensor([[[0, 3]], [[2, 1]]])
    found = auxiliary_mccl(scores, features, text, labels)
    lengths = 10 ** torch.linspace(-2, 2, 32, dtype=torch.float64).view(2, 1, 4, 4)
    close(auxiliary_mccl(scores, lengths * features, 7 * text, labels), found)
    order = torch.tensor([1, 0])
    close(auxiliary_mccl(scores[order], features[order], text, labels[order]), found)


def test_the_auxiliary_loss_is_least_for_maps_that_are_right() -> None:
    text = torch.eye(3, C, dtype=torch.float64)
    labels = torch.tensor([[[0, 1]]])
    places = torch.tensor([[0, 0, 1, 1], [2, 2, 1, 1]])
    features = text[places].permute(2, 0, 1)[None]
    right = torch.stack([(places == c).double() for c in range(3)])[None]
    losses = [float(auxiliary_mccl(s, features, text, labels)) for s in (right, torch.full_like(right, 0.5), 1 - right)]
    assert losses[0] < min(losses[1:])


def test_the_auxiliary_loss_sees_sets_of_classes_only() -> None:
    scores, features, text = torch.rand(2, 4, 8, 8), torch.randn(2, C, 4, 4), torch.randn(4, C)
    labels = torch.randint(0, 4, (2, 16, 16))
    moved = labels.flatten(1)[:, torch.randperm(256)].view_as(labels)
    assert not torch.equal(moved, labels)
    assert torch.equal(auxiliary_mccl(scores, features, text, labels), auxiliary_mccl(scores, features, text, moved))


@pytest.mark.parametrize(
    "change",
    [
        {"weights": (1.0, 1.0, 1.0)},
        {"weights": (0.0,) * 4},
        {"weights": (1.0, 1.0, 1.0, -1.0)},
        {"similarity": "clip"},
        {"eps": 0.5},
        {"eps": 0.0},
    ],
    ids=str,
)
def test_choices_that_make_no_loss_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        MCCL(**change)  # type: ignore[arg-type]
