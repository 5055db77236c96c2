"""Files of other code with wrapped names, Hugging Face's names, other objects than tensors, and values that are none.

Hugging Face transformers is not installed: its layout of ``CLIPModel`` is written here from its published source, as
the inverse of what the import does, and its attention is computed from its own tensors.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from checkpoint_files import tiny_clips
from torch import Tensor

from repro.checkpoints.clip import model_shapes
from repro.checkpoints.importing import import_checkpoint
from repro.checkpoints.reading import read_foreign
from repro.checkpoints.recognise import recognise
from repro.cli.main import main
from repro.clip.names import TINY
from repro.clip.weights import load_state
from repro.clip.weights.state_names import from_huggingface, has_huggingface_names
from repro.errors import WeightsError
from repro.runtime import import_torchvision

__all__ = ["tiny_clips"]
pytestmark = pytest.mark.usefixtures("tiny_clips")


def drawn(model: str = "tiny", seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: 0.2 * torch.randn(s, generator=generator) for n, s in model_shapes(model).items()}


def as_huggingface(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` (open_clip's names) as transformers' CLIPModel stores it."""
    named = {"logit_scale": state["logit_scale"]}
    named["visual_projection.weight"] = state["visual.proj"].t().contiguous()
    named["text_projection.weight"] = state["text_projection"].t().contiguous()
    for side, top in (("vision_model", "visual."), ("text_model", "")):
        places = state[f"{top}positional_embedding"]
        named[f"{side}.embeddings.position_embedding.weight"] = places
        named[f"{side}.embeddings.position_ids"] = torch.arange(len(places))[None]
        blocks = {n.split(".")[-4 if ".mlp." in n or "out_proj" in n else -3] for n in state if "resblocks" in n}
        for number in sorted(b for b in blocks if f"{top}transformer.resblocks.{b}.ln_1.weight" in state):
            ours, theirs = f"{top}transformer.resblocks.{number}", f"{side}.encoder.layers.{number}"
            for kind in ("weight", "bias"):
                query, key, value = state[f"{ours}.attn.in_proj_{kind}"].chunk(3)
                named[f"{theirs}.self_attn.k_proj.{kind}"] = key.clone()
                named[f"{theirs}.self_attn.v_proj.{kind}"] = value.clone()
                named[f"{theirs}.self_attn.q_proj.{kind}"] = query.clone()
                named[f"{theirs}.self_attn.out_proj.{kind}"] = state[f"{ours}.attn.out_proj.{kind}"]
                named[f"{theirs}.layer_norm1.{kind}"] = state[f"{ours}.ln_1.{kind}"]
                named[f"{theirs}.layer_norm2.{kind}"] = state[f"{ours}.ln_2.{kind}"]
                named[f"{theirs}.mlp.fc1.{kind}"] = state[f"{ours}.mlp.c_fc.{kind}"]
                named[f"{theirs}.mlp.fc2.{kind}"] = state[f"{ours}.mlp.c_proj.{kind}"]
    named["vision_model.embeddings.class_embedding"] = state["visual.class_embedding"]
    named["vision_model.embeddings.patch_embedding.weight"] = state["visual.conv1.weight"]
    named["text_model.embeddings.token_embedding.weight"] = state["token_embedding.weight"]
    for kind in ("weight", "bias"):
        named[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        named[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        named[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
    return named


def huggingface_image_features(state: dict[str, Tensor], images: Tensor, heads: int) -> Tensor:
    """Features (B, D) of ``images`` computed from Hugging Face's tensors, as its modelling code does (GELU)."""
    f = torch.nn.functional
    patches = f.conv2d(images, state["vision_model.embeddings.patch_embedding.weight"], stride=8).flatten(2).mT
    first = state["vision_model.embeddings.class_embedding"].expand(len(images), 1, -1)
    x = torch.cat([first, patches], 1) + state["vision_model.embeddings.position_embedding.weight"]

    def norm(x: Tensor, name: str) -> Tensor:
        return f.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(x: Tensor, name: str) -> Tensor:
        return f.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    x = norm(x, "vision_model.pre_layrnorm")
    for number in range(2):
        block = f"vision_model.encoder.layers.{number}"
        y = norm(x, f"{block}.layer_norm1")
        q, k, v = (linear(y, f"{block}.self_attn.{p}_proj").unflatten(-1, (heads, -1)).transpose(1, 2) for p in "qkv")
        weights = ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"{block}.self_attn.out_proj")
        x = x + linear(f.gelu(linear(norm(x, f"{block}.layer_norm2"), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    return norm(x[:, 0], "vision_model.post_layernorm") @ state["visual_projection.weight"].t()


def build(state: dict[str, Tensor]) -> torch.nn.Module:
    import_torchvision()
    from open_clip.model import CLIP

    model = CLIP(**TINY)
    model.load_state_dict(state)
    return model.eval()


# -- prefixes ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "model.", "clip.", "_orig_mod.module.", "module.", "module._orig_mod."]
)
@pytest.mark.parametrize("below", [None, "state_dict"])
def test_a_prefix_that_all_names_share_is_removed_and_said(
    prefix: str, below: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = drawn()
    wrapped = {prefix + n: t for n, t in state.items()}
    torch.save({below: wrapped} if below else wrapped, tmp_path / "x.pth")
    file = read_foreign(tmp_path / "x.pth")
    assert file.prefix == prefix
    assert file.state.keys() == state.keys()
    assert main(["import-checkpoint", str(tmp_path / "x.pth"), "--as", "tiny", "--out", str(tmp_path / "out")]) == 0
    assert f"took {prefix!r} off all names" in capsys.readouterr().err
    record = (tmp_path / "out" / "import.json").read_text()
    assert f'"prefix_removed": "{prefix}"' in record
    loaded = load_state(tmp_path / "x.pth")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[n], state[n]) for n in state)


def test_a_prefix_that_one_name_lacks_stays(tmp_path: Path) -> None:
    state = {f"module.{n}": t for n, t in drawn().items()}
    state["logit_scale"] = state.pop("module.logit_scale")
    torch.save(state, tmp_path / "x.pth")
    assert read_foreign(tmp_path / "x.pth").prefix == ""
    assert load_state(tmp_path / "x.pth").keys() == state.keys()


# -- Hugging Face ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("prefix", ["", "clip."])
def test_huggingface_names_give_the_features_of_the_same_model(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = drawn()
    theirs = as_huggingface(state)
    assert len(theirs) == len(state) + 3 * 2 * 2 + 2  # 3 blocks: three weights and biases for one of each; 2 tables
    torch.save({prefix + n: t for n, t in theirs.items()}, tmp_path / "pytorch_model.bin")
    words = ["import-checkpoint", str(tmp_path / "pytorch_model.bin"), "--as", "tiny", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "Hugging Face's names" in capsys.readouterr().err
    assert '"names_from": "huggingface"' in (tmp_path / "out" / "import.json").read_text()
    ours = build(load_state(tmp_path / "out" / "open_clip_model.safetensors"))
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((3, 3, 48, 48), generator=generator)
    texts = torch.randint(1, 49_000, (3, 24), generator=generator)
    original = build(state)
    with torch.no_grad():
        reference = huggingface_image_features(theirs, images, heads=2)
        assert reference.std() > 0.1
        torch.testing.assert_close(ours.encode_image(images), reference, rtol=0, atol=1e-5)  # type: ignore[operator]
        for encode, inputs in (("encode_image", images), ("encode_text", texts)):
            difference = getattr(ours, encode)(inputs) - getattr(original, encode)(inputs)
            assert difference.abs().max() <= 1e-6


def test_a_tower_takes_a_file_with_huggingface_names(tmp_path: Path) -> None:
    from repro.clip.spec import TowerSpec
    from repro.clip.tower import build_tower

    state = drawn()
    torch.save(as_huggingface(state), tmp_path / "hf.bin")
    torch.save(state, tmp_path / "ours.pt")
    towers = [
        build_tower(TowerSpec(model="tiny", weights=str(tmp_path / n), resolution=48)) for n in ("hf.bin", "ours.pt")
    ]
    for (name, a), b in zip(towers[0].state_dict().items(), towers[1].state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_an_incomplete_huggingface_file_is_refused(tmp_path: Path) -> None:
    theirs = as_huggingface(drawn())
    del theirs["text_model.encoder.layers.0.self_attn.v_proj.bias"]
    torch.save(theirs, tmp_path / "x.bin")
    file = read_foreign(tmp_path / "x.bin")
    with pytest.raises(WeightsError, match="not a complete"):
        recognise(file, "tiny")
    assert has_huggingface_names(theirs)
    assert "transformer.resblocks.0.attn.in_proj_bias" not in from_huggingface(theirs)


# -- what a file holds -------------------------------------------------------------------------------------------------
@pytest.mark.follows("repro.checkpoints.reading:_read#3", "repro.clip.weights:_unreadable#1")
@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (argparse.Namespace(lr=1e-4), "argparse.Namespace"),
        (SimpleNamespace(lr=1e-4), "types.SimpleNamespace"),
        (Path("a"), "pathlib.PosixPath"),
        (np.array([None, 1], dtype=object), "numpy.dtypes.ObjectDType"),
        (Fraction(1, 3), "fractions.Fraction"),
    ],
)
def test_a_file_with_other_objects_names_them_and_the_way_to_a_plain_one(
    beside: object, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "my $(touch x) 'files'"
    folder.mkdir()
    state = drawn()
    torch.save({"state_dict": state, "args": beside}, folder / "-x.pth")
    for read in (read_foreign, load_state):
        with pytest.raises(WeightsError) as caught:
            read(folder / "-x.pth")
        assert name in str(caught.value.found) or "numpy" in str(caught.value.found)
        assert "fetch" not in str(caught.value.mend)
        assert "runs code of the file" in str(caught.value.mend)
    with pytest.raises(WeightsError) as caught:
        read_foreign(folder / "-x.pth")
    line = str(caught.value.mend).partition("make a plain copy: ")[2].partition(" && ")[0]
    line = line.replace("python", sys.executable, 1)
    subprocess.run(["sh", "-c", line], check=True, cwd=tmp_path)
    plain = read_foreign(folder / "-x-plain.pth").state
    assert plain.keys() == state.keys()
    assert all(torch.equal(plain[n], state[n]) for n in state)
    assert not (tmp_path / "x").exists()
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_a_whole_module_becomes_a_plain_file(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 3)
    torch.save(module, tmp_path / "m.pth")
    with pytest.raises(WeightsError, match="holds more than tensors") as caught:
        read_foreign(tmp_path / "m.pth")
    assert "torch.nn.modules.linear.Linear" in str(caught.value.found)
    line = str(caught.value.mend).partition("make a plain copy: ")[2].partition(" && ")[0]
    subprocess.run(["sh", "-c", line.replace("python", sys.executable, 1)], check=True)
    assert torch.equal(read_foreign(tmp_path / "m-plain.pth").state["weight"], module.weight)


# -- values ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "dtype"), [(float("nan"), "float32"), (float("-inf"), "float16"), (1e300, "float64")]
)
def test_weights_that_are_not_finite_are_refused_by_name(value: float, dtype: str, tmp_path: Path) -> None:
    state = {n: t.to(getattr(torch, dtype)) for n, t in drawn().items()}
    first = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    for name in (first, "visual.transformer.resblocks.1.mlp.c_proj.bias"):
        state[name].view(-1)[3] = value
    torch.save(state, tmp_path / "x.pth")
    found = recognise(read_foreign(tmp_path / "x.pth"), "tiny")
    for dry in (True, False):
        with pytest.raises(WeightsError, match=f"holds NaN or infinity in {first}"):
            import_checkpoint(found, tmp_path / "out", tmp_path, dry_run=dry)
    assert not (tmp_path / "out").exists()
    with pytest.raises(WeightsError, match=f"holds NaN or infinity in {first}"):
        load_state(tmp_path / "x.pth")


def test_infinities_of_a_stored_mask_are_no_weights(tmp_path: Path) -> None:
    state = {**drawn(), "attn_mask": torch.full((24, 24), float("-inf")).triu_(1)}
    torch.save(state, tmp_path / "x.pth")
    import_checkpoint(recognise(read_foreign(tmp_path / "x.pth"), "tiny"), tmp_path / "out", tmp_path)
    assert load_state(tmp_path / "x.pth").keys() == state.keys()
