from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.class_attention import ClassAggregation, LinearClassAttention


def _published(layer: LinearClassAttention, x: Tensor, guidance: Tensor) -> Tensor:
    """Padding repeated to its full length and every head by itself, as the paper's code states it."""
    b, t, places, c = x.shape
    x = x.transpose(1, 2).reshape(b * places, t, c)
    g = guidance.expand(b, -1, -1).unsqueeze(1).expand(b, places, t, -1).reshape(b * places, t, -1)
    pad = max(0, layer.pad_len - t)
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


def _layer(pad_len: int) -> LinearClassAttention:
    torch.manual_seed(0)
    layer = LinearClassAttention(dim=12, guidance_dim=5, heads=3, pad_len=pad_len)
    with torch.no_grad():
        layer.padding_tokens.normal_()
        layer.padding_guidance.normal_()
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


def test_pooled_path_is_added_to_the_input() -> None:
    torch.manual_seed(0)
    layer = ClassAggregation(dim=8, guidance_dim=5, heads=2, pad_len=10, grid=6, pooling=(2, 2))
    x, guidance = torch.randn(2, 3, 36, 8), torch.randn(1, 3, 5)
    maps = x.view(6, 6, 6, 8).permute(0, 3, 1, 2)
    pooled = F.avg_pool2d(maps, 2).flatten(2).transpose(1, 2).view(2, 3, 9, 8)
    y = layer.attention(pooled, guidance).reshape(6, 3, 3, 8).permute(0, 3, 1, 2)
    y = F.interpolate(y, size=(6, 6), mode="bilinear", align_corners=True).flatten(2).transpose(1, 2).view(x.shape)
    torch.testing.assert_close(layer.train()(x, guidance), x + y)
    torch.testing.assert_close(layer.eval()(x, guidance), x + layer.attention(x, guidance))
