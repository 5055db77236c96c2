from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from repro.clip.positions import resize_position, rotary_table


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("grid", [(2, 2), (7, 7), (3, 6)])
def test_position_is_resized_bicubically_and_keeps_the_class_token(grid: tuple[int, int], antialias: bool) -> None:
    embedding = torch.randn(1 + 16, 5)
    resized = resize_position(embedding, (4, 4), grid, antialias=antialias)
    places = embedding[1:].T.reshape(1, 5, 4, 4)
    expected = F.interpolate(places, size=grid, mode="bicubic", align_corners=False, antialias=antialias)
    assert torch.equal(resized[0], embedding[0])
    assert torch.equal(resized[1:], expected[0].flatten(1).T)


def test_the_native_grid_is_left_alone() -> None:
    embedding = torch.randn(1 + 12, 5)
    assert resize_position(embedding, (3, 4), (3, 4)) is embedding
    assert resize_position(embedding, (3, 4), (4, 3)).shape == (13, 5)


def test_growing_with_antialiasing_uses_another_kernel() -> None:
    embedding = torch.randn(1 + 16, 5)
    plain, smooth = (resize_position(embedding, (4, 4), (8, 8), antialias=a) for a in (False, True))
    assert (plain - smooth).abs().max() > 0.01


@pytest.mark.parametrize("grid", [(14, 14), (32, 32), (36, 36), (3, 5)])
def test_rotary_table_follows_the_reference_grid(grid: tuple[int, int]) -> None:
    from timm.layers import RotaryEmbeddingCat

    rope = RotaryEmbeddingCat(64, in_pixels=False, feat_shape=(14, 14), ref_feat_shape=(16, 16))
    table = rotary_table(rope, grid)
    assert table is not None
    sine, cosine = table.chunk(2, dim=-1)
    for row, column in ((0, 0), (1, 2), (grid[0] - 1, grid[1] - 1)):
        for index in (0, 1, 7, 31, 32, 45, 63):
            place = row / grid[0] if index < 32 else column / grid[1]
            angle = 16 * place / 10000 ** (2 * (index % 32 // 2) / 32)
            assert sine[row * grid[1] + column, index].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert cosine[row * grid[1] + column, index].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_a_model_without_rotary_embedding_has_no_table() -> None:
    assert rotary_table(None, (3, 3)) is None
