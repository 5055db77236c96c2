"""CLIP files of other code: OpenAI's archives, open_clip, EVA-CLIP with CLIPSelf and DenseVLM."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import meta_file
from torch import Tensor, nn

from repro.checkpoints.clip import model_shapes
from repro.checkpoints.importing import import_checkpoint
from repro.checkpoints.reading import TORCHSCRIPT, read_foreign
from repro.checkpoints.recognise import MisfitError, recognise
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.clip.weights.eva_names import to_eva
from repro.errors import WeightsError


def drawn(model: str, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(s, generator=generator) for n, s in model_shapes(model).items()}


def archived(state: dict[str, Tensor], path: Path) -> None:
    """``state`` as a TorchScript archive of nested modules, with OpenAI's three numbers beside it."""
    root = nn.Module()
    numbers = {"input_resolution": 48, "context_length": 24, "vocab_size": 49408}
    for name, tensor in {**state, **{k: torch.tensor(v) for k, v in numbers.items()}}.items():
        *parents, leaf = name.split(".")
        module = root
        for part in parents:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]  # type: ignore[assignment]
        module.register_buffer(leaf, tensor)
    torch.jit.save(torch.jit.script(root), str(path))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


# -- reading into towers -----------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("tiny_clips")
def test_openais_archive_in_half_precision_becomes_a_tower(tmp_path: Path) -> None:
    half = {n: t.half() for n, t in drawn("tiny-quickgelu").items()}
    archived(half, tmp_path / "any name")
    found = recognise(read_foreign(tmp_path / "any name"))
    assert found.variant == "tiny-quickgelu"  # only OpenAI publishes archives, and with QuickGELU
    result = import_checkpoint(found, tmp_path / "out", tmp_path)
    assert result.record["converted_to_float32"] == {"float16": len(half)}
    assert result.record["left_out"] == ["context_length", "input_resolution", "vocab_size"]
    tower = build_tower(TowerSpec(model=str(result.folder), weights=result.weights.name, resolution=48))
    named = build_tower(TowerSpec(model="tiny", weights=str(result.weights), resolution=48))
    expected = half["visual.transformer.resblocks.0.attn.in_proj_weight"].float().chunk(3)[1]
    for built in (tower, named):
        assert torch.equal(built.model.visual.transformer.resblocks[0].attn.k_proj_weight, expected)
    assert type(tower.model.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


@pytest.mark.usefixtures("tiny_clips")
@pytest.mark.parametrize("wrap", ["bare", "state_dict", "module."])
def test_every_wrapping_of_open_clip_gives_the_same_tensors(wrap: str, tmp_path: Path) -> None:
    state = drawn("tiny")
    stored: Any = {f"module.{n}": t for n, t in state.items()} if wrap == "module." else dict(state)
    if wrap != "bare":
        stored = {"state_dict": stored, "epoch": 6, "name": "run", "optimizer": {"state": {}}, "scaler": {}}
    torch.save(stored, tmp_path / "file")
    result = import_checkpoint(recognise(read_foreign(tmp_path / "file"), "tiny"), tmp_path / "out", tmp_path)
    assert same(dict(read_foreign(result.weights).state), state)
    assert result.record["beside"] == ({} if wrap == "bare" else {"epoch": 6, "name": "run"})
    assert result.record["model"] == "tiny"


@pytest.mark.usefixtures("tiny_clips")
def test_a_densevlm_file_becomes_an_open_clip_eva(tmp_path: Path) -> None:
    state = drawn("EVA-tiny")
    theirs = to_eva(state)
    assert any(n.endswith("attn.inner_attn_ln.weight") for n in theirs)
    theirs["visual.rope.freqs_cos"] = torch.zeros(36, 4)
    theirs["visual.blocks.0.attn.rope.freqs_sin"] = torch.zeros(36, 4)
    torch.save({"epoch": 6, "name": "densevlm", "state_dict": theirs, "scaler": {}}, tmp_path / "file.pt")
    found = recognise(read_foreign(tmp_path / "file.pt"))
    assert (found.format.id, found.variant) == ("eva-clip", "EVA-tiny")
    result = import_checkpoint(found, tmp_path / "out", tmp_path)
    assert same(dict(read_foreign(result.weights).state), state)
    again = recognise(read_foreign(result.weights))
    assert (again.format.id, again.variant) == ("open_clip", "EVA-tiny")
    config = json.loads((result.folder / "open_clip_config.json").read_text())
    assert config["model_cfg"]["custom_text"] is True
    assert build_tower(TowerSpec(model="tiny-eva", weights=str(result.weights), resolution=48)).depth == 3


@pytest.mark.usefixtures("tiny_clips")
def test_the_text_tower_may_lie_at_the_top_or_below_text(tmp_path: Path) -> None:
    state = drawn("tiny")
    tops = ("text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final")
    below = {f"text.{n}" if n.startswith(tops) else n: t for n, t in state.items()}
    torch.save(below, tmp_path / "file")
    result = import_checkpoint(recognise(read_foreign(tmp_path / "file"), "tiny"), tmp_path / "out", tmp_path)
    assert same(dict(read_foreign(result.weights).state), state)


# -- telling models apart ----------------------------------------------------------------------------------------------
def test_an_openai_named_file_needs_the_activation_named() -> None:
    file = meta_file(model_shapes("ViT-B-16"))
    with pytest.raises(MisfitError, match="fits ViT-B-16 and ViT-B-16-quickgelu") as caught:
        recognise(file)
    assert "--as ViT-B-16-quickgelu" in str(caught.value.mend)
    assert recognise(file, "ViT-B-16-quickgelu").variant == "ViT-B-16-quickgelu"


@pytest.mark.parametrize(
    ("model", "form"),
    [("ViT-L-14-336-quickgelu", TORCHSCRIPT), ("EVA02-B-16", ""), ("EVA02-L-14-336", "")],
)
def test_sizes_are_told_apart_by_shapes(model: str, form: str) -> None:
    file = meta_file(to_eva(model_shapes(model)), form)
    assert recognise(file).variant == model


def test_an_incomplete_eva_file_is_named_in_its_own_spelling() -> None:
    shapes = to_eva(model_shapes("EVA02-B-16"))
    del shapes["visual.blocks.3.attn.q_bias"]
    with pytest.raises(MisfitError, match=r"1 missing: visual.blocks.3.attn.q_bias 768"):
        recognise(meta_file(shapes))


def test_a_checkpoint_of_another_model_is_refused_with_the_nearest_format() -> None:
    resnet = {f"layer{i}.0.conv1.weight": (64, 64, 3, 3) for i in range(1, 5)} | {"fc.weight": (1000, 512)}
    with pytest.raises(MisfitError, match="not a checkpoint of a known format") as caught:
        recognise(meta_file(resnet))
    assert caught.value.report["nearest"] is None
    assert len(caught.value.report["entries"]) == 5
    # The image tower alone of a CLIP, as detectors store it: not one of ours, but it is said whose names they are.
    tower = {n.replace("visual.", "encoder."): s for n, s in model_shapes("ViT-B-16").items()}
    with pytest.raises(MisfitError, match="names are those of CLIP") as caught:
        recognise(meta_file(tower))
    assert str(caught.value.report["nearest"]).startswith(("ViT", "RN"))


# -- archives are read, not run ----------------------------------------------------------------------------------------
class _Loud(nn.Module):
    """Prints when ``torch.jit.load`` restores it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self):  # type: ignore[no-untyped-def]
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state):  # type: ignore[no-untyped-def]
        # type: (Tuple[Tensor, bool]) -> None
        print("code of the archive ran")
        self.weight = state[0]
        self.training = state[1]


def test_code_in_an_archive_does_not_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "loud.pt"
    torch.jit.script(_Loud()).save(str(path))
    capfd.readouterr()
    torch.jit.load(str(path))
    assert "code of the archive ran" in capfd.readouterr().out  # the danger is real
    with pytest.raises(WeightsError):
        read_foreign(path)
    assert capfd.readouterr().out == ""


def test_an_archive_gives_what_torch_reads_from_it(tmp_path: Path) -> None:
    state = OrderedDict(
        {
            "a.weight": torch.randn(3, 4).half(),
            "a.bias": torch.randn(3),
            "count": torch.tensor(7),
            "b.transposed": torch.randn(4, 5).t(),
        }
    )
    archived(dict(state), tmp_path / "x.pt")
    expected = torch.jit.load(str(tmp_path / "x.pt")).state_dict()
    assert same(dict(read_foreign(tmp_path / "x.pt").state), dict(expected))
