from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import repro.layers.parallel
from repro.layers import compiled_classes
from repro.layers.class_attention import ClassAggregation, LinearClassAttention


def _published(layer: LinearClassAttention, x: Tensor, guidance: Tensor) -> Tensor:
    """Padding repeated to its full length and every head by itself, as the paper's code states it."""
    b, t, places, c = x.shape
    x = x.transpose(1, 2).reshape(b * places, t, c)
    g = guidance.expand(b, -1, -1).unsqueeze(1).expand(b, places, t, -1).reshape(b * places, t, -1)
    pad = layer.pad_len - t
    if pad > 0:
        x = torch.cat([x, layer.padding_tokens.expand(b * places, pad, -1)], dim=1)
        g = torch.cat([g, layer.padding_guidance.expand(b * places, pad, -1)], dim=1)
    y = layer.norm1(x)
    q, k = (m(torch.cat([y, g], dim=-1)) for m in (layer.attention.q, layer.attention.k))
    v = layer.attention.v(y)
    heads = layer.heads_sum.shape[1]
    q, k, v = (s.unflatten(-1, (heads, -1)) for s in (F.elu(q) + 1, F.elu(k) + 1, v))
    length = v.shape[1]
    kv = torch.einsum("nshd,nshv->nhdv", k, v / length)
    z = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(dim=1)) + 1e-6)
    x = x + (torch.einsum("nlhd,nhdv,nlh->nlhv", q, kv, z) * length).flatten(2)
    x = x + layer.mlp.fc2(F.relu(layer.mlp.fc1(layer.norm2(x))))
    return x[:, :t].view(b, places, t, c).transpose(1, 2)


def _layer(pad_len: int, padding: Literal["attended", "masked"] = "attended") -> LinearClassAttention:
    torch.manual_seed(0)
    layer = LinearClassAttention(dim=12, guidance_dim=5, heads=3, pad_len=pad_len, padding=padding)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("padding"):
                parameter.normal_()
    return layer


@pytest.mark.parametrize("pad_len", [16, 7, 0])
@pytest.mark.parametrize("per_image", [True, False])
def test_counted_padding_equals_repeated_padding(pad_len: int, per_image: bool) -> None:
    layer = _layer(pad_len).double()
    x = torch.randn(2, 7, 9, 12, dtype=torch.double, requires_grad=True)
    guidance = torch.randn(2 if per_image else 1, 7, 5, dtype=torch.double)
    expected = _published(layer, x, guidance)
    result = layer(x, guidance)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, guidance), expected, rtol=1e-10, atol=1e-10)
    used = [p for n, p in layer.named_parameters() if pad_len > 7 or not n.startswith("padding")]
    weight = torch.randn_like(expected)
    ours = torch.autograd.grad((result * weight).sum(), [x, *used])
    theirs = torch.autograd.grad((expected * weight).sum(), [x, *used])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("pad_len", [40, 19, 0])
@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
@torch.no_grad()
def test_the_compiled_layer_equals_float64(
    heads: int, pad_len: int, per_image: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(repro.layers.parallel, "threads", lambda _: threads)
    layer = LinearClassAttention(dim=32, guidance_dim=5, heads=heads, pad_len=pad_len, ratio=1.5)
    for parameter in layer.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    x, guidance = torch.randn(2, 19, 10, 32), torch.randn(2 if per_image else 1, 19, 5)
    x[:, 7] *= 30  # a class whose queries leave the range in which elu is not flat
    attended: list[int] = []
    run = compiled_classes.attend_classes
    monkeypatch.setattr(compiled_classes, "attend_classes", lambda *args: (attended.append(args[8]), run(*args)))
    found = layer(x, guidance)
    assert sorted(attended) == sorted(2 * ([0] if threads == 1 else [0, 4, 8]))
    expected = layer.double()(x.double(), guidance.double())
    assert len(attended) == 2 * min(threads, 3)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert found.is_contiguous()


@torch.no_grad()
def test_what_is_no_number_is_not_hidden() -> None:
    x, guidance = torch.randn(1, 3, 4, 32), torch.randn(1, 3, 5)
    for spoiled in dict(LinearClassAttention(32, 5, 2, 8).named_parameters()):
        layer = LinearClassAttention(32, 5, 2, 8)
        assert not layer(x, guidance).isnan().any()
        layer.get_parameter(spoiled).fill_(torch.nan)
        assert layer(x, guidance).isnan().all(), spoiled


def test_other_widths_are_attended_by_torch() -> None:
    x = torch.zeros(1, 3, 4, 32)
    layer = LinearClassAttention(dim=32, guidance_dim=5, heads=2, pad_len=0, ratio=1)
    with torch.no_grad():
        assert layer._compiles(x)
        assert not layer._compiles(x.double())
        assert not layer._compiles(x[:, :0])
        assert not LinearClassAttention(dim=32, guidance_dim=5, heads=4, pad_len=0, ratio=1)._compiles(x)
        assert not LinearClassAttention(dim=32, guidance_dim=5, heads=2, pad_len=0, ratio=1.25)._compiles(x)
    assert not layer._compiles(x)  # where a gradient is recorded


def test_masked_padding_is_no_padding() -> None:
    masked, without = _layer(16, "masked"), _layer(0)
    assert not masked.padding_tokens.requires_grad
    assert not masked.padding_guidance.requires_grad
    missing, unexpected = without.load_state_dict(masked.state_dict(), strict=False)
    assert not missing
    assert set(unexpected) == {"padding_tokens", "padding_guidance"}
    x, guidance = torch.randn(2, 7, 9, 12), torch.randn(1, 7, 5)
    assert torch.equal(masked(x, guidance), without(x, guidance))
    assert not torch.allclose(masked(x, guidance), _layer(16)(x, guidance))


def _aggregation(**options: Any) -> ClassAggregation:
    torch.manual_seed(0)
    return ClassAggregation(dim=8, guidance_dim=5, heads=2, pad_len=10, grid=6, pooling=(2, 2), **options)


def _resized(y: Tensor, side: int, align_corners: bool = True) -> Tensor:
    b, t, _, c = y.shape
    y = y.reshape(b * t, side, side, c).permute(0, 3, 1, 2)
    y = F.interpolate(y, size=(6, 6), mode="bilinear", align_corners=align_corners)
    return y.flatten(2).transpose(1, 2).reshape(b, t, 36, c)


def _pooled(x: Tensor, cell: int) -> Tensor:
    """Mean over whole cells of a 6x6 map, place by place."""
    count = 6 // cell
    maps = x.unflatten(2, (6, 6))
    rows = [maps[:, :, i * cell : (i + 1) * cell] for i in range(count)]
    return torch.stack([r[:, :, :, j * cell : (j + 1) * cell].mean(dim=(2, 3)) for r in rows for j in range(count)], 2)


def test_pooled_path_is_added_to_the_input() -> None:
    layer = _aggregation()
    x, guidance = torch.randn(2, 3, 36, 8), torch.randn(1, 3, 5)
    y = layer.attention(_pooled(x, 2), guidance)
    torch.testing.assert_close(layer.train()(x, guidance), x + _resized(y, 3))
    torch.testing.assert_close(layer.eval()(x, guidance), x + layer.attention(x, guidance))


def test_places_that_fill_no_cell_are_left_out() -> None:
    layer = _aggregation(test_pooling=(4, 4)).eval()
    x, guidance = torch.randn(2, 3, 36, 8), torch.randn(1, 3, 5)
    y = layer.attention(_pooled(x, 4), guidance)
    torch.testing.assert_close(layer(x, guidance), x + _resized(y, 1))
    with pytest.raises(ValueError, match="does not fit"):
        _aggregation(test_pooling=(7, 1))


def test_pooling_at_test_is_that_of_training_where_asked_for() -> None:
    layer = _aggregation(test_pooling=(2, 2))
    x, guidance = torch.randn(2, 3, 36, 8), torch.randn(1, 3, 5)
    torch.testing.assert_close(layer.eval()(x, guidance), layer.train()(x, guidance))


def test_cells_stay_in_place_without_aligned_corners() -> None:
    layer = _aggregation(align_corners=False).train()
    x, guidance = torch.randn(2, 3, 36, 8), torch.randn(1, 3, 5)
    y = layer.attention(_pooled(x, 2), guidance)
    torch.testing.assert_close(layer(x, guidance), x + _resized(y, 3, align_corners=False))


def test_single_residual_counts_the_input_once() -> None:
    layer = _aggregation(residual="single")
    x, guidance = torch.randn(2, 3, 36, 8), torch.randn(1, 3, 5)
    pooled = _pooled(x, 2)
    torch.testing.assert_close(layer.train()(x, guidance), x + _resized(layer.attention(pooled, guidance) - pooled, 3))
    for parameter in (*layer.attention.attention.v.parameters(), *layer.attention.mlp.fc2.parameters()):
        nn.init.zeros_(parameter)
    torch.testing.assert_close(layer.train()(x, guidance), x)
    torch.testing.assert_close(layer.eval()(x, guidance), x)
