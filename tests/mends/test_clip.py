"""CLIP towers and their weights: the ways out of what cannot be built."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_files import tiny_clips
from file_server import FileServer, server
from talk import Talk, goes_on, options, ours, page, way

from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.clip.weights import find_weights, load_state
from repro.configuration.profiles import load_profile
from repro.runs.assets import Assets

__all__ = ["server", "tiny_clips"]
TINY = TowerSpec("tiny", None, resolution=48)
BACKBONE = ["backbone", "--profile", "smoke", "--device", "cpu"]


def said_by(mend: str) -> str:
    """What the Python command of a mend prints."""
    words = shlex.split(mend[mend.index("python -c") :])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(words[2], {})
    return out.getvalue()


@pytest.fixture(autouse=True)
def _empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.follows("repro.clip.models:describe_model")
def test_the_command_lists_the_models(talk: Talk) -> None:
    mend = talk.refused_by(lambda: build_tower(TowerSpec("ViT-B-61", None)))
    assert "ViT-B-16" in said_by(mend)


@pytest.mark.follows("repro.clip.weights:find_weights#1")
def test_the_command_lists_the_tags(talk: Talk) -> None:
    mend = talk.refused_by(lambda: find_weights(TowerSpec(weights="openal")))
    assert "openai" in said_by(mend)


@pytest.mark.follows("repro.clip.weights:quick_gelu_error")
def test_the_model_named_goes_with_the_weights(talk: Talk) -> None:
    mend = talk.refused_by(lambda: find_weights(TowerSpec("ViT-B-16", "openai")))
    model = mend.removeprefix("name the model ")
    goes_on(talk, lambda: find_weights(TowerSpec(model, "openai")))


@pytest.mark.follows("repro.clip.weights:find_weights#2", "repro.towers.open_clip:OpenClip.missing")
def test_the_command_puts_the_weights_where_they_are_looked_for(talk: Talk, server: FileServer) -> None:
    server.hub["timm/vit_base_patch16_clip_224.openai"] = {"open_clip_model.safetensors": b"x"}
    spec = TowerSpec()
    mend = talk.refused_by(lambda: find_weights(spec))
    (missing,) = Assets(load_profile("paper"), Path("runs"), None).missing_tower("base")
    assert missing.mend == mend
    talk.succeeds(*ours(mend))
    path = find_weights(spec)
    assert path is not None
    assert path.read_bytes() == b"x"


@pytest.mark.follows("repro.clip.weights:model_folder")
def test_without_a_folder_an_open_clip_model_is_named(talk: Talk) -> None:
    mend = talk.refused_by(lambda: build_tower(TowerSpec("./nothing", None)))
    assert "name an open_clip model" in mend
    build_tower(TINY)


def absurd(state: dict[str, torch.Tensor]) -> None:
    state["visual.proj"] = state["visual.proj"] * float("nan")


def other_model(state: dict[str, torch.Tensor]) -> None:
    del state["visual.proj"]


FILES = [
    way("repro.clip.weights:check_finite", absurd),
    way("repro.clip.models:load_weights", other_model),
]


@pytest.mark.parametrize("damage", FILES)
def test_the_right_file_in_the_place_of_the_refused_one_is_read(
    talk: Talk, damage: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    state = build_tower(TINY).open_clip_state()
    damage(state)
    torch.save(state, "clip.pth")
    talk.refused_by(lambda: build_tower(dataclasses.replace(TINY, weights="clip.pth")))
    torch.save(build_tower(TINY).open_clip_state(), "clip.pth")
    build_tower(dataclasses.replace(TINY, weights="clip.pth"))


@pytest.mark.follows("repro.clip.weights:_unreadable#2")
def test_a_cut_file_is_fetched_again(talk: Talk) -> None:
    torch.save(build_tower(TINY).open_clip_state(), "clip.pth")
    whole = Path("clip.pth").read_bytes()
    Path("clip.pth").write_bytes(whole[:900])
    assert "cut off" in talk.refused_by(lambda: load_state(Path("clip.pth")))
    Path("clip.pth").write_bytes(whole)
    load_state(Path("clip.pth"))


@pytest.mark.follows("repro.clip.tower:ClipTower._check_size")
def test_a_resolution_that_patches_do_not_tile_is_changed(talk: Talk) -> None:
    spec = dataclasses.replace(TINY, resolution=50)
    images = torch.zeros(1, 3, 50, 50)
    talk.refused_by(lambda: build_tower(spec).dense(images))
    build_tower(dataclasses.replace(spec, drop_remainder=True)).dense(images)
    build_tower(TINY).dense(images)


@pytest.mark.follows("repro.clip.backbone:unsupported")
def test_another_model_is_chosen_for_one_that_is_not_supported(talk: Talk) -> None:
    talk.refused_by(lambda: build_tower(TowerSpec("coca_ViT-B-32", None)))
    build_tower(TINY)


BACKBONES = [
    way("repro.methods.backbones:split_backbone#1", "tiny"),
    way("repro.methods.backbones:split_backbone#2", "nowhere:tiny"),
    way("repro.towers.backbone:_check_model", "openclip:tinny"),
]


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("named", BACKBONES)
def test_a_backbone_is_named_as_the_page_says(talk: Talk, named: str) -> None:
    assert "openclip:" in page(talk.refused(*BACKBONE, named, "--zero-shot-bar", "0"))
    talk.succeeds(*BACKBONE, "openclip:tiny", "--zero-shot-bar", "0")


@pytest.mark.usefixtures("ready")
@pytest.mark.follows("repro.methods.backbones:BackboneSource.check_model", "repro.towers.backbone:_only_tag")
def test_a_model_is_given_to_the_source_and_with_the_tag_that_the_mends_name(talk: Talk) -> None:
    words = ["eval", "clip", "--profile", "smoke", "--backbone"]
    talk.refused(*words, "eva:ViT-B-16/openai")
    assert options(talk.mend)[0] == "--backbone"
    talk.goes_on(*words, options(talk.mend)[1])
    talk.refused(*words, "openclip:ViT-B-16")
    talk.goes_on(*words, options(talk.mend)[1])


@pytest.mark.slow
@pytest.mark.usefixtures("ready")
@pytest.mark.follows("repro.runs.gates.class_signal:refuse_without_signal")
def test_without_the_check_a_tower_without_signal_is_trained_on(talk: Talk) -> None:
    call = ["train", "catseg", "--profile", "smoke", "--device", "cpu", "--iterations", "1"]
    mend = talk.refused(*call, "--zero-shot-bar", "900")
    assert "docs/backbones.md" in mend
    words = shlex.split(mend)
    off = words[words.index("--zero-shot-bar") :][:2]
    talk.succeeds(*call, *off)


@pytest.mark.follows("repro.mini.clip.training:_same_recipe")
def test_a_tower_of_another_recipe_is_moved_away(talk: Talk, tmp_path: Path) -> None:
    import shutil

    from repro.mini.clip.training import PARTIAL, SCORES, TEST_RECIPE, train_tiny_clip

    class Begun(Exception):  # noqa: N818
        pass

    def begin(*_: object) -> None:
        raise Begun

    folder = tmp_path / "tower"
    for name, content in ((SCORES, json.dumps({"recipe": "x"})), (PARTIAL, "cut")):
        folder.mkdir()
        (folder / name).write_text(content)
        mend = talk.refused_by(lambda: train_tiny_clip(folder, TEST_RECIPE))
        words = shlex.split(mend)
        shutil.move(words[words.index("move") + 1], tmp_path / f"away {name}")
        with pytest.raises(Begun):
            train_tiny_clip(folder, TEST_RECIPE, begin)
        shutil.rmtree(folder, ignore_errors=True)
