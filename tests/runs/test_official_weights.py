"""An official checkpoint where weights are expected: imported once, by content, and used as the import is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import official, small, small_variant, tiny_clips
from PIL import Image
from torch import Tensor

import repro
from repro.cli.main import main
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import UsageError, WeightsError
from repro.requests import RunRequest
from repro.runs.weights.official import own_weights

__all__ = ["official", "small", "small_variant", "tiny_clips"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(official: dict[str, Tensor], small_variant: str, folder: Path) -> Path:
    """As detectron2 writes it: with an iteration and numpy's numbers, which our own reader refuses."""
    beside = {"iteration": 79999, "scheduler": {"base_lr": np.float64(2e-4)}}
    torch.save({"model": official, **beside}, "model_final.pth")
    return Path("model_final.pth")


def evaluate(capsys: pytest.CaptureFixture[str], weights: str | Path) -> tuple[dict[str, object], str]:
    words = ["eval", "catseg", "--weights", str(weights), "--profile", "smoke", "--benchmarks", "PAS-20"]
    code = main([*words, "--json", "--device", "cpu"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    (row,) = json.loads(captured.out)
    return row, captured.err


def test_it_is_evaluated_as_its_import_is(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    direct, said = evaluate(capsys, file)
    (record,) = Path("runs/cache/imports").glob("catseg-small-*/import.json")
    assert f"{file}: CAT-Seg (small), an official checkpoint, imported into {record.parent}" in said
    assert main(["import-checkpoint", str(file), "--out", "mine"]) == 0
    capsys.readouterr()
    by_hand, _ = evaluate(capsys, "mine/weights.pth")
    figures = ("run", "miou_gt", "miou_union", "pacc", "weights")
    assert [direct[name] for name in figures] == [by_hand[name] for name in figures]


def test_the_second_time_and_under_another_name_the_import_is_used(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = evaluate(capsys, file)
    (made,) = Path("runs/cache/imports").glob("*/weights.pth")
    before = made.stat().st_mtime_ns
    shutil.move(file, "renamed.pth")
    again, said = evaluate(capsys, "renamed.pth")
    assert f"renamed.pth: an official checkpoint, imported before into {made.parent}" in said
    assert again == first
    assert made.stat().st_mtime_ns == before
    assert len(list(Path("runs/cache/imports").glob("[!.]*"))) == 1


def test_another_file_of_the_same_name_is_another_import(
    file: Path, official: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = evaluate(capsys, file)
    changed = {n: t + 0.5 if n.endswith("transformer.head.bias") else t for n, t in official.items()}
    torch.save({"model": changed}, file)
    second, _ = evaluate(capsys, file)
    assert first["weights"] != second["weights"]
    assert first["run"] != second["run"]


@pytest.mark.parametrize("fault", ["weights.pth", "import.json", "of another version"])
def test_an_import_that_cannot_be_used_is_made_again(file: Path, fault: str) -> None:
    cache = Path("cache")
    made = own_weights(file, "catseg", cache)
    whole = made.read_bytes()
    if fault == "of another version":
        value = torch.load(made, weights_only=True)
        value["header"]["options"]["older"] = 1
        torch.save(value, made)
    else:
        (made.parent / fault).write_bytes((made.parent / fault).read_bytes()[:100])
    assert own_weights(file, "catseg", cache) == made
    assert made.read_bytes() == whole


def test_it_predicts_from_the_command_line_and_from_python(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    words = ["predict", "--method", "catseg", "--checkpoint", str(file), "--profile", "smoke", "--device", "cpu"]
    assert main([*words, "--image", "photo.png", "--classes", "cat,dog,sky", "--out", "out"]) == 0
    labels = np.asarray(Image.open("out/photo_label.png"))
    assert json.loads(Path("out/photo.json").read_text())["checkpoint"].startswith("runs/cache/imports/catseg-small-")
    model = repro.load("catseg", file, profile="smoke", device="cpu")
    assert np.array_equal(model.predict("photo.png", ["cat", "dog", "sky"]).labels, labels)
    assert "imported before" in capsys.readouterr().err


def test_weights_of_ours_and_words_are_left_as_they_are(file: Path) -> None:
    made = own_weights(file, "catseg", Path("cache"))
    run = RunRequest("smoke", method="catseg", runs=Path("store"))
    for given in (None, "none", str(made), f"./{made}", "absent.pth"):
        assert run.own(given) == given
    assert not Path("store").exists()


def test_a_file_that_nobody_can_read_is_left_to_who_loads_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.pth").write_bytes(b"nothing")
    torch.save({"epoch": 3}, "empty.pth")
    for name in ("broken.pth", "empty.pth"):
        assert own_weights(Path(name), "catseg", folder / "cache") == Path(name)
        assert main(["eval", "catseg", "--weights", name, "--profile", "smoke"]) == 4
    assert not (folder / "cache").exists()
    error = capsys.readouterr().err
    assert "broken.pth cannot be read as weights" in error
    assert "empty.pth is not a weights file of repro" in error


def test_an_incomplete_checkpoint_is_refused_by_what_is_missing(official: dict[str, Tensor], file: Path) -> None:
    torch.save({n: t for n, t in official.items() if "clip_model.transformer" not in n}, file)
    with pytest.raises(WeightsError, match="neither weights of this program nor a complete official checkpoint") as e:
        own_weights(file, "catseg", Path("cache"))
    assert "nearest to, but not, a complete CAT-Seg (small)" in str(e.value.found)
    assert "missing: sem_seg_head.predictor.clip_model.transformer" in str(e.value.found)
    assert not list(Path("cache/imports").glob("[!.]*"))


def test_another_method_is_refused_before_anything_is_written(file: Path) -> None:
    with pytest.raises(WeightsError, match="weights of another method"):
        own_weights(file, "clip", Path("cache"))
    assert not list(Path("cache/imports").glob("[!.]*"))
    with pytest.raises(UsageError, match="unknown method"):
        RunRequest("smoke", method="catsge").own(file)


@pytest.mark.usefixtures("tiny_clips", "folder")
def test_a_clip_model_is_sent_to_the_option_for_backbones() -> None:
    state = build_tower(TowerSpec("tiny-eva", None, resolution=48)).open_clip_state()
    torch.save(state, "clip.pth")
    with pytest.raises(WeightsError, match="is a CLIP model, not weights of a method") as caught:
        own_weights(Path("clip.pth"), "catseg", Path("cache"))
    assert caught.value.mend == "--backbone openclip:EVA-tiny/clip.pth in place of the weights"
