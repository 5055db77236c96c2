"""Each equation of LoGoSeg against a direct transcription with loops, in float64."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import baselines.logoseg.decoder
from baselines.logoseg.alignment import ObjectPrior, RegionalAlignment, object_prior, region_members
from baselines.logoseg.decoder import QueryDecoder, correlate
from baselines.logoseg.fusion import ChannelAdapter, DirectionalAttention, Fusion, FusionBlock, LanguageQueries
from baselines.logoseg.loss import masked_bce
from baselines.logoseg.options import LoGoSegOptions
from repro.layers.map_loops import decode_images

B, N, P, C, D, H = 2, 5, 3, 7, 8, 6
SMALL = {
    "hidden": D,
    "heads": 2,
    "regions": 3,
    "correlation": D,
    "decoder_dims": (6, 4),
    "decoder_guidance": (5, 5),
    "decoder_guidance_proj": (3, 2),
}


def options(**changes: object) -> LoGoSegOptions:
    return LoGoSegOptions(**{**SMALL, **changes})  # type: ignore[arg-type]


def shaken(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(B, C, H, H, dtype=torch.float64)


@pytest.fixture
def text() -> Tensor:
    return F.normalize(torch.randn(N, P, C, dtype=torch.float64), dim=-1)


def printed_prior(features: Tensor, text: Tensor) -> Tensor:
    p = torch.zeros(B, N, dtype=torch.float64)
    for b in range(B):
        for n in range(N):
            centre = sum(text[n, i] for i in range(P)) / P
            cosines = [cosine(features[b, :, i, j], centre) for i in range(H) for j in range(H)]
            p[b, n] = sum(cosines) / (H * H)
    return p


def test_equation_1(features: Tensor, text: Tensor) -> None:
    close(object_prior(features, text), printed_prior(features, text))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_equation_2(features: Tensor, text: Tensor, strength: float) -> None:
    weights, centres = ObjectPrior(options(prior=strength))(features, text)
    prior = printed_prior(features, text)
    for b in range(B):
        for n in range(N):
            weight = (1 - strength) + strength * prior[b, n]
            close(weights[b, n], weight)
            close(centres[b, n], sum(weight * text[n, i] for i in range(P)) / P)


def test_a_learned_lambda_begins_at_the_full_prior_and_gets_a_gradient(features: Tensor, text: Tensor) -> None:
    prior = ObjectPrior(options(prior="learnable")).double()
    weights, centres = prior(features, text)
    close(weights, printed_prior(features, text))
    centres.square().sum().backward()
    assert prior.strength is not None
    assert prior.strength.grad is not None
    assert prior.strength.grad != 0


def test_a_negative_weight_can_be_counted_as_zero(features: Tensor, text: Tensor) -> None:
    printed, _ = ObjectPrior(options())(features, text)
    assert printed.min() < 0
    weights, centres = ObjectPrior(options(negative_prior="zero"))(features, text)
    close(weights, printed.clamp(min=0))
    assert (centres[printed < 0] == 0).all()


def cells(side: int, regions: int) -> list[list[tuple[int, int]]]:
    """Places of each region, cut as F.adaptive_avg_pool2d documents."""
    spans = [range(i * side // regions, math.ceil((i + 1) * side / regions)) for i in range(regions)]
    return [[(i, j) for i in rows for j in columns] for rows in spans for columns in spans]


@pytest.mark.parametrize(("side", "regions"), [(6, 3), (6, 4), (7, 6), (4, 6), (24, 6), (1, 2)])
def test_regions_are_those_of_adaptive_pooling(side: int, regions: int) -> None:
    members = region_members(side, side, regions)
    x = torch.randn(2, 3, side, side)
    pooled = (members / members.sum(1, keepdim=True)) @ x.flatten(2).transpose(1, 2)
    expected = F.adaptive_avg_pool2d(x, regions).flatten(2).transpose(1, 2)
    torch.testing.assert_close(pooled, expected)
    assert members.sum(0).min() >= 1


@pytest.mark.parametrize("by_prior", [False, True])
@pytest.mark.parametrize("regions", [3, 4])
def test_equations_3_to_7(features: Tensor, text: Tensor, by_prior: bool, regions: int) -> None:
    tau, beta = 3.0, 2.0
    module = RegionalAlignment(options(regions=regions, prior_in_similarity=by_prior), C, H)
    shaken(module)
    module.members = region_members(H, H, regions).double()
    weights, centres = ObjectPrior(options())(features, text)
    found = module(features, text, weights, centres, tau, beta)
    places = cells(H, regions)
    for b in range(B):
        v = torch.stack([sum(features[b, :, i, j] for i, j in cell) / len(cell) for cell in places])
        a = torch.zeros(len(places), N, dtype=torch.float64)
        for k in range(len(places)):
            for n in range(N):
                a[k, n] = cosine(v[k], weights[b, n] * text[n].mean(0) if by_prior else centres[b, n])  # (3)
                if by_prior:
                    a[k, n] = a[k, n].abs() * (v[k] @ text[n].mean(0)).sign() * weights[b, n]
        g_region = []
        for n in range(N):
            w = torch.exp(tau * a[:, n]) / sum(torch.exp(tau * a[k, n]) for k in range(len(places)))  # (4)
            m = sum(w[k] * v[k] for k in range(len(places)))  # (5)
            g_region.append(module.class_projection(torch.cat([m, centres[b, n]])))  # (6)
        expected = torch.zeros(D, H, H, dtype=torch.float64)
        holders = torch.zeros(H, H, dtype=torch.float64)
        for k, cell in enumerate(places):
            scores = torch.stack([module.token_score(features[b, :, i, j])[0] for i, j in cell])
            share = torch.exp(scores) / torch.exp(scores).sum()
            token = sum(s * features[b, :, i, j] for s, (i, j) in zip(share, cell, strict=True))
            g_image = module.image_guidance(token)
            w = torch.exp(beta * a[k]) / torch.exp(beta * a[k]).sum()
            g_text = module.text_guidance(sum(w[n] * g_region[n] for n in range(N)))
            alpha = torch.exp(g_image.norm()) / (torch.exp(g_image.norm()) + torch.exp(g_text.norm()))
            for i, j in cell:
                expected[:, i, j] += alpha * g_image + (1 - alpha) * g_text  # (7)
                holders[i, j] += 1
        close(found[b], expected / holders)


def test_integration_does_not_overflow_where_the_printed_form_does() -> None:
    module = shaken(RegionalAlignment(options(), C, H))
    image, classes = 1e6 * torch.randn(B, 9, D).double(), torch.randn(B, N, D).double()
    guidance = module.integrate(image, torch.randn(B, 9, N).double(), classes, 1.0)  # type: ignore[operator]
    close(guidance, image)


def attention(x: Tensor, module: nn.Module, heads: int) -> Tensor:
    """x + multi-head self-attention of LayerNorm(x), for a list of tokens (L, D), with loops."""
    normed = module.norm(x)
    q, k, v = module.qkv(normed).chunk(3, dim=-1)
    size = x.shape[1] // heads
    mixed = torch.zeros_like(x)
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        for i in range(len(x)):
            scores = torch.stack([q[i, part] @ k[j, part] for j in range(len(x))]) / math.sqrt(size)
            weights = torch.exp(scores) / torch.exp(scores).sum()
            mixed[i, part] = sum(weights[j] * v[j, part] for j in range(len(x)))
    return x + module.proj(mixed)


def test_equation_8() -> None:
    module = shaken(DirectionalAttention(D, 2))
    middle, guidance = torch.randn(2, B, 3, 4, D, dtype=torch.float64).unbind(0)
    found = module(middle, guidance)
    half = D // 2
    for b in range(B):
        rows = torch.cat([middle[b, ..., :half], guidance[b, ..., :half]], dim=-1)
        columns = torch.cat([middle[b, ..., half:], guidance[b, ..., half:]], dim=-1)
        for i in range(3):
            close(found[b, i, :, :D], attention(rows[i], module.horizontal, 2))  # type: ignore[arg-type]
        for j in range(4):
            close(found[b, :, j, D:], attention(columns[:, j], module.vertical, 2))  # type: ignore[arg-type]


def test_equation_9() -> None:
    block = shaken(FusionBlock(options()))
    middle, guidance = torch.randn(2, B, 3, 4, D, dtype=torch.float64).unbind(0)
    local, whole = block.local(middle, guidance), block.whole(guidance)  # type: ignore[operator]
    kernel = block.fuse.weight[..., None, None]  # type: ignore[index, union-attr]
    stacked = torch.cat([local, whole], dim=-1).permute(0, 3, 1, 2)
    expected = F.conv2d(stacked, kernel, block.fuse.bias)  # type: ignore[arg-type, union-attr]
    close(block.merge(middle, guidance), expected.permute(0, 2, 3, 1))  # type: ignore[operator]


def test_channel_adapter_is_the_printed_sequence() -> None:
    adapter = shaken(ChannelAdapter(D, 1.5))
    x = torch.randn(B, 3, 4, D, dtype=torch.float64)
    y = adapter.expand(adapter.norm1(x))  # type: ignore[operator]
    normed = F.pad(adapter.norm2(y), (0, 0, 1, 1, 1, 1))  # type: ignore[operator]
    weight, bias = adapter.depthwise.weight, adapter.depthwise.bias  # type: ignore[union-attr]
    for i in range(3):
        for j in range(4):
            window = normed[:, i : i + 3, j : j + 3]
            z = y[:, i, j] + torch.einsum("bijc,cij->bc", window, weight[:, 0]) + bias  # type: ignore[index]
            gated = z[:, :12] * torch.sigmoid(z[:, 12:])
            close(adapter(x)[:, i, j], x[:, i, j] + adapter.project(gated))  # type: ignore[operator]


def test_equation_10() -> None:
    module = shaken(LanguageQueries(D, 2, 2.0))
    queries, text = torch.randn(2, B, N, D, dtype=torch.float64).unbind(0)
    fused = torch.randn(B, 3, 4, D, dtype=torch.float64)
    found = module(queries, fused, text)
    size = D // 2
    for b in range(B):
        memory = [fused[b, i, j] for i in range(3) for j in range(4)] + list(text[b])
        pairs = [module.kv(module.norm_memory(token)).chunk(2) for token in memory]  # type: ignore[operator]
        for n in range(N):
            q = module.q(module.norm_queries(queries[b, n]))  # type: ignore[operator]
            read = torch.zeros(D, dtype=torch.float64)
            for h in range(2):
                part = slice(h * size, (h + 1) * size)
                weights = [(F.elu(q[part]) + 1) @ (F.elu(k[part]) + 1) for k, _ in pairs]
                summed = sum(w * v[part] for w, (_, v) in zip(weights, pairs, strict=True))
                # The constant in the denominator stands beside a mean over the memory.
                read[part] = summed / (sum(weights) + 1e-6 * len(memory))
            gate = torch.sigmoid(module.gate(torch.cat([queries[b, n], read])))  # type: ignore[operator]
            query = gate * read + (1 - gate) * queries[b, n]
            close(found[b, n], query + module.mlp(module.norm_mlp(query)))  # type: ignore[operator]


def test_the_fused_map_takes_the_place_of_the_guidance_from_block_to_block() -> None:
    fusion = shaken(Fusion(options(depth=2)))
    middle, guidance = torch.randn(2, B, 3, 4, D, dtype=torch.float64).unbind(0)
    queries, text = torch.randn(2, B, N, D, dtype=torch.float64).unbind(0)
    first, second = fusion.blocks  # type: ignore[misc]
    fused, read = first(middle, guidance, queries, text)
    expected = second(middle, fused, read, text)
    for one, other in zip(fusion(middle, guidance, queries, text), expected, strict=True):
        close(one, other)


@pytest.mark.parametrize("channels", [1, 2, D])
def test_correlation_is_an_inner_product_a_group_of_channels(channels: int) -> None:
    queries, fused = torch.randn(B, N, D, dtype=torch.float64), torch.randn(B, 3, 4, D, dtype=torch.float64)
    volume = correlate(queries, fused, channels)
    assert volume.shape == (B, N, 3, 4, channels)
    size = D // channels
    for c in range(channels):
        part = slice(c * size, (c + 1) * size)
        for n in range(N):
            close(volume[:, n, :, :, c], torch.einsum("bc,bijc->bij", queries[:, n, part], fused[..., part]))


@pytest.mark.parametrize("kernel", [0, 3])
def test_equations_11_and_12(kernel: int) -> None:
    decoder = shaken(QueryDecoder(D, 4, (6, 4), (3, 2), kernel))
    queries, fused = torch.randn(B, N, D, dtype=torch.float64), torch.randn(B, 3, 3, D, dtype=torch.float64)
    guidance = [torch.randn(B, g, side, side, dtype=torch.float64) for g, side in ((3, 6), (2, 12))]
    cosine = torch.randn(B, N, 3, 3, dtype=torch.float64)
    logits = decoder(queries, fused, cosine, guidance)
    volume = correlate(decoder.norm_queries(queries), decoder.norm_fused(fused), 4)  # type: ignore[operator]
    if kernel:
        embed = decoder.embedding.conv  # type: ignore[union-attr]
        own = [F.conv2d(cosine[:, n : n + 1], embed.weight, embed.bias, padding=1) for n in range(N)]
        volume = volume + torch.stack(own, dim=1).permute(0, 1, 3, 4, 2)
    assert logits.shape == (B, N, 12, 12)
    for n in range(N):
        x = volume[:, n].permute(0, 3, 1, 2)
        for stage, s in zip(decoder.stages, guidance, strict=True):  # type: ignore[arg-type]
            x = torch.cat([stage.up(x), s], dim=1)  # (11)
            x = F.relu(stage.norm1(stage.conv1(x)))
            x = F.relu(stage.norm2(stage.conv2(x)))
        close(logits[:, n], decoder.head(x)[:, 0])  # type: ignore[operator]  # (12)
    with torch.no_grad():
        close(decoder(queries, fused, cosine, guidance), logits.detach())


@pytest.mark.parametrize("dims", [(16,), (32, 16)])
@torch.no_grad()
def test_equations_11_and_12_by_compiled_loops(dims: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def watched(*args: Any) -> Tensor:
        calls.append(args[1])
        return decode_images(*args)

    monkeypatch.setattr(baselines.logoseg.decoder, "decode_images", watched)
    decoder = shaken(QueryDecoder(8, 8, dims, (3, 2)[: len(dims)], 3)).float()
    queries, fused, cosine = torch.randn(B, N, 8), torch.randn(B, 4, 4, 8), torch.randn(B, N, 4, 4)
    guidance = [torch.randn(B, g, side, side) for g, side in ((3, 8), (2, 16))][: len(dims)]
    found = decoder(queries, fused, cosine, guidance)
    assert calls == [4]
    exact = copy.deepcopy(decoder).double()(
        queries.double(), fused.double(), cosine.double(), [g.double() for g in guidance]
    )
    assert calls == [4]
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


def test_equation_13() -> None:
    logits = 3 * torch.randn(B, N, 4, 4)
    labels = torch.randint(0, N, (B, 8, 8))
    labels[:, :3] = 255
    full = F.interpolate(logits.double(), size=(8, 8), mode="bilinear", align_corners=False)
    total, count = 0.0, 0
    for b in range(B):
        for i in range(8):
            for j in range(8):
                if labels[b, i, j] == 255:
                    continue
                count += 1
                for n in range(N):
                    probability = 1 / (1 + math.exp(-float(full[b, n, i, j])))
                    total -= math.log(probability if n == labels[b, i, j] else 1 - probability)
    assert float(masked_bce(logits, labels)) == pytest.approx(total / count, rel=1e-5)


def test_a_crop_without_any_label_costs_nothing() -> None:
    logits = torch.randn(B, N, 4, 4, requires_grad=True)
    loss = masked_bce(logits, torch.full((B, 8, 8), 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
