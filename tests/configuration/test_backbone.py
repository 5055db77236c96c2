"""The backbone swap: what a name stands for, what stays of the tower it replaces, and what decides a run's address."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import official, small, small_variant, tiny_clips
from torch import Tensor

from repro.checkpoints.clip import model_shapes
from repro.clip.names import TINY
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.clip.weights.eva_names import to_eva
from repro.configuration.backbone import swap, swap_table
from repro.configuration.profiles import Profile, load_profile
from repro.configuration.tables import load_table
from repro.errors import UsageError, WeightsError
from repro.runs.assets import Assets

__all__ = ["official", "small", "small_variant", "tiny_clips"]


def profile_of(change: dict[str, Any] | None = None) -> Profile:
    profile = load_profile("smoke")
    base = profile.towers["base"]
    spec = dataclasses.replace(base.spec, **(change or {}))
    return dataclasses.replace(profile, towers={**profile.towers, "base": dataclasses.replace(base, spec=spec)})


def drawn(model: str, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator) for n, s in model_shapes(model).items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CLIP folder as open_clip and alignments leave it."""
    place = tmp_path / "some clip"
    place.mkdir()
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY}))
    state = build_tower(TowerSpec("tiny", None, resolution=48, seed=9)).open_clip_state()
    torch.save(state, place / "open_clip_pytorch_model.bin")
    return place


def test_a_folder_is_built_at_the_replaced_towers_resolution_with_its_own_residual(folder: Path) -> None:
    profile = profile_of({"resolution": 64, "last_block": "value", "dense_residual": "cls"})
    swapped = swap(profile, f"densevlm:{folder}", cache=folder.parent)
    assert swapped.towers["base"].title == "DenseVLM (some clip)"
    assert {k: v for k, v in swapped.towers.items() if k != "base"} == {
        k: v for k, v in profile.towers.items() if k != "base"
    }
    spec = Assets(swapped, folder.parent / "runs", None).ensure_tower("base")
    assert (spec.resolution, spec.last_block, spec.dense_residual) == (64, "value", "token")
    expected = build_tower(TowerSpec("tiny", None, resolution=48, seed=9)).open_clip_state()
    found = build_tower(spec).open_clip_state()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("source", "asked", "expected"),
    [
        ("clipself", None, "token"),
        ("openclip", None, "cls"),
        ("densevlm", "cls", "cls"),
        ("openclip", "token", "token"),
    ],
)
def test_the_residual_is_the_one_asked_for_else_the_sources_else_the_towers(
    folder: Path, source: str, asked: Any, expected: str
) -> None:
    profile = profile_of({"dense_residual": "cls"})
    swapped = swap(profile, f"{source}:{folder}", dense_residual=asked, cache=folder)
    assert swapped.towers["base"].spec.dense_residual == expected


def test_the_residual_alone_can_change_and_changes_features(folder: Path) -> None:
    value = profile_of({"last_block": "value"})
    maps = []
    for residual in ("cls", "token"):
        plan = swap(value, None, dense_residual=residual, cache=folder).towers["base"]  # type: ignore[arg-type]
        assert plan.title == f"random tiny CLIP, {residual} residual"
        with torch.no_grad():
            maps.append(build_tower(plan.spec).dense(torch.full((1, 3, 48, 48), 90.0)).map)
    assert (maps[0] - maps[1]).abs().max() > 1e-3


def test_content_not_place_decides_the_address(folder: Path, tmp_path: Path) -> None:
    def key(place: Path) -> Any:
        profile = swap(load_profile("smoke"), f"clipself:{place}", cache=tmp_path)
        return Assets(profile, tmp_path / "runs", None).tower_key("base")

    moved = tmp_path / "elsewhere" / "some clip"
    shutil.copytree(folder, moved)
    assert key(folder) == key(moved)
    assert str(tmp_path) not in json.dumps(key(folder))
    state = torch.load(moved / "open_clip_pytorch_model.bin", weights_only=True)
    state["visual.proj"][0, 0] += 1
    torch.save(state, moved / "open_clip_pytorch_model.bin")
    assert key(folder) != key(moved)


@pytest.mark.usefixtures("tiny_clips")
def test_a_densevlm_checkpoint_is_recognised_imported_once_and_built(tmp_path: Path) -> None:
    state = drawn("EVA-tiny")
    official_names = to_eva({name: name for name in state})
    theirs = {official: state[name] for official, name in official_names.items()}
    file = tmp_path / "densevlm_coco_6.pt"
    torch.save({"epoch": 6, "name": "n", "state_dict": theirs, "optimizer": {"state": {}}, "scaler": {}}, file)
    cache = tmp_path / "runs" / "cache"
    swapped = swap(load_profile("smoke"), f"densevlm:{file}", cache=cache)
    assert swapped.towers["base"].title == "DenseVLM EVA-tiny (densevlm_coco_6)"
    assets = Assets(swapped, tmp_path / "runs", None)
    assert not assets.tower_ready("base")
    spec = assets.ensure_tower("base")
    assert assets.tower_ready("base")
    assert Path(spec.model).parent == cache / "clip"
    found = build_tower(spec).open_clip_state()
    assert all(torch.equal(tensor.reshape(found[name].shape), found[name]) for name, tensor in state.items())
    file.write_bytes(b"changed")
    with pytest.raises(WeightsError):
        swap(load_profile("smoke"), f"densevlm:{file}", cache=cache)


@pytest.mark.usefixtures("tiny_clips")
def test_a_file_that_tensors_cannot_tell_is_named_with_its_model(tmp_path: Path) -> None:
    file = tmp_path / "from_openai.pt"
    torch.save(drawn("tiny"), file)
    with pytest.raises(WeightsError, match="cannot tell") as caught:
        swap(load_profile("smoke"), f"densevlm:{file}", cache=tmp_path)
    assert f"--backbone densevlm:tiny-quickgelu/{file}" in str(caught.value.mend)
    plan = swap(load_profile("smoke"), f"densevlm:tiny-quickgelu/{file}", cache=tmp_path).towers["base"]
    assert plan.spec.model == "tiny-quickgelu"


@pytest.mark.usefixtures("tiny_clips", "small_variant")
def test_a_trained_method_is_no_backbone(tmp_path: Path, official: dict[str, Tensor]) -> None:
    torch.save({"model": official}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="trained method"):
        swap(load_profile("smoke"), f"openclip:{tmp_path / 'model.pth'}", cache=tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("densevlm", "named by its source"),
        ("densvlm:x", "did you mean densevlm"),
        ("clipself:/no/such.pt", "neither a file nor a folder"),
        ("openclip:ViT-B-17", "with a CLIP model; did you mean ViT-B-"),
        ("openclip:ViT-B-16", "several published weights"),
        ("eva:ViT-B-16/openai", "not a model of EVA-CLIP"),
    ],
)
def test_a_wrong_name_says_what_is_expected(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        swap(load_profile("smoke"), text, cache=tmp_path)


def test_models_of_open_clip_take_a_tag(tmp_path: Path) -> None:
    plan = swap(load_profile("paper"), "eva:EVA02-B-16/merged2b_s8b_b131k", cache=tmp_path).towers["base"]
    assert (plan.kind, plan.spec.model, plan.spec.weights) == ("open_clip", "EVA02-B-16", "merged2b_s8b_b131k")
    assert (plan.spec.resolution, plan.spec.dense_residual) == (384, "token")


def test_a_swapped_table_has_a_name_of_its_own_and_nothing_published(folder: Path) -> None:
    profile = swap(load_profile("paper"), f"clipself:{folder}", cache=folder)
    table = swap_table(load_table("table1"), profile, "base", profile.towers["base"].title)
    assert table.name == "table1-CLIPSelf-some-clip"
    assert {row.tower for row in table.rows} == {"base"}
    assert not any(row.published for row in table.rows)
    assert not table.printed
    with pytest.raises(UsageError, match="no row on tower"):
        swap_table(load_table("densevlm-table7"), profile, "large", "x")
