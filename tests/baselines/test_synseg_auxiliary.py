"""MCCL beside the losses of the methods that are trained with masks (``aux``)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from baselines.synseg.options import SynSegOptions
from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.errors import UsageError
from repro.layers.mccl import MCCL, auxiliary_mccl, mccl
from repro.methods import get_method
from repro.methods.interface import Method
from repro.testing.methods import NAMES, MethodTester

METHODS = ("catseg", "disa")


def build(name: str, **changes: object) -> Method:
    entry = get_method(name)
    torch.manual_seed(1)
    sizes = load_profile("smoke").methods[name]["base"]
    return entry.create(build_tower(MethodTester.spec), entry.make_options({**sizes, **changes})).train()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return MethodTester.images(height=48, width=48), torch.randint(0, 3, (2, 48, 48))


def gradients(method: Method, *losses: torch.Tensor) -> dict[str, torch.Tensor]:
    method.zero_grad()
    torch.stack(losses).sum().backward()
    return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", METHODS)
def test_without_it_nothing_is_added(name: str) -> None:
    plain = build(name)
    assert plain.options.aux == "none"
    assert "loss_mccl" not in plain.loss(*batch(), NAMES)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_added_to_the_method_s_own_losses_and_weighted(name: str) -> None:
    images, labels = batch()
    plain, light, heavy = build(name), build(name, aux="mccl"), build(name, aux="mccl", aux_weight=0.2)
    assert plain.state_dict().keys() == light.state_dict().keys()
    own, values = plain.loss(images, labels, NAMES), light.loss(images, labels, NAMES)
    assert values.keys() - own.keys() == {"loss_mccl"}
    assert all(torch.equal(values[n], v) or v.isnan() for n, v in own.items())
    torch.testing.assert_close(heavy.loss(images, labels, NAMES)["loss_mccl"], 2 * values["loss_mccl"])


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_shared_loss_of_the_predicted_maps(name: str) -> None:
    method = build(name, aux="mccl", aux_weight=1.0)
    images, labels = batch()
    scores = method(images, NAMES).sigmoid() if method.activation == "sigmoid" else method(images, NAMES).softmax(1)
    template = getattr(method.options, "template", None) or method.options.templates[0]
    text, features = method.clip.text(NAMES, template), method.clip.dense(images).map
    expected = auxiliary_mccl(scores, features, text, labels)
    torch.testing.assert_close(method.loss(images, labels, NAMES)["loss_mccl"], expected)


def test_its_choices_are_those_synseg_trains_with() -> None:
    o = SynSegOptions()
    weights = (o.align_weight, o.cont_weight, o.back_weight, o.sep_weight)
    assert MCCL() == MCCL(weights, o.similarity, o.eps, o.contrast_above)


@pytest.mark.parametrize("name", METHODS)
def test_it_pools_the_tower_s_features_at_the_size_of_the_maps(name: str) -> None:
    method = build(name, aux="mccl", aux_weight=1.0)
    images, labels = batch()
    scores = method.activate(method(images, NAMES))
    template = getattr(method.options, "template", None) or method.options.templates[0]
    text, features = method.clip.text(NAMES, template), method.clip.dense(images).map
    fine = F.interpolate(F.normalize(features, dim=1), scores.shape[-2:], mode="bilinear")
    present = [(i, int(c)) for i in range(len(images)) for c in labels[i].unique()]
    f = torch.stack([(scores[i, c] * fine[i]).sum(dim=(1, 2)) for i, c in present])
    b = torch.stack([((1 - scores[i, c]) * fine[i]).sum(dim=(1, 2)) for i, c in present])
    of_image = torch.tensor([i for i, _ in present])
    terms = mccl(f, b, text[[c for _, c in present]], of_image, len(images), MCCL())
    expected = torch.stack(list(terms.values())).sum()
    torch.testing.assert_close(method.loss(images, labels, NAMES)["loss_mccl"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_the_maps_and_sees_sets_of_classes_only(name: str) -> None:
    method = build(name, aux="mccl")
    images, labels = batch()
    found = gradients(method, method.loss(images, labels, NAMES)["loss_mccl"])
    assert sum(bool(g.any()) for n, g in found.items() if "decoder" in n) > 2
    if name == "catseg":  # DiSa's saliency module learns from pairs, and picks tokens by them
        moved = labels.flatten(1)[:, torch.randperm(48 * 48)].view_as(labels)
        again = gradients(method, method.loss(images, moved, NAMES)["loss_mccl"])
        assert all(torch.equal(again[n], g) for n, g in found.items())


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_auxiliary_loss_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="aux"):
        build(name, aux="mcl")
