from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from repro.clip.names import TINY_CONVNEXT
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.errors import UsageError

SPEC = TowerSpec(model="tiny-convnext", weights=None, resolution=64)
NAMES = ("dog", "a very long name of a traffic light", "sky")
TEMPLATE = "a photo of a {}"


@pytest.fixture(params=["linear", "mlp"])
def tower(request: pytest.FixtureRequest, tmp_path: Path) -> ClipTower:
    """The projection of ConvNeXt-B is a matrix, that of ConvNeXt-L an MLP."""
    config = json.loads(json.dumps(TINY_CONVNEXT))
    config["vision_cfg"]["timm_proj"] = request.param
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return _perturbed(dataclasses.replace(SPEC, model=str(tmp_path)))


def _perturbed(spec: TowerSpec) -> ClipTower:
    tower = build_tower(spec)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in tower.model.visual.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return tower


def _normalised(tower: ClipTower, images: torch.Tensor) -> torch.Tensor:
    return (images - tower.mean) / tower.std


def test_sizes_come_from_the_model(tower: ClipTower) -> None:
    assert (tower.grid, tower.width, tower.embed_dim, tower.depth) == (2, 64, 32, 4)
    assert [tower.guide_channels(i) for i in range(4)] == [24, 32, 48, 64]
    assert [tower.guide_grid(i) for i in range(4)] == [16, 8, 4, 2]
    assert list(tower.blocks) == list(tower.model.visual.trunk.stages)


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_guides_are_the_outputs_of_the_stages_at_their_own_strides(tower: ClipTower, size: tuple[int, int]) -> None:
    images = 255 * torch.rand(2, 3, *size)
    with torch.no_grad():
        dense, guides = tower.dense(images, (3, 0, 1, 2), size=size)
        stages = tower.model.visual.trunk.forward_intermediates(_normalised(tower, images), intermediates_only=True)
    assert dense.shape == (2, 32, size[0] // 32, size[1] // 32)
    for guide, index in zip(guides, (3, 0, 1, 2), strict=True):
        assert guide.shape == (2, tower.guide_channels(index), size[0] // 4 // 2**index, size[1] // 4 // 2**index)
        torch.testing.assert_close(guide, stages[index], rtol=1e-4, atol=1e-4)


def test_on_a_map_of_one_place_dense_features_are_the_models_own(tower: ClipTower) -> None:
    images = 255 * torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = tower.model.encode_image(_normalised(tower, images))
        dense = tower.dense(images, size=(32, 32)).map
    torch.testing.assert_close(dense[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)


def test_every_place_takes_the_way_of_the_pooled_vector(tower: ClipTower) -> None:
    images = 255 * torch.rand(1, 3, 64, 96)
    visual = tower.model.visual
    with torch.no_grad():
        dense, (last,) = tower.dense(images, (3,), size=(64, 96))
        for row in range(2):
            for column in range(3):
                place = last[:, :, row, column]
                norm = visual.trunk.head.norm
                expected = visual.head(F.layer_norm(place, place.shape[-1:], norm.weight, norm.bias, norm.eps))
                torch.testing.assert_close(dense[:, :, row, column], expected, rtol=1e-4, atol=1e-5)
        own = tower.model.encode_image(_normalised(tower, images))
        pooled = visual.head(visual.trunk.head(last))
    torch.testing.assert_close(pooled, own, rtol=1e-4, atol=1e-5)


def test_options_of_transformers_change_nothing(tower: ClipTower) -> None:
    images = 255 * torch.rand(1, 3, 64, 64)
    changes: list[dict[str, Any]] = [{"last_block": "full"}, {"dense_residual": "cls"}, {"position": "antialias"}]
    with torch.no_grad():
        expected = tower.dense(images).map
        for change in changes:
            other = _perturbed(dataclasses.replace(tower.spec, **change))
            assert torch.equal(other.dense(images).map, expected)


def test_text_is_open_clips_own() -> None:
    import open_clip
    from open_clip.model import CLIP

    tower = build_tower(SPEC)
    reference = CLIP(**TINY_CONVNEXT).eval()
    reference.load_state_dict(tower.open_clip_state())
    tokens = open_clip.tokenize([TEMPLATE.replace("{}", n) for n in NAMES], context_length=24)
    with torch.no_grad():
        expected = reference.encode_text(tokens, normalize=True)
        torch.testing.assert_close(tower.text(NAMES, TEMPLATE), expected, rtol=1e-5, atol=1e-5)


def test_the_image_encoder_trains_while_text_stays_frozen(tower: ClipTower) -> None:
    tower.train_only([""], within="model.visual.")
    assert not tower.text(NAMES, TEMPLATE).requires_grad
    tower.train()
    tower.dense(torch.rand(2, 3, 64, 64)).map.square().sum().backward()
    without = {n for n, p in tower.named_parameters() if n.startswith("model.visual.") and p.grad is None}
    assert not without


def test_a_saved_file_gives_the_same_features(tower: ClipTower, tmp_path: Path) -> None:
    torch.save(tower.open_clip_state(), tmp_path / "weights.pt")
    loaded = build_tower(dataclasses.replace(tower.spec, weights=str(tmp_path / "weights.pt"), seed=4))
    images = 255 * torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.dense(images).map, tower.dense(images).map)


def test_a_resolution_that_strides_do_not_tile_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple"):
        build_tower(dataclasses.replace(SPEC, resolution=80))


def test_a_stage_that_does_not_exist_is_refused(tower: ClipTower) -> None:
    with pytest.raises(UsageError, match="no output of block"):
        tower.dense(torch.zeros(1, 3, 64, 64), (4,))
