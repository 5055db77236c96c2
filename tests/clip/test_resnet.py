"""CLIP's ResNets: sizes, dense features against another computation, and what they share with every tower."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from repro.clip.names import TINY_RESNET
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.errors import UsageError
from repro.traces.fixture import small_config

SPEC = TowerSpec(model="tiny-resnet", weights=None, resolution=64)


@pytest.fixture
def tower() -> ClipTower:
    """With other than the initial weights, which make every block of a stage the identity, and statistics."""
    tower = build_tower(SPEC)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in tower.model.visual.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in tower.model.visual.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(0.2 * torch.rand(buffer.shape, generator=generator))
    return tower


def normalised(tower: ClipTower, images: torch.Tensor) -> torch.Tensor:
    return (images - tower.mean) / tower.std


def test_sizes_come_from_the_model(tower: ClipTower) -> None:
    assert (tower.grid, tower.width, tower.embed_dim, tower.depth) == (2, 256, 32, 4)
    assert [tower.guide_channels(i) for i in range(4)] == [32, 64, 128, 256]
    assert [tower.guide_grid(i) for i in range(4)] == [16, 8, 4, 2]


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_guides_are_the_outputs_of_the_stages(tower: ClipTower, size: tuple[int, int]) -> None:
    images = 255 * torch.rand(2, 3, *size)
    with torch.no_grad():
        dense, guides = tower.dense(images, (3, 0), size=size)
        stages = tower.model.visual.forward_intermediates(normalised(tower, images), intermediates_only=True)
    assert dense.shape == (2, 32, size[0] // 32, size[1] // 32)
    for guide, index in zip(guides, (3, 0), strict=True):
        torch.testing.assert_close(guide, stages["image_intermediates"][index + 1])


def test_on_a_map_of_one_place_the_attention_pool_gives_the_same_without_its_positions(tower: ClipTower) -> None:
    """One place and the mean of one place are the same token: whatever the attention weighs, it is their value."""
    from open_clip.model import CLIP

    config = {**TINY_RESNET, "vision_cfg": {**TINY_RESNET["vision_cfg"], "image_size": 32}}
    pooled = CLIP(**config).eval()
    state = {n: t for n, t in tower.open_clip_state().items() if n != "visual.attnpool.positional_embedding"}
    assert pooled.load_state_dict(state, strict=False).missing_keys == ["visual.attnpool.positional_embedding"]
    images = 255 * torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        pooled.visual.attnpool.positional_embedding.zero_()
        expected = pooled.encode_image(normalised(tower, images))
        found = tower.dense(images, size=(32, 32)).map
    torch.testing.assert_close(found[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_every_place_is_two_convolutions_of_the_last_stage(tower: ClipTower) -> None:
    pool = tower.model.visual.attnpool
    with torch.no_grad():
        dense, (last,) = tower.dense(255 * torch.rand(2, 3, 64, 96), (3,), size=(64, 96))
        value = F.conv2d(last, pool.v_proj.weight[:, :, None, None], pool.v_proj.bias)
        expected = F.conv2d(value, pool.c_proj.weight[:, :, None, None], pool.c_proj.bias)
    torch.testing.assert_close(dense, expected, rtol=1e-4, atol=1e-5)


def test_statistics_stay_as_they_were_while_stages_train(tower: ClipTower) -> None:
    tower.train_only()
    for stage in tower.blocks:
        stage.requires_grad_(True)
    before = {n: b.clone() for n, b in tower.named_buffers()}
    tower.dense(255 * torch.rand(2, 3, 64, 64)).map.square().sum().backward()
    assert all(torch.equal(before[n], b) for n, b in tower.named_buffers())
    assert all(p.grad is not None for stage in tower.blocks for p in stage.parameters())


def test_a_saved_file_gives_the_same_features(tower: ClipTower, tmp_path: Path) -> None:
    torch.save(tower.open_clip_state(), tmp_path / "weights.pt")
    loaded = build_tower(dataclasses.replace(tower.spec, weights=str(tmp_path / "weights.pt"), seed=4))
    images = 255 * torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.dense(images).map, tower.dense(images).map)


def test_a_resolution_that_strides_do_not_tile_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple"):
        build_tower(dataclasses.replace(SPEC, resolution=80))


def test_rn50x4_stands_in_at_test_size_with_its_embedding() -> None:
    config, resolution = small_config(TowerSpec("RN50x4-quickgelu", None, resolution=512))
    assert (config["embed_dim"], config["vision_cfg"]["layers"], resolution) == (640, [1, 1, 1, 1], 512)


@pytest.mark.slow
def test_rn50x4_has_the_sizes_of_its_paper() -> None:
    tower = build_tower(TowerSpec("RN50x4-quickgelu", None, resolution=512))
    assert (tower.grid, tower.width, tower.embed_dim) == (16, 2560, 640)
    assert sum(p.numel() for p in tower.model.visual.parameters()) == 87_137_080
