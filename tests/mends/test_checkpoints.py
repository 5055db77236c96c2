"""Files of other code: the ways out of what the import, the export and the towers refuse."""

from __future__ import annotations

import collections
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import official, small, small_variant, tiny_clips
from talk import Talk, options, ours, page, way
from torch import Tensor, nn

from repro.clip.spec import TowerSpec

__all__ = ["official", "small", "small_variant", "tiny_clips"]


@pytest.fixture
def file(official: dict[str, Tensor], small_variant: str, talk: Talk) -> Path:
    """A checkpoint as CAT-Seg's authors store theirs, in the working folder."""
    Path("my files").mkdir()
    torch.save({"model": official}, "my files/model.pth")
    return Path("my files/model.pth")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3000])


def web_page(file: Path) -> None:
    file.write_bytes(b"<!DOCTYPE html><html></html>")


def absent(file: Path) -> None:
    file.unlink()


def no_tensors(file: Path) -> None:
    torch.save({"epoch": 3}, file)


def unknown(file: Path) -> None:
    torch.save({f"layer{i}.weight": torch.zeros(3) for i in range(5)}, file)


def incomplete(file: Path) -> None:
    state = torch.load(file, weights_only=True)["model"]
    torch.save({n: t for n, t in state.items() if "clip_model.transformer" not in n}, file)


def broken_archive(file: Path) -> None:
    """A TorchScript archive whose object tree is damaged."""
    import zipfile

    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data.pkl", b"\x80\x02}q")


FETCHED = [
    way("repro.checkpoints.reading:_unreadable", cut),
    way("repro.checkpoints.reading:_refuse_text", web_page),
    way("repro.checkpoints.reading:_read#2", absent),
    way("repro.checkpoints.reading:read_foreign#2", no_tensors),
    way("repro.checkpoints.recognise:_unknown", unknown),
    way("repro.checkpoints.recognise:_misfit", incomplete),
    way("repro.clip.weights.torchscript:read_torchscript#2", broken_archive),
]


@pytest.mark.parametrize("damage", FETCHED)
def test_a_file_fetched_whole_as_the_mend_says_is_imported(
    talk: Talk, file: Path, damage: Callable[[Path], None]
) -> None:
    whole = file.read_bytes()
    damage(file)
    mend = talk.refused("import-checkpoint", file)
    assert any(word in mend for word in ("fetch", "download", "take a complete file", "docs/checkpoints.md"))
    if "docs/" in mend:
        assert "CAT-Seg" in page(mend)
    file.write_bytes(whole)
    talk.succeeds("import-checkpoint", file)


@pytest.mark.follows("repro.checkpoints.reading:_read#1")
def test_a_folder_is_replaced_by_the_file_in_it(talk: Talk, file: Path) -> None:
    talk.refused("import-checkpoint", file.parent)
    talk.succeeds(*ours(talk.mend))


@pytest.mark.follows("repro.checkpoints.recognise:_candidates")
def test_a_name_that_does_not_exist_is_left_out(talk: Talk, file: Path) -> None:
    talk.refused("import-checkpoint", file, "--as", "catseg-smal")
    talk.succeeds(*ours(talk.mend))


@pytest.mark.follows("repro.checkpoints.recognise:_misfit")
def test_a_wrong_name_is_replaced_by_the_one_that_fits(talk: Talk, file: Path) -> None:
    talk.refused("import-checkpoint", file, "--as", "catseg-vitb")
    talk.succeeds(*ours(talk.mend))


@pytest.mark.follows("repro.checkpoints.recognise:_ambiguous")
@pytest.mark.usefixtures("tiny_clips")
def test_a_file_that_fits_two_models_is_imported_as_either(talk: Talk) -> None:
    from repro.clip.tower import build_tower

    torch.save(build_tower(TowerSpec("tiny", None, resolution=48)).open_clip_state(), "my clip.pth")
    mend = talk.refused("import-checkpoint", "my clip.pth")
    for number, call in enumerate(mend.split(" or ")):
        talk.succeeds(*ours(call), "--out", f"out{number}")


@pytest.mark.usefixtures("ready")
@pytest.mark.follows("repro.towers.backbone:_recognise#1")
@pytest.mark.usefixtures("tiny_clips")
def test_a_backbone_that_fits_two_models_is_named_with_either(talk: Talk) -> None:
    from repro.clip.tower import build_tower

    torch.save(build_tower(TowerSpec("tiny", None, resolution=48)).open_clip_state(), "my clip.pth")
    words = ["eval", "clip", "--profile", "smoke", "--device", "cpu", "--benchmarks", "PAS-20"]
    mend = talk.refused(*words, "--backbone", "openclip:my clip.pth")
    talk.succeeds(*words, *options(mend.split(" or ")[0]))


@pytest.mark.follows("repro.towers.backbone:_recognise#2")
def test_a_trained_method_as_a_backbone_is_sent_to_the_import(talk: Talk, file: Path) -> None:
    talk.refused("eval", "clip", "--profile", "smoke", "--backbone", f"openclip:{file}")
    talk.succeeds(*ours(talk.mend))


def taken(file: Path) -> None:
    Path("out").mkdir()
    Path("out/notes.txt").touch()


def a_file(file: Path) -> None:
    Path("out").touch()


OUT = [
    way("repro.checkpoints.importing:_already_there#1", a_file, "out"),
    way("repro.checkpoints.importing:_already_there#2", taken, "out"),
    way("repro.checkpoints.room:check_folder#1", a_file, "out/below"),
]


@pytest.mark.parametrize(("before", "out"), OUT)
def test_another_folder_of_the_import_is_taken(
    talk: Talk, file: Path, before: Callable[[Path], None], out: str
) -> None:
    before(file)
    assert "name another folder with --out" in talk.refused("import-checkpoint", file, "--out", out)
    talk.succeeds("import-checkpoint", file, "--out", "another")


@pytest.mark.follows("repro.checkpoints.room:check_folder#2")
def test_a_folder_on_another_disk_is_taken(talk: Talk, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")
    Path("small").mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda p: usage(10, 9, 1 if "small" in str(p) else 1 << 40))
    talk.refused("import-checkpoint", file, "--out", "small/out")
    talk.succeeds("import-checkpoint", file, "--out", "large/out")


@pytest.mark.follows(
    "repro.runs.weights.exporting:export_checkpoint#2", "repro.runs.weights.described:describe_weights#2"
)
def test_another_file_of_the_export_is_taken(talk: Talk, file: Path) -> None:
    talk.succeeds("import-checkpoint", file, "--out", "mine")
    Path("there.pth").touch()
    assert "name another file with --out" in talk.refused("export-checkpoint", "mine", "--out", "there.pth")
    value = torch.load("mine/weights.pth", weights_only=True)
    value["header"]["options"] = {**value["header"]["options"], "older": 1}
    torch.save(value, "mine/weights.pth")
    mend = talk.refused("export-checkpoint", "mine", "--out", "new.pth")
    talk.succeeds(*ours(mend, FILE=file), "--out", "again")
    talk.succeeds("export-checkpoint", "again", "--out", "new.pth")


@pytest.mark.follows("repro.runs.weights.described:describe_weights#1")
def test_weights_without_a_description_are_kept_in_their_run(talk: Talk, store: Path) -> None:
    run = next(p for p in store.iterdir() if p.name.startswith("catseg"))
    shutil.copyfile(run / "weights.pth", "loose weights.pth")
    mend = talk.refused("export-checkpoint", "loose weights.pth", "--out", "a.pth")
    talk.succeeds("export-checkpoint", run, "--out", "a.pth")
    own = ["--profile", "smoke", "--benchmarks", "PAS-20", "--runs", store, "--device", "cpu"]
    talk.succeeds(*ours(mend), *own)


@pytest.mark.follows("repro.runs.weights.exporting:export_checkpoint#1")
def test_weights_of_a_method_without_a_release_are_read_by_torch(talk: Talk) -> None:
    tower = dataclasses.asdict(TowerSpec("tiny", None, resolution=48))
    header = {"method": "clip", "format": 1, "tower": tower, "options": {}}
    torch.save({"header": header, "state_dict": {"x": torch.zeros(1)}}, "weights.pth")
    assert "plain torch file" in talk.refused("export-checkpoint", "weights.pth", "--out", "a.pth")
    assert set(torch.load("weights.pth", weights_only=True)) == {"header", "state_dict"}


@pytest.mark.usefixtures("ready")
@pytest.mark.follows("repro.runs.weights.imported:other_method")
def test_an_import_is_given_to_the_method_named(talk: Talk, file: Path) -> None:
    talk.succeeds("import-checkpoint", file, "--out", "mine")
    words = ["--checkpoint", "mine/weights.pth", "--profile", "smoke", "--benchmarks", "PAS-20", "--device", "cpu"]
    mend = talk.refused("eval", "clip", *words)
    talk.succeeds("eval", mend.removeprefix("name the method "), *words)


@pytest.mark.usefixtures("ready", "tiny_clips")
@pytest.mark.follows("repro.runs.weights.official:_import#2")
def test_a_clip_given_as_weights_is_taken_as_a_backbone(talk: Talk) -> None:
    from repro.clip.tower import build_tower

    torch.save(build_tower(TowerSpec("tiny-eva", None, resolution=48)).open_clip_state(), "my clip.pth")
    words = ["eval", "clip", "--profile", "smoke", "--device", "cpu", "--benchmarks", "PAS-20"]
    mend = talk.refused(*words, "--weights", "my clip.pth")
    talk.succeeds(*words, *options(mend.removesuffix(" in place of the weights")))


@pytest.mark.usefixtures("ready")
@pytest.mark.follows("repro.towers.backbone:Backbone.make")
def test_a_backbone_that_changed_is_read_by_the_same_command(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, tiny_clips: Any
) -> None:
    import repro.towers.backbone as backbone
    from repro.clip.tower import build_tower

    state = build_tower(TowerSpec("tiny", None, resolution=48)).open_clip_state()
    torch.save(state, "clip.pth")
    real = backbone.file_digest
    seen: list[str] = []

    def changing(path: Path, *more: Any) -> str:
        seen.append(str(path))
        return "0" * 64 if len(seen) == 1 else real(path, *more)

    monkeypatch.setattr(backbone, "file_digest", changing)
    words = ["eval", "clip", "--profile", "smoke", "--device", "cpu", "--benchmarks", "PAS-20"]
    words += ["--backbone", "openclip:tiny/clip.pth"]
    assert talk.refused(*words) == "run the same command again"
    talk.succeeds(*words)


class _Sparse(nn.Module):
    """A module with a tensor of a kind that is not read from archives."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sparse", torch.eye(2).to_sparse())

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.follows("repro.clip.weights.torchscript:read_torchscript#1")
def test_an_archive_of_more_than_tensors_is_copied_by_the_command_and_imported(talk: Talk) -> None:
    torch.jit.script(_Sparse()).save("my archive.pt")
    mend = talk.refused("import-checkpoint", "my archive.pt")
    copy = mend.partition("make a plain copy: ")[2].partition(" && ")[0]
    subprocess.run(["sh", "-c", copy.replace("python", sys.executable, 1)], check=True)
    talk.follow()
