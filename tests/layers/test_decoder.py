from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import repro.layers.decoder
from repro.layers.decoder import CostDecoder
from repro.layers.map_loops import decode_images, fits


def test_split_convolution_equals_convolution_of_the_concatenation() -> None:
    torch.manual_seed(0)
    decoder = CostDecoder(dim=12, dims=(10, 8), guidance_dims=(4, 3), grid=3)
    x, guidance = torch.randn(2, 5, 9, 12), [torch.randn(2, 4, 6, 6), torch.randn(2, 3, 12, 12)]
    y = x.view(10, 3, 3, 12).permute(0, 3, 1, 2).contiguous()
    for stage, g in zip(decoder.stages, guidance, strict=True):
        y = torch.cat([stage.up(y), g.repeat_interleave(5, dim=0)], dim=1)
        y = F.relu(stage.norm1(stage.conv1(y)))
        y = F.relu(stage.norm2(stage.conv2(y)))
    expected = decoder.head(y).view(2, 5, 12, 12)
    torch.testing.assert_close(decoder(x, guidance), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(decoder(x, guidance), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dims", [(16,), (32, 16), (48, 32, 16)])
@pytest.mark.parametrize("shape", [(1, 5), (2, 3)])
@torch.no_grad()
def test_the_compiled_decoder_equals_float64(
    dims: tuple[int, ...], shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of one norm and of several, any number of stages, images with guidance of their own."""
    torch.manual_seed(0)
    taken: list[int] = []

    def watched(x: Tensor, *rest: Any) -> Tensor:
        taken.append(len(x))
        return decode_images(x, *rest)

    monkeypatch.setattr(repro.layers.decoder, "decode_images", watched)
    widths = tuple(3 + i for i in range(len(dims)))
    decoder = CostDecoder(dim=20, dims=dims, guidance_dims=widths, grid=4)
    for name, parameter in decoder.named_parameters():
        if "norm" in name:
            parameter.add_(0.5 * torch.randn_like(parameter))
    x = torch.randn(*shape, 16, 20) * 3 + 1
    guidance = [torch.randn(shape[0], w, 8 * 2**i, 8 * 2**i) for i, w in enumerate(widths)]
    found = decoder(x, guidance)
    assert taken == [shape[0]]
    expected = copy.deepcopy(decoder).double()(x.double(), [g.double() for g in guidance])
    assert len(taken) == 1
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_what_is_no_number_is_not_hidden() -> None:
    x, guidance = torch.randn(1, 2, 16, 20), [torch.randn(1, 3, 8, 8)]
    assert not CostDecoder(20, [16], [3], 4)(x, guidance).isnan().any()
    for spoiled in dict(CostDecoder(20, [16], [3], 4).named_parameters()):
        decoder = CostDecoder(20, [16], [3], 4)
        decoder.get_parameter(spoiled).fill_(torch.nan)
        assert decoder(x, guidance).isnan().all(), spoiled


def test_other_sizes_are_decoded_by_torch() -> None:
    assert fits(8, [16])
    assert fits(24, [64, 32])
    assert not fits(6, [16])
    assert not fits(8, [16, 10])
    assert not fits(8, [])


def test_group_norm_has_sixteen_channels_a_group() -> None:
    decoder = CostDecoder(dim=128, dims=(64, 32), guidance_dims=(32, 16), grid=3)
    assert [stage.norm1.num_groups for stage in decoder.stages] == [4, 2]


@pytest.mark.parametrize("batch", [1, 2])
def test_training_in_parts_of_the_classes_has_the_gradients_of_the_whole(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    decoder = CostDecoder(dim=12, dims=(10, 8), guidance_dims=(4, 3), grid=3).double()
    x = torch.randn(batch, 5, 9, 12, dtype=torch.double, requires_grad=True)
    guidance = [torch.randn(batch, c, s, s, dtype=torch.double, requires_grad=True) for c, s in ((4, 6), (3, 12))]
    inputs = [x, *guidance, *decoder.parameters()]
    results = []
    for maps in (1000, 2, 1):
        monkeypatch.setattr(repro.layers.decoder, "PLACES", maps * 12**2)
        logits = decoder(x, guidance)
        results.append([logits, *torch.autograd.grad(logits.sin().sum(), inputs)])
    for parts in results[1:]:
        for ours, whole in zip(parts, results[0], strict=True):
            torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-12)
