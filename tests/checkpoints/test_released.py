"""What is known of published weights, and fetching it: from an address, from a hub, by hand."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from file_server import REVISION, FileServer, serve, server, sha256
from torch import Tensor

import repro.checkpoints.released as released
from repro.checkpoints.released import KnownFile, fetch_file, get_file, known_files
from repro.cli.main import main
from repro.clip.names import TagSource
from repro.clip.spec import TowerSpec
from repro.clip.weights import find_weights
from repro.configuration.profiles import load_profile
from repro.errors import ResourceError, UsageError, WeightsError
from repro.methods import get_method
from repro.methods.released import ReleasedFile

__all__ = ["server"]
TAG, HUB = "ViT-B-16-quickgelu/openai", "timm/vit_base_patch16_clip_224.openai"
DATA = bytes(range(256)) * 40


def test_every_known_file_says_where_it_comes_from() -> None:
    for name, known in known_files().items():
        file = known.file
        assert bool(known.method) != bool(known.source), name
        assert sum(map(bool, (file.url, file.hub, file.why))) == 1, name
        assert file.page.startswith("https://"), name
        assert not file.url or (file.url.startswith("https://") and file.url.endswith(f"/{file.file}"))
        assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256), name
        assert bool(file.sha256) == bool(file.size), name


def test_all_weights_that_the_paper_profile_names_are_known() -> None:
    """Tags by model and tag, files by their names."""
    specs = [plan.spec for plan in load_profile("paper").towers.values() if plan.spec.weights]
    assert len(specs) >= 8
    for spec in specs:
        name = spec.weights if "." in str(spec.weights) else f"{spec.model}/{spec.weights}"
        assert get_file(str(name)).source


def test_the_released_checkpoints_of_the_methods_are_their_variants() -> None:
    """``repro weights`` and ``--as`` call them the same."""
    for known in known_files().values():
        if known.method:
            official = get_method(known.method).official_format()
            assert official is not None
            assert official.variants[known.file.name].title == known.file.title


def small_file(server: FileServer, **facts: Any) -> ReleasedFile:
    return ReleasedFile("small", "a test", "model_small.pth", "https://example.org/page", **facts)


def test_an_official_checkpoint_is_fetched_and_evaluated(
    server: FileServer,
    official: dict[str, Tensor],
    small_variant: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save({"model": official}, "original.pth")
    data = Path("original.pth").read_bytes()
    server.files["/files/model_small.pth"] = data
    url = f"{server.address}/files/model_small.pth"
    file = small_file(server, url=url, sha256=sha256(data), size=len(data))
    entry = dataclasses.replace(get_method("catseg"), released=(file,))
    monkeypatch.setattr(released, "registry", lambda: {"catseg": entry})
    assert main(["weights", "small", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    path = "runs/cache/downloads/small/model_small.pth"
    assert (said["path"], said["here"], said["checked"], said["new"]) == (path, path, True, True)
    assert said["next"] == f"repro eval catseg --weights {path} --profile paper --data-root DATA"
    words = said["next"].split()[1:6]
    assert main([*words[:4], "--profile", "smoke", "--benchmarks", "PAS-20", "--device", "cpu"]) == 0
    assert "CAT-Seg (small), an official checkpoint, imported into" in capsys.readouterr().err
    assert main(["weights", "small"]) == 0
    text = capsys.readouterr().out
    assert f"already there: {path}" in text
    assert f"sha256 {sha256(data)}: as published" in text
    assert len(server.asked) == 1


def test_a_digest_that_nobody_published_is_recorded_and_said(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/x"] = DATA
    file = small_file(server, url=f"{server.address}/x")
    monkeypatch.setattr(released, "known_files", lambda: {"small": KnownFile(file, source="clipself")})
    assert main(["weights", "small", "--out", "mine"]) == 0
    assert f"sha256 {sha256(DATA)}: none is published" in capsys.readouterr().out
    assert json.loads(Path("mine/model_small.pth.json").read_text())["sha256"] == sha256(DATA)
    assert not Path("runs").exists()


def test_a_file_of_a_hub_is_found_by_its_name_and_checked_by_the_hubs_digest(server: FileServer) -> None:
    known = get_file("densevlm-vitb")
    held = {"README.md": b"words", f"checkpoints/{known.file.file}": DATA}
    server.hub[known.file.hub] = held
    found = fetch_file(known, Path("cache"))
    assert (found.path.read_bytes(), found.checked, found.new) == (DATA, True, True)
    assert found.path == Path("cache/downloads/densevlm-vitb") / known.file.file
    assert f"/{known.file.hub}/resolve/{REVISION}/checkpoints/{known.file.file}" in [path for path, _ in server.asked]
    asked = len(server.asked)
    assert not fetch_file(known, Path("cache")).new
    assert len(server.asked) == asked


def test_a_tag_goes_where_towers_look_for_it(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    spec = TowerSpec("ViT-B-16-quickgelu", "openai")
    with pytest.raises(WeightsError, match="are not on this machine"):
        find_weights(spec)
    server.hub[HUB] = {"open_clip_model.safetensors": DATA, "open_clip_pytorch_model.bin": b"other"}
    assert main(["weights", TAG]) == 0
    text = capsys.readouterr().out
    assert f"written: {find_weights(spec)}" in text
    assert f"sha256 {sha256(DATA)}: as published" in text
    assert f"next: repro backbone openclip:{TAG} --profile paper --data-root DATA" in text
    asked = len(server.asked)
    assert not fetch_file(get_file(TAG), Path("cache")).new
    assert len(server.asked) == asked
    assert main(["weights", "--json"]) == 0
    (listed,) = [f for f in json.loads(capsys.readouterr().out) if f["name"] == TAG]
    assert listed["here"] == str(find_weights(spec))


def test_a_tag_in_a_folder_of_the_users_is_named_with_its_model(server: FileServer) -> None:
    server.hub[HUB] = {"open_clip_model.safetensors": DATA}
    known, out = get_file(TAG), Path("mine")
    found = fetch_file(known, Path("cache"), out)
    assert found.path == out / "ViT-B-16-quickgelu-openai.safetensors"
    assert known.use(found.path, out).split()[2] == f"openclip:ViT-B-16-quickgelu/{found.path}"
    assert find_weights(TowerSpec("ViT-B-16-quickgelu", str(found.path))) == found.path


def test_another_content_than_the_hubs_digest_is_removed(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hub[HUB] = {"open_clip_model.safetensors": DATA}
    monkeypatch.setattr(FileServer, "find", lambda self, path: DATA[::-1] if "/resolve/" in path else None)
    with pytest.raises(WeightsError, match="is not what the hub published"):
        fetch_file(get_file(TAG), Path("cache"))
    with pytest.raises(WeightsError, match="are not on this machine"):
        find_weights(TowerSpec("ViT-B-16-quickgelu", "openai"))


@pytest.mark.parametrize("name", [TAG, "densevlm-vitb"])
def test_without_the_hub_the_way_by_hand_is_said(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from huggingface_hub import constants

    with pytest.raises(WeightsError, match="gives no files"):
        fetch_file(get_file(name), Path("cache"))
    server.hub[get_file(name).file.hub] = {"README.md": b"words"}
    with pytest.raises(WeightsError, match="holds no") as caught:
        fetch_file(get_file(name), Path("cache"))
    assert caught.value.found == "1 files: README.md"
    with serve() as gone:
        monkeypatch.setattr(constants, "ENDPOINT", gone.address)
    with pytest.raises(ResourceError, match="cannot be reached") as caught:
        fetch_file(get_file(name), Path("cache"))
    file = get_file(name).file
    assert f"by hand: fetch {file.file} from https://huggingface.co/{file.hub}" in str(caught.value.mend)
    assert not Path("cache").exists()


def test_what_needs_a_browser_is_put_there_by_hand(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "clipself-vitb"]) == 4
    error = capsys.readouterr().err
    place = Path("runs/cache/downloads/clipself-vitb/eva_vitb16_coco_clipself_patches.pt")
    assert f"put it at {place}" in error
    assert "https://drive.google.com/" in error
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    assert main(["weights", "clipself-vitb"]) == 0
    assert f"next: repro backbone clipself:{place} " in capsys.readouterr().out
    shutil.move(place, place.name)
    assert get_file(place.name).find(Path("cache"), Path()) == Path(place.name)  # as the paper profile names it
    assert server.asked == []


def test_unknown_names_are_answered_with_what_is_known() -> None:
    with pytest.raises(UsageError, match="unknown weights 'catseg-vitx'; did you mean catseg-vit"):
        get_file("catseg-vitx")
    with pytest.raises(UsageError, match="unknown weights 'ViT-B-16/nothing'"):
        get_file("ViT-B-16/nothing")
    with pytest.raises(UsageError, match="not those of ViT-B-16") as caught:
        get_file("ViT-B-16/openai")
    assert caught.value.mend == f"repro weights {TAG}"
    assert get_file("ViT-B-32/laion2b_s34b_b79k").file.hub == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


def test_a_tag_that_is_not_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "tag_source", lambda _model, _tag: TagSource("", "tag.pt", False))
    with pytest.raises(UsageError, match="does not fetch ViT-B-16/tag from the Hugging Face hub"):
        get_file("ViT-B-16/tag")
