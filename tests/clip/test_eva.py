from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.clip.names import TINY_EVA
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.clip.weights.eva_names import to_eva
from repro.errors import UsageError, WeightsError

SPEC = TowerSpec(model="tiny-eva", weights=None, resolution=48)
NAMES = ("dog", "a very long name of a traffic light", "sky")
TEMPLATE = "a photo of a {}"
HEADS, REFERENCE = 2, 4


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _tower(**changes: Any) -> ClipTower:
    """A tower whose every parameter differs from its initial zeros and ones, the same for all ``changes``."""
    tower = build_tower(dataclasses.replace(SPEC, **changes))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in tower.model.visual.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return tower


def _normalised(tower: ClipTower, images: Tensor) -> Tensor:
    return (images - tower.mean) / tower.std


def _rotate(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Rotary embedding of (B, heads, 1 + h * w, d), class token first, pair by pair as complex numbers."""
    quarter = x.shape[-1] // 4
    frequencies = 10000.0 ** -(torch.arange(quarter) / quarter)
    rows, columns = (torch.arange(n) / n * REFERENCE for n in grid)
    angles = torch.cat(
        [
            (rows[:, None, None] * frequencies).expand(*grid, quarter),
            (columns[None, :, None] * frequencies).expand(*grid, quarter),
        ],
        dim=-1,
    ).flatten(0, 1)
    pairs = torch.view_as_complex(x[:, :, 1:].unflatten(-1, (-1, 2)).contiguous())
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    return torch.cat([x[:, :, :1], turned], dim=2)


def _published_code(
    state: dict[str, Tensor], images: Tensor, last: str, residual: str
) -> tuple[Tensor, list[Tensor], Tensor]:
    """EVA02-CLIP's image encoder, from its specification and under its own names, at any grid.

    Returns the dense map, the output of every whole block and the class token's feature (last == "full").
    """
    v = {n.removeprefix("visual."): t for n, t in state.items() if n.startswith("visual.")}

    def linear(name: str, x: Tensor, bias: str | None = None) -> Tensor:
        return F.linear(x, v[f"{name}.weight"], v.get(bias or f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], v[f"{name}.weight"], v[f"{name}.bias"], 1e-6)

    x = F.conv2d(images, v["patch_embed.proj.weight"], v["patch_embed.proj.bias"], stride=8)
    grid = (x.shape[-2], x.shape[-1])
    places = v["pos_embed"][:, 1:].mT.reshape(1, -1, 6, 6)
    if grid != (6, 6):
        places = F.interpolate(places, size=grid, mode="bicubic", align_corners=False)
    position = torch.cat([v["pos_embed"][:, :1], places.flatten(2).mT], dim=1)
    x = torch.cat([v["cls_token"].expand(len(x), 1, -1), x.flatten(2).mT], dim=1) + position
    depth = 1 + max(int(n.split(".")[1]) for n in v if n.startswith("blocks."))
    outputs = []
    for index in range(depth):
        name = f"blocks.{index}"
        h = norm(f"{name}.norm1", x)
        value = linear(f"{name}.attn.v_proj", h, f"{name}.attn.v_bias")
        if index == depth - 1 and last == "value":
            own = x[:, :1] if residual == "cls" else x
        else:
            query = linear(f"{name}.attn.q_proj", h, f"{name}.attn.q_bias")
            key = linear(f"{name}.attn.k_proj", h)
            q, k, u = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (query, key, value))
            q, k = _rotate(q, grid), _rotate(k, grid)
            weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
            value, own = (weights @ u).transpose(1, 2).flatten(2), x
        x = own + linear(f"{name}.attn.proj", norm(f"{name}.attn.inner_attn_ln", value))
        h = norm(f"{name}.norm2", x)
        gated = F.silu(linear(f"{name}.mlp.w1", h)) * linear(f"{name}.mlp.w2", h)
        x = x + linear(f"{name}.mlp.w3", norm(f"{name}.mlp.ffn_ln", gated))
        outputs.append(x[:, 1:].mT.unflatten(2, grid))
    features = linear("head", norm("norm", x))
    return features[:, 1:].mT.unflatten(2, grid), outputs, features[:, 0]


def test_sizes_come_from_the_model() -> None:
    tower = build_tower(SPEC)
    assert (tower.grid, tower.width, tower.embed_dim, tower.depth) == (6, 64, 32, 3)
    assert (tower.guide_channels(0), tower.guide_grid(0)) == (64, 6)
    assert list(tower.blocks) == list(tower.model.visual.trunk.blocks)


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (32, 72)])
@pytest.mark.parametrize(("last", "residual"), [("value", "token"), ("value", "cls"), ("full", "token")])
def test_dense_features_are_those_of_the_published_code(last: Any, residual: Any, size: tuple[int, int]) -> None:
    tower = _tower(last_block=last, dense_residual=residual)
    images = 255 * torch.rand(2, 3, *size)
    with torch.no_grad():
        state = to_eva(tower.open_clip_state())
        expected, blocks, first = _published_code(state, _normalised(tower, images), last, residual)
        dense, guides = tower.dense(images, (1, 0), size=size)
        torch.testing.assert_close(dense, expected, rtol=1e-3, atol=1e-4)
        for guide, index in zip(guides, (1, 0), strict=True):
            torch.testing.assert_close(guide, blocks[index], rtol=1e-3, atol=1e-4)
        if last == "full" and size == (48, 48):
            own = tower.model.encode_image(_normalised(tower, images))
            torch.testing.assert_close(own, first, rtol=1e-3, atol=1e-4)


def test_each_tokens_own_residual_is_the_default() -> None:
    images = 255 * torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        default = _tower().dense(images).map
        assert torch.equal(default, _tower(dense_residual="token").dense(images).map)
        assert not torch.allclose(default, _tower(dense_residual="cls").dense(images).map, atol=1e-3)


def test_positions_with_antialiasing_are_timms_own_rule() -> None:
    tower = _tower(last_block="full", position="antialias", resolution=64)
    images = 255 * torch.rand(1, 3, 64, 64)
    trunk = copy.deepcopy(tower.model.visual.trunk)
    trunk.set_input_size((64, 64))
    with torch.no_grad():
        tokens = trunk.head(trunk.forward_features(_normalised(tower, images)))[:, 1:]
        expected = tokens.mT.unflatten(2, (8, 8))
        torch.testing.assert_close(tower.dense(images).map, expected, rtol=1e-4, atol=1e-5)
        plain = _tower(last_block="full", resolution=64).dense(images).map
        assert not torch.allclose(plain, expected, atol=1e-3)


def test_the_last_pixels_are_ignored_as_in_densevlms_large_model() -> None:
    tower = _tower(resolution=52, drop_remainder=True)
    images = 255 * torch.rand(1, 3, 52, 52)
    with torch.no_grad():
        dense = tower.dense(images).map
        torch.testing.assert_close(dense, _tower().dense(images[..., :48, :48]).map)
    assert tower.grid == 6


def test_text_is_open_clips_own_and_cached() -> None:
    import open_clip

    tower = build_tower(SPEC)
    from open_clip.model import CustomTextCLIP

    reference = CustomTextCLIP(**{k: v for k, v in TINY_EVA.items() if k != "custom_text"}).eval()
    reference.load_state_dict(tower.open_clip_state())
    tokens = open_clip.tokenize([TEMPLATE.replace("{}", n) for n in NAMES], context_length=24)
    with torch.no_grad():
        text = tower.text(NAMES, TEMPLATE)
        torch.testing.assert_close(text, reference.encode_text(tokens, normalize=True), rtol=1e-5, atol=1e-5)
        assert tower.text(NAMES, TEMPLATE) is text
        tower.model.text.text_projection.mul_(-1)
        torch.testing.assert_close(tower.text(NAMES, TEMPLATE), -text)


def test_projections_of_both_towers_train_by_their_suffixes() -> None:
    tower = _tower()
    tower.train_only(("q_proj_weight", "q_proj.weight", "v_proj.bias"))
    (tower.dense(torch.rand(1, 3, 48, 48)).map.square().sum() + tower.text(NAMES, TEMPLATE)[0, 0]).backward()
    graded = {n: p.grad for n, p in tower.named_parameters() if p.grad is not None}
    image = {f"model.visual.trunk.blocks.{i}.attn.{p}" for i in range(3) for p in ("q_proj.weight", "v_proj.bias")}
    assert set(graded) == image | {"model.text.transformer.resblocks.0.attn.q_proj_weight"}
    unused = {n for n, g in graded.items() if not g.any()}
    assert unused == {"model.visual.trunk.blocks.2.attn.q_proj.weight"}


@pytest.mark.parametrize("names", ["open_clip", "eva"])
def test_a_file_under_either_naming_gives_the_same_features(tmp_path: Path, names: str) -> None:
    tower = _tower()
    state = tower.open_clip_state()
    if names == "eva":
        state = {**to_eva(state), "visual.rope.freqs_cos": torch.ones(36, 32)}
    torch.save({"epoch": 6, "state_dict": state}, tmp_path / "weights.pt")
    loaded = build_tower(dataclasses.replace(SPEC, weights=str(tmp_path / "weights.pt"), seed=5))
    images = 255 * torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(loaded.dense(images).map, tower.dense(images).map)
        assert torch.equal(loaded.text(NAMES, TEMPLATE), tower.text(NAMES, TEMPLATE))


def test_weights_of_another_family_are_refused(tmp_path: Path) -> None:
    other = build_tower(TowerSpec(model="tiny", weights=None, resolution=48))
    torch.save(other.open_clip_state(), tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="do not fit"):
        build_tower(dataclasses.replace(SPEC, weights=str(tmp_path / "weights.pt")))


def test_absent_weights_are_an_error_with_the_command_that_fetches_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for model, tag, hub in (
        ("EVA02-B-16", "merged2b_s8b_b131k", "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k"),
        ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup", "laion/CLIP-convnext_large_d_320"),
    ):
        with pytest.raises(WeightsError) as caught:
            build_tower(TowerSpec(model, tag, resolution=320))
        assert hub in str(caught.value.expected)
        assert caught.value.mend == f"repro weights {model}/{tag}"


def test_joint_projections_take_the_value_third() -> None:
    """EVA01 keeps one ``qkv`` matrix: its value path is the last third with the value's bias."""
    from timm.models.eva import Eva

    from repro.clip.backbone import DenseOptions
    from repro.clip.eva import eva_backbone

    trunk = Eva(
        img_size=32,
        patch_size=8,
        embed_dim=64,
        depth=2,
        num_heads=2,
        num_classes=16,
        global_pool="token",
        init_values=0.3,
    ).eval()
    visual = torch.nn.Module()
    visual.trunk, visual.head = trunk, torch.nn.Sequential()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        images = torch.randn(1, 3, 32, 32)
        backbone = eva_backbone(visual, "eva")
        dense = backbone.features(visual, images, (), DenseOptions("value", "token", False)).map
        x, _ = trunk._pos_embed(trunk.patch_embed(images))
        x, block = trunk.blocks[0](x), trunk.blocks[1]
        value = block.norm1(x) @ block.attn.qkv.weight[128:].T + block.attn.v_bias
        x = x + block.gamma_1 * block.attn.proj(value)
        x = x + block.gamma_2 * block.mlp(block.norm2(x))
        expected = trunk.head(trunk.norm(x))[:, 1:].mT.unflatten(2, (4, 4))
    torch.testing.assert_close(dense, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"use_post_norm": True}, "post-norm"),
        ({"num_reg_tokens": 2}, "register"),
        ({"global_pool": "map"}, "pooling"),
        ({"attn_type": "rope", "use_rot_pos_emb": True}, "another attention"),
        ({"use_rot_pos_emb": True, "rope_type": "dinov3"}, "rotary"),
    ],
)
def test_relatives_of_eva_are_refused(changes: dict[str, Any], found: str) -> None:
    from timm.models.eva import Eva

    from repro.clip.eva import eva_backbone

    visual = torch.nn.Module()
    visual.trunk = Eva(img_size=32, patch_size=8, embed_dim=64, depth=1, num_heads=2, num_classes=16, **changes)
    visual.head = torch.nn.Sequential()
    with pytest.raises(UsageError, match="not supported") as caught:
        eva_backbone(visual, "some-eva")
    assert found in str(caught.value.found)
