"""The towers of the papers at their real sizes, on the meta device: no weights, no computation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.runtime import import_torchvision

# resolution; grid, width, embed_dim, depth; channels of the guides asked for
MODELS: dict[str, tuple[int, tuple[int, int, int, int], dict[int, tuple[int, int]]]] = {
    "ViT-B-16-quickgelu": (384, (24, 768, 512, 12), {3: (768, 24), 7: (768, 24)}),
    "ViT-L-14-336-quickgelu": (336, (24, 1024, 768, 24), {7: (1024, 24), 15: (1024, 24)}),
    "EVA02-B-16": (512, (32, 768, 512, 12), {3: (768, 32)}),
    "EVA02-L-14-336": (512, (36, 1024, 768, 24), {7: (1024, 36)}),
    "convnext_base_w_320": (768, (24, 1024, 640, 4), {0: (128, 192), 1: (256, 96), 2: (512, 48), 3: (1024, 24)}),
    "convnext_large_d_320": (768, (24, 1536, 768, 4), {0: (192, 192), 1: (384, 96), 2: (768, 48), 3: (1536, 24)}),
}
# Of open_clip's model list (ViT) and docs/specs/densevlm.md, section 8 (EVA).
COUNTS = {
    "ViT-B-16-quickgelu": 149_620_737,
    "EVA02-B-16": 149_691_137,
    "EVA02-L-14-336": 428_083_137,
}


def _own_model(name: str) -> Any:
    """open_clip's own building of the model."""
    import_torchvision()
    import open_clip

    with torch.device("meta"):
        return open_clip.create_model(name, pretrained=None, device="meta", load_weights=False)


@pytest.mark.parametrize("name", MODELS)
def test_shapes_and_parameters_at_the_papers_resolution(name: str) -> None:
    resolution, sizes, guides = MODELS[name]
    with torch.device("meta"):
        tower = build_tower(TowerSpec(name, None, resolution=resolution, drop_remainder=name == "EVA02-L-14-336"))
        images = torch.empty(1, 3, resolution, resolution)
    assert (tower.grid, tower.width, tower.embed_dim, tower.depth) == sizes
    with torch.no_grad():
        dense, maps = tower.dense(images, tuple(guides))
    assert dense.shape == (1, tower.embed_dim, tower.grid, tower.grid)
    for index, (channels, side) in guides.items():
        assert (tower.guide_channels(index), tower.guide_grid(index)) == (channels, side)
        assert maps[list(guides).index(index)].shape == (1, channels, side, side)
    own = _own_model(name)
    assert {n: p.shape for n, p in tower.open_clip_state().items()} == {n: p.shape for n, p in own.state_dict().items()}
    count = sum(p.numel() for p in tower.model.parameters())
    assert count == COUNTS.get(name, count) == sum(p.numel() for p in own.parameters())
