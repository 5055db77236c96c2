from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from repro.clip.names import TINY
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.errors import UsageError, WeightsError

SPEC = TowerSpec(model="tiny", weights=None, resolution=48)
NAMES = ("dog", "a very long name of a traffic light", "sky")
TEMPLATE = "a photo of a {}"


@pytest.fixture
def tower() -> ClipTower:
    return build_tower(SPEC)


def _folder(path: Path, **changes: Any) -> Path:
    config = json.loads(json.dumps(TINY))
    config["vision_cfg"].update(changes)
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return path


def _open_clip(config: dict[str, Any]) -> Any:
    from open_clip.model import CLIP

    torch.manual_seed(7)
    return CLIP(**config).eval()


def test_sizes_come_from_the_model(tower: ClipTower) -> None:
    assert (tower.grid, tower.width, tower.embed_dim, tower.depth) == (6, 64, 32, 2)


def test_random_weights_depend_on_the_seed_alone(tower: ClipTower) -> None:
    torch.manual_seed(123)
    state = torch.random.get_rng_state()
    again, other = build_tower(SPEC), build_tower(dataclasses.replace(SPEC, seed=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    name = "model.visual.conv1.weight"
    assert torch.equal(tower.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(tower.state_dict()[name], other.state_dict()[name])


@pytest.mark.parametrize("pool", ["tok", "avg"])
def test_full_blocks_give_open_clips_own_features(tmp_path: Path, pool: str) -> None:
    folder = _folder(tmp_path, pool_type=pool)
    reference = _open_clip(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"])
    torch.save(reference.state_dict(), folder / "weights.bin")
    tower = build_tower(TowerSpec(str(folder), "weights.bin", resolution=48, last_block="full"))
    images = 255 * torch.rand(2, 3, 48, 48)
    mean, std = (255 * torch.tensor(v).view(3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3]))
    with torch.no_grad():
        dense, guides = tower.dense(images, (0, 1))
        theirs = reference.visual.forward_intermediates((images - mean) / std)
        for a, b in zip(guides, theirs["image_intermediates"], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        if pool == "avg":
            torch.testing.assert_close(dense.mean(dim=(2, 3)), theirs["image_features"], rtol=1e-5, atol=1e-5)
        import open_clip

        tokens = open_clip.tokenize([TEMPLATE.replace("{}", n) for n in NAMES], context_length=24)
        expected = reference.encode_text(tokens, normalize=True)
        torch.testing.assert_close(tower.text(NAMES, TEMPLATE), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("residual", ["cls", "token"])
def test_value_path_of_the_last_block(residual: Any) -> None:
    tower = build_tower(dataclasses.replace(SPEC, dense_residual=residual))
    images = 255 * torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        visual, block = tower.model.visual, tower.model.visual.transformer.resblocks[1]
        x = visual.transformer.resblocks[0](visual._embeds((images - tower.mean) / tower.std))
        value = F.linear(block.ln_1(x), block.attn.v_proj_weight, block.attn.in_proj_bias[-64:])
        x = (x[:, :1] if residual == "cls" else x) + block.attn.out_proj(value)
        x = x + block.mlp(block.ln_2(x))
        expected = (visual.ln_post(x) @ visual.proj)[:, 1:].transpose(1, 2).view(2, 32, 6, 6)
        torch.testing.assert_close(tower.dense(images).map, expected, rtol=1e-5, atol=1e-5)


def test_a_saved_quickgelu_model_is_the_same_bit_for_bit_and_another_without_quickgelu(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    described = json.loads((folder / "open_clip_config.json").read_text())
    described["model_cfg"]["quick_gelu"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    tower = build_tower(TowerSpec(str(folder), None, resolution=48))
    torch.save(tower.open_clip_state(), folder / "weights.bin")
    images = 255 * torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        expected, text = tower.dense(images, (0,)), tower.text(NAMES, TEMPLATE)
        spec = TowerSpec(str(folder), "weights.bin", resolution=48, seed=3)
        loaded = build_tower(spec)
        assert torch.equal(loaded.dense(images).map, expected.map)
        assert torch.equal(loaded.dense(images, (0,)).guides[0], expected.guides[0])
        assert torch.equal(loaded.text(NAMES, TEMPLATE), text)
        described["model_cfg"]["quick_gelu"] = False
        (folder / "open_clip_config.json").write_text(json.dumps(described))
        exact = build_tower(spec)
        assert not torch.equal(exact.dense(images).map, expected.map)
        assert not torch.equal(exact.text(NAMES, TEMPLATE), text)


def test_the_open_clip_state_is_that_of_the_model_before_its_attention_was_split(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    reference = _open_clip(json.loads((folder / "open_clip_config.json").read_text())["model_cfg"])
    torch.save(reference.state_dict(), folder / "weights.bin")
    state = build_tower(TowerSpec(str(folder), "weights.bin", resolution=48)).open_clip_state()
    assert state.keys() == reference.state_dict().keys()
    assert all(torch.equal(state[n], t) for n, t in reference.state_dict().items())


def test_images_of_any_size_are_resized_after_normalising(tower: ClipTower) -> None:
    images = 255 * torch.rand(1, 3, 70, 100)
    small = F.interpolate((images - tower.mean) / tower.std, size=(48, 48), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = tower.dense(small * tower.std + tower.mean).map
        torch.testing.assert_close(tower.dense(images).map, expected, rtol=1e-4, atol=1e-5)


def test_a_guide_the_tower_does_not_run_is_refused(tower: ClipTower) -> None:
    with pytest.raises(UsageError, match="no output of block"):
        tower.dense(torch.zeros(1, 3, 48, 48), (1,))


@pytest.mark.parametrize("residual", ["cls", "token"])
def test_a_map_of_another_size_is_that_of_a_model_with_resized_positions(residual: Any) -> None:
    tower = build_tower(dataclasses.replace(SPEC, dense_residual=residual))
    other = build_tower(dataclasses.replace(SPEC, dense_residual=residual))
    visual = other.model.visual
    visual.grid_size = (4, 8)
    places = visual.positional_embedding[1:].T.reshape(1, 64, 6, 6)
    places = F.interpolate(places, size=(4, 8), mode="bicubic", align_corners=False, antialias=False)
    position = torch.cat([visual.positional_embedding[:1], places.flatten(2)[0].T])
    visual.positional_embedding = torch.nn.Parameter(position)
    images = 255 * torch.rand(2, 3, 32, 64)
    with torch.no_grad():
        ours, theirs = tower.dense(images, (0,), size=(32, 64)), other.dense(images, (0,), size=(32, 64))
    assert ours.map.shape == (2, 32, 4, 8)
    assert ours.guides[0].shape == (2, 64, 4, 8)
    torch.testing.assert_close(ours.map, theirs.map)
    torch.testing.assert_close(ours.guides[0], theirs.guides[0])


def test_pixels_beyond_the_last_whole_patch_are_dropped_where_that_is_asked_for() -> None:
    tower = build_tower(dataclasses.replace(SPEC, resolution=52, drop_remainder=True))
    images = 255 * torch.rand(1, 3, 52, 52)
    with torch.no_grad():
        dense = tower.dense(images).map
        torch.testing.assert_close(dense, build_tower(SPEC).dense(images[..., :48, :48]).map)
    assert tower.grid == dense.shape[-1] == 6


def test_a_size_that_patches_do_not_tile_is_refused(tower: ClipTower) -> None:
    with pytest.raises(UsageError, match="multiple"):
        tower.dense(torch.zeros(1, 3, 48, 48), size=(48, 50))


def test_the_class_token_is_the_default_residual_of_vision_transformers(tower: ClipTower) -> None:
    images = 255 * torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        expected = build_tower(dataclasses.replace(SPEC, dense_residual="cls")).dense(images).map
        assert torch.equal(tower.dense(images).map, expected)


def test_training_can_be_limited_to_the_image_encoder(tower: ClipTower) -> None:
    tower.train_only([""], within="model.visual.")
    trained = {n for n, p in tower.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in tower.named_parameters() if n.startswith("model.visual.")}
    tower.dense(torch.rand(1, 3, 48, 48)).map.sum().backward()
    assert all(p.grad is not None for n, p in tower.named_parameters() if n in trained)


def test_blocks_are_those_of_the_image_encoder_and_no_second_set_of_parameters(tower: ClipTower) -> None:
    assert list(tower.blocks) == list(tower.model.visual.transformer.resblocks)
    assert all(n.startswith("model.") for n in tower.state_dict())


def test_text_is_normalised_and_independent_of_its_neighbours(tower: ClipTower) -> None:
    features = tower.text(NAMES, TEMPLATE)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(3))
    tower.train_only()
    torch.testing.assert_close(features[:1].detach(), tower.text(NAMES[:1], TEMPLATE), rtol=1e-5, atol=1e-6)


def test_text_is_cached_until_a_weight_changes(tower: ClipTower) -> None:
    with torch.no_grad():
        first = tower.text(NAMES, TEMPLATE)
        assert tower.text(NAMES, TEMPLATE) is first
        assert tower.text(NAMES, "a drawing of a {}") is not first
        tower.model.text_projection.mul_(-1)
        torch.testing.assert_close(tower.text(NAMES, TEMPLATE), -first)
    tower.train()
    with torch.no_grad():
        assert tower.text(NAMES, TEMPLATE) is not first


def test_a_text_is_tokenized_once_in_whatever_company(tower: ClipTower, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    tokenize = tower._tokenize
    monkeypatch.setattr(tower, "_tokenize", lambda texts: read.extend(texts) or tokenize(texts))
    first = tower.train().text(["cat", "dog", "cat"], "a {}")
    again = tower.train().text(["dog", "a whale", "cat"], "a {}")
    assert read == ["a cat", "a dog", "a a whale"]
    assert torch.equal(first[0], first[2])
    torch.testing.assert_close(again[[2, 0]], first[:2])


def test_text_carries_a_gradient_only_where_it_trains(tower: ClipTower) -> None:
    assert tower.text(NAMES, TEMPLATE).requires_grad
    tower.train_only(("visual.proj",))
    assert not tower.text(NAMES, TEMPLATE).requires_grad
    tower.train_only(("q_proj_weight",))
    tower.text(NAMES, TEMPLATE)[0, 0].backward()
    trained = {n for n, p in tower.named_parameters() if p.grad is not None}
    assert trained == {"model.transformer.resblocks.0.attn.q_proj_weight"}


def test_texts_that_a_training_expects_are_encoded_once_and_together(
    tower: ClipTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower.train_only()
    names, encoded = ["cat", "red bus", "tree", "sky"], []
    encode = tower._encode
    monkeypatch.setattr(tower, "_encode", lambda texts: encoded.append(list(texts)) or encode(texts))
    tower.expect(f"a {name}." for name in names)
    alone = tower.eval().text(["tree", "cat"], "a {}.")
    assert encoded == [["a tree.", "a cat."]]  # what is asked for, outside of a training
    tower.train()
    encoded.clear()
    first, second = tower.text(["tree", "cat"], "a {}."), tower.text(["sky"], "a {}.")
    assert encoded == [[f"a {name}." for name in names]]
    torch.testing.assert_close(first, alone)
    whole = tower.text(names, "a {}.")
    assert torch.equal(whole[[2, 0]], first)
    assert torch.equal(whole[3:], second)
    tower.text(["cat", "dog"], "a {}.")
    assert encoded[1:] == [["a cat.", "a dog."]]  # one it did not expect


def test_autocast_has_its_own_cache_entries(tower: ClipTower) -> None:
    with torch.no_grad():
        exact = tower.text(NAMES, TEMPLATE)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert tower.text(NAMES, TEMPLATE) is not exact
        assert tower.text(NAMES, TEMPLATE) is exact


def test_no_names_are_refused(tower: ClipTower) -> None:
    with pytest.raises(ValueError, match="no class"):
        tower.text([], TEMPLATE)


def test_a_resolution_that_patches_do_not_tile_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple"):
        build_tower(dataclasses.replace(SPEC, resolution=50))


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="ViT-B-16"):
        build_tower(TowerSpec(model="ViT-B-16-quickgelo", weights=None))


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    for model in ("ViT-B-16-SigLIP", "coca_ViT-B-32", "roberta-ViT-B-32"):
        with pytest.raises(UsageError, match="not supported"):
            build_tower(TowerSpec(model=model, weights=None))
    for name in ("test_vit", "test_efficientnet"):
        vision = {"timm_model_name": name, "timm_pool": "", "timm_proj": "linear"}
        config = {"model_cfg": {**TINY, "vision_cfg": vision}}
        (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
        with pytest.raises(UsageError, match="not supported"):
            build_tower(TowerSpec(model=str(tmp_path), weights=None))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    reference = _open_clip({**TINY, "embed_dim": 16})
    torch.save(reference.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="do not fit") as caught:
        build_tower(dataclasses.replace(SPEC, weights=str(tmp_path / "weights.pt")))
    assert "another shape" in str(caught.value)
