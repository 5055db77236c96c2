"""Eq. 2 without a backward pass equals Eq. 2 with one."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disa.saliency import gelu_vjp, layer_norm_vjp, mlp_vjp, softmax_vjp
from disa.sdm import Matching, SaliencyModule
from repro.layers.tokens import Mlp

SHAPES = [(1, 1, 4, 16, 8), (2, 5, 9, 32, 16), (3, 7, 25, 48, 16), (1, 30, 36, 64, 64)]
"""Images, classes, places, channels, channels of a head."""


def make(dim: int = 32, head_dim: int = 16, layers: int = 3) -> SaliencyModule:
    torch.manual_seed(0)
    module = SaliencyModule(dim, layers, head_dim, 4.0)
    with torch.no_grad():  # so that neither a norm's weight nor a bias is trivial, and attention is not flat
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def inputs(images: int, classes: int, places: int, dim: int) -> tuple[Tensor, Tensor]:
    return F.normalize(torch.randn(classes, dim), dim=-1), 3 * torch.randn(images, places, dim)


def by_autograd(found: Matching, layer: Any, target: str, labels: Tensor | None) -> Tensor:
    """Eq. 2 as it is written: a backward pass through the whole graph from the scores to each layer's attention."""
    if target == "score":
        value = found.logits[..., 1].sum()
    elif target == "margin":
        value = (found.logits[..., 1] - found.logits[..., 0]).sum()
    else:
        matched = torch.ones(found.logits.shape[:2], dtype=torch.long) if labels is None else labels
        value = F.cross_entropy(found.logits.flatten(0, 1), matched.flatten(), reduction="sum")
    states = found.layers if layer == "mean" else [found.layers[layer]]
    grads = torch.autograd.grad(value, [s.attention for s in states], retain_graph=True)
    maps = [(F.relu(g) * s.attention).mean(dim=1) for g, s in zip(grads, states, strict=True)]
    return torch.stack(maps).mean(dim=0).detach()


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest error of a class's map over the largest value of that map."""
    return float(((found - expected).abs().amax(-1) / expected.abs().amax(-1).clamp(min=1e-30)).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", [-1, 0, 1, "mean"])
@pytest.mark.parametrize("target", ["score", "margin", "loss", "loss with labels"])
def test_closed_form_equals_autograd_through_the_whole_graph(shape: Any, layer: Any, target: str) -> None:
    images, classes, places, dim, head_dim = shape
    module = make(dim, head_dim)
    found = module(*inputs(images, classes, places, dim))
    labels = torch.randint(0, 2, (images, classes)) if target == "loss with labels" else None
    kind: Any = target.split()[0]
    expected = by_autograd(found, layer, kind, labels)
    assert (expected > 0).any()
    assert relative(module.saliency(found, layer, kind, labels), expected) < 1e-5


def test_closed_form_equals_autograd_to_the_last_digits_in_double() -> None:
    module = make().double()
    text, image = inputs(2, 5, 9, 32)
    found = module(text.double(), image.double())
    for layer in (-1, 0, "mean"):
        assert relative(module.saliency(found, layer), by_autograd(found, layer, "score", None)) < 1e-12


def test_live_saliency_has_the_same_values_and_lets_gradients_into_the_attention_alone() -> None:
    module = make()
    found = module(*inputs(2, 5, 9, 32))
    live, fixed = module.saliency(found, 0, live=True), module.saliency(found, 0)
    assert torch.equal(live.detach(), fixed)
    assert not fixed.requires_grad
    weights = module._gradients(found, 0, "score", None)[0].clamp(min=0)
    (grad,) = torch.autograd.grad(live.sum(), found.layers[0].attention)
    torch.testing.assert_close(grad, weights / weights.shape[1])


def test_loss_saliency_of_a_matching_class_looks_where_its_score_falls() -> None:
    # dL/ds is negative for a class that is there: the positive part of the gradient is what lowers the score.
    module = make()
    found = module(*inputs(2, 5, 9, 32))
    score, loss = module.saliency(found), module.saliency(found, target="loss")
    assert torch.corrcoef(torch.stack([score.flatten(), loss.flatten()]))[0, 1] < 0.9


@pytest.mark.parametrize(
    ("name", "function"), [("gelu", F.gelu), ("layer norm", None), ("mlp", None), ("softmax", lambda x: x.softmax(-1))]
)
def test_each_piece_equals_autograd(name: str, function: Any) -> None:
    torch.manual_seed(0)
    norm, mlp = nn.LayerNorm(6).double(), Mlp(6, 2.0, F.gelu).double()
    nn.init.normal_(norm.weight)
    x = torch.randn(4, 6, dtype=torch.double, requires_grad=True)
    grad = torch.randn(4, 6, dtype=torch.double)
    y = {"layer norm": norm, "mlp": mlp}.get(name, function)(x)
    (expected,) = torch.autograd.grad(y, x, grad)
    ours = {
        "gelu": lambda: gelu_vjp(grad, x),
        "layer norm": lambda: layer_norm_vjp(grad, x, norm),
        "mlp": lambda: mlp_vjp(grad, mlp.fc1(x), mlp),
        "softmax": lambda: softmax_vjp(grad, y),
    }[name]()
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_it_needs_no_graph() -> None:
    module = make()
    text, image = inputs(2, 5, 9, 32)
    expected = module.saliency(module(text, image))
    assert not expected.requires_grad
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            torch.testing.assert_close(
                module.saliency(module(text, image), "mean"), module.saliency(module(text, image), "mean")
            )
            torch.testing.assert_close(module.saliency(module(text, image)), expected)


def test_inputs_made_in_inference_mode_are_no_obstacle() -> None:
    module = make()
    with torch.inference_mode():
        text, image = inputs(1, 3, 9, 32)
        assert module.saliency(module(text, image), 0).shape == (1, 3, 9)


def test_under_bf16_autocast_it_is_float32_and_near() -> None:
    module = make()
    text, image = inputs(2, 5, 36, 32)
    exact = module.saliency(module(text, image))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = module.saliency(module(text, image), 0), module.saliency(module(text, image))
    assert {r.dtype for r in rough} == {torch.float32}
    assert torch.corrcoef(torch.stack([exact.flatten(), rough[1].flatten()]))[0, 1] > 0.98


def test_a_model_in_bf16_has_a_finite_saliency() -> None:
    module = make().bfloat16()
    text, image = inputs(1, 3, 9, 32)
    assert module.saliency(module(text.bfloat16(), image.bfloat16())).isfinite().all()


@pytest.mark.parametrize("layer", [-1, "mean"])
def test_it_traces_as_one_graph(layer: Any) -> None:
    module = make()
    text, image = inputs(2, 5, 9, 32)

    def run(text: Tensor, image: Tensor) -> Tensor:
        return module.saliency(module(text, image), layer)

    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(text, image), run(text, image))
    with torch.inference_mode():
        torch.testing.assert_close(compiled(text, image), run(text, image))


@pytest.mark.slow
def test_compiled_it_is_the_same() -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    module = make()
    text, image = inputs(2, 5, 9, 32)
    with torch.no_grad():
        run = torch.compile(lambda t, i: module.saliency(module(t, i)), fullgraph=True)
        assert relative(run(text, image), module.saliency(module(text, image))) < 1e-4


def test_classes_do_not_meet() -> None:
    module = make()
    text, image = inputs(2, 6, 9, 32)
    found, part = module(text, image), module(text[2:4], image)
    torch.testing.assert_close(part.logits, found.logits[:, 2:4])
    torch.testing.assert_close(module.saliency(part), module.saliency(found)[:, 2:4])


def test_attention_alone_is_the_mean_over_heads() -> None:
    module = make()
    found = module(*inputs(2, 5, 9, 32))
    torch.testing.assert_close(module.attention(found, -1).sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(
        module.attention(found, "mean"), torch.stack([module.attention(found, i) for i in range(3)]).mean(0)
    )


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="divide"):
        SaliencyModule(30, 3, 16, 4.0)
