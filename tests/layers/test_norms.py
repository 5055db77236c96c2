"""Layer norm by a compiled loop: torch's numbers, and torch's own wherever a loop does not serve."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from repro.layers import compiled_products
from repro.layers.norms import WIDEST, LayerNorm


def norm_of(width: int, seed: int = 0) -> LayerNorm:
    """A norm whose weights and biases are drawn."""
    torch.manual_seed(seed)
    norm = LayerNorm(width)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    return norm


def of_double(norm: LayerNorm, x: Tensor) -> Tensor:
    x, width = x.double(), x.shape[-1]
    spread = (x - x.mean(-1, keepdim=True)).square().sum(-1, keepdim=True) / width
    unit = (x - x.mean(-1, keepdim=True)) / (spread + norm.eps).sqrt()
    return unit * norm.weight.double() + norm.bias.double()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes the compiled loop was given."""
    shapes, loop = [], compiled_products.normalise

    def noted(x: object, *rest: object) -> None:
        shapes.append(x.shape)  # type: ignore[attr-defined]
        loop(x, *rest)

    monkeypatch.setattr(compiled_products, "normalise", noted)
    return shapes


@pytest.mark.parametrize("shape", [(5, 32), (2, 3, 7, 31), (1, 96), (4, 1), (0, 16), (3, WIDEST)])
def test_rows_are_normalised_as_the_formula_says(shape: tuple[int, ...], calls: list[tuple[int, ...]]) -> None:
    norm = norm_of(shape[-1])
    x = 3 * torch.randn(shape) + 2
    with torch.inference_mode():
        found = norm(x)
    assert len(calls) == 1
    torch.testing.assert_close(found.double(), of_double(norm, x), rtol=2e-6, atol=4e-6)


def test_tokens_in_any_layout_and_what_has_no_spread(calls: list[tuple[int, ...]]) -> None:
    norm, x = norm_of(24), torch.randn(24, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(norm(x.permute(2, 1, 0)), nn.LayerNorm.forward(norm, x.permute(2, 1, 0)))
        assert torch.equal(norm(torch.full((2, 24), 7.0)), norm.bias.expand(2, -1))
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("within", "change"),
    [
        (contextlib.nullcontext, lambda norm, x: (norm, x)),  # a gradient is recorded
        (torch.no_grad, lambda norm, x: (norm.double(), x.double())),
        (torch.no_grad, lambda norm, x: (norm.bfloat16(), x.bfloat16())),
        (torch.no_grad, lambda norm, x: (norm.to("meta"), x.to("meta"))),
        (torch.no_grad, lambda norm, x: (norm_of(2 * WIDEST), torch.randn(3, 2 * WIDEST))),
        (torch.no_grad, lambda norm, x: (LayerNorm(32, elementwise_affine=False), x)),
        (torch.no_grad, lambda norm, x: (LayerNorm(32, bias=False), x)),
    ],
    ids=["gradient", "float64", "bfloat16", "meta", "wide", "no weights", "no bias"],
)
def test_elsewhere_it_is_torchs_own(
    within: Callable[[], contextlib.AbstractContextManager[None]],
    change: Callable[[LayerNorm, Tensor], tuple[LayerNorm, Tensor]],
    calls: list[tuple[int, ...]],
) -> None:
    norm, x = change(norm_of(32), torch.randn(3, 32))
    with within():
        found, expected = norm(x), nn.LayerNorm.forward(norm, x)
    assert calls == []
    assert found.requires_grad == expected.requires_grad
    if found.device.type != "meta":
        assert torch.equal(found, expected)


def test_under_autocast_it_is_torchs_own(calls: list[tuple[int, ...]]) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        norm_of(32)(torch.randn(3, 32))
    assert calls == []


def test_a_checkpoint_and_an_optimiser_see_a_layer_norm() -> None:
    norm = norm_of(8)
    assert isinstance(norm, nn.LayerNorm)  # what is one has no weight decay
    assert norm.state_dict().keys() == nn.LayerNorm(8).state_dict().keys()
