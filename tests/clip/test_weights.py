from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from repro.clip.names import TAGS
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.clip.weights import find_weights, load_state, weights_digest
from repro.errors import WeightsError


@pytest.fixture(autouse=True)
def _empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_absent_weights_are_an_error_with_the_command_that_fetches_them() -> None:
    with pytest.raises(WeightsError) as caught:
        build_tower(TowerSpec())
    assert caught.value.mend == "repro weights ViT-B-16-quickgelu/openai"


@pytest.mark.parametrize(
    ("model", "tag"),
    [("ViT-B-16", "openai"), ("ViT-L-14-336", "openai"), ("ViT-B-16", "dfn2b"), ("ViT-B-32", "openai")],
)
def test_the_plain_name_of_a_quickgelu_model_is_an_error(model: str, tag: str) -> None:
    with pytest.raises(WeightsError, match="QuickGELU") as caught:
        find_weights(TowerSpec(model=model, weights=tag))
    assert caught.value.expected == f"{model}-quickgelu"


def test_an_unknown_tag_is_an_error() -> None:
    with pytest.raises(WeightsError, match="no weights 'openal'"):
        find_weights(TowerSpec(weights="openal"))


@pytest.mark.parametrize(("model", "tag"), sorted(TAGS))
def test_tags_are_what_open_clip_says(model: str, tag: str) -> None:
    open_clip = pytest.importorskip("open_clip")
    config = open_clip.get_pretrained_cfg(model, tag)
    found = TAGS[model, tag]
    assert found.hub == config["hf_hub"].rstrip("/")
    assert found.file == Path(config.get("url") or "").name
    assert found.quick_gelu == config.get("quick_gelu", False)


def test_a_file_that_is_not_there_is_no_tag_and_needs_no_torch() -> None:
    code = (
        "import sys\nfrom repro.clip.spec import TowerSpec\nfrom repro.clip.weights import find_weights\n"
        "try:\n    find_weights(TowerSpec(model='ViT-B-16', weights='absent.pt'))\n"
        "except Exception as error:\n    print(error.message, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "no weights 'absent.pt' for model ViT-B-16 False\n"


def test_a_cached_file_is_found_under_its_original_name(tmp_path: Path) -> None:
    file = tmp_path / ".cache" / "clip" / "ViT-B-16.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert find_weights(TowerSpec()) == file


def test_a_hub_download_is_found_and_known_by_its_name(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--timm--vit_base_patch16_clip_224.openai"
    name, revision = "a" * 64, "b" * 40
    for part in ("blobs", "refs", f"snapshots/{revision}"):
        (repository / part).mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "blobs" / name).write_bytes(b"x")
    link = repository / "snapshots" / revision / "open_clip_model.safetensors"
    link.symlink_to(os.path.relpath(repository / "blobs" / name, link.parent))
    assert find_weights(TowerSpec()) == link
    assert weights_digest(TowerSpec()) == name
    assert find_weights(TowerSpec(weights=str(link))) == link
    with pytest.raises(WeightsError, match="QuickGELU"):
        find_weights(TowerSpec(model="ViT-B-16", weights=str(link)))


def test_digest_is_that_of_the_file_or_the_seed(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"some bytes")
    assert weights_digest(TowerSpec(weights=str(file))) == hashlib.sha256(b"some bytes").hexdigest()
    file.write_bytes(b"other bytes!")
    assert weights_digest(TowerSpec(weights=str(file))) == hashlib.sha256(b"other bytes!").hexdigest()
    assert weights_digest(TowerSpec(model="tiny", weights=None, seed=3)) == "random-3"


def test_digest_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"x")
    code = (
        "import sys; from repro.clip.spec import TowerSpec; from repro.clip.weights import weights_digest; "
        f"weights_digest(TowerSpec(weights={str(tmp_path / 'w.pt')!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class _Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0).half())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_every_form_of_file_gives_the_same_tensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = _Holder().state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, tmp_path / "b.pt")
    save_file(dict(state), tmp_path / "c.safetensors")
    torch.jit.script(_Holder()).save(str(tmp_path / "d.pt"))
    for name in ("a.pt", "b.pt", "c.safetensors", "d.pt"):
        loaded = load_state(tmp_path / name)
        assert list(loaded) == ["weight"]
        assert torch.equal(loaded["weight"], state["weight"])


def test_openais_archive_under_a_plain_name_is_an_error(tmp_path: Path) -> None:
    torch.jit.script(_Holder()).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(WeightsError, match="QuickGELU"):
        build_tower(TowerSpec(model="ViT-B-16", weights=str(tmp_path / "ViT-B-16.pt")))


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_truncated_file_is_an_error(tmp_path: Path, name: str) -> None:
    from safetensors.torch import save_file

    path = tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)({"w": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_state(path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    torch.save(_Holder(), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_state(tmp_path / "a.pt")


def test_a_file_without_tensors_is_an_error(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        load_state(tmp_path / "a.pt")


def test_a_folder_without_configuration_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a CLIP model folder"):
        build_tower(TowerSpec(model=str(tmp_path), weights=None))
    (tmp_path / "open_clip_config.json").write_text("{")
    with pytest.raises(WeightsError, match="not valid JSON"):
        build_tower(TowerSpec(model=str(tmp_path), weights=None))
