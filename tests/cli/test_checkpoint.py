"""``repro import-checkpoint`` and ``repro export-checkpoint`` as a user meets them."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import official, small, small_variant
from PIL import Image
from torch import Tensor

from repro.cli.main import main

__all__ = ["official", "small", "small_variant"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(official: dict[str, Tensor], small_variant: str, folder: Path) -> Path:
    torch.save({"model": official, "iteration": 79999, "optimizer": {}}, folder / "model_final.pth")
    return folder / "model_final.pth"


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_dry_run_says_what_it_is_and_writes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-checkpoint", str(file), "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "model_final.pth: CAT-Seg (small) (catseg-small)" in text
    assert "left out: optimizer" in text
    assert "iteration 79999" in text
    assert "would be written: checkpoints/catseg-small-" in text
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_an_import_is_evaluated_without_any_training(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-checkpoint", str(file), "--out", "mine", "--json"]) == 0
    record = said(capsys)
    assert record["tower"]["model"] == "tiny"
    assert record["options"]["hidden"] == 16
    assert sorted(p.name for p in Path("mine").iterdir()) == ["import.json", "weights.pth"]
    words = ["eval", "catseg", "--checkpoint", "mine/weights.pth", "--profile", "smoke", "--benchmarks", "PAS-20"]
    assert main([*words, "--json", "--device", "cpu"]) == 0
    (row,) = said(capsys)
    assert row["num_images"] == 2
    assert row["run"].startswith("catseg-smoke-checkpoint-")
    provenance = json.loads(Path("runs", row["run"], "provenance.json").read_text())
    assert provenance["facts"]["train"] is None
    assert provenance["facts"]["tower"]["weights"] == record["source"]["sha256"]
    assert provenance["facts"]["options"]["hidden"] == 16
    assert not list(Path("runs").glob("*/weights.pth"))


def test_an_import_predicts_as_its_weights_say(
    file: Path, official: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    """The probabilities of the imported file, and others once its last layer is another."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    changed = {n: t + 0.5 if n.endswith("transformer.head.bias") else t for n, t in official.items()}
    assert any(not torch.equal(changed[n], official[n]) for n in official)
    torch.save(changed, "changed.pth")
    scores = []
    for source, folder in ((file, "mine"), (Path("changed.pth"), "other")):
        assert main(["import-checkpoint", str(source), "--out", folder]) == 0
        words = ["predict", "--method", "catseg", "--checkpoint", f"{folder}/weights.pth", "--profile", "smoke"]
        words += [
            "--image",
            "photo.png",
            "--classes",
            "cat,dog,sky",
            "--out",
            f"out-{folder}",
            "--save-probs",
            "--device",
            "cpu",
        ]
        assert main(words) == 0
        with np.load(Path(f"out-{folder}", "photo_probabilities.npz")) as stored:
            scores.append(stored["probabilities"])
        labels = np.asarray(Image.open(Path(f"out-{folder}", "photo_label.png")))
        assert np.array_equal(labels, scores[-1].argmax(0))
    assert scores[0].shape == (3, 40, 50)
    assert (scores[1] > scores[0]).all()


def test_an_import_is_not_taken_for_another_method(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-checkpoint", str(file), "--out", "mine"]) == 0
    assert main(["eval", "clip", "--checkpoint", "mine/weights.pth", "--profile", "smoke"]) == 4
    assert "weights of another method" in capsys.readouterr().err


def test_importing_again_changes_nothing_and_another_file_is_kept_apart(
    file: Path, official: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import-checkpoint", str(file), "--out", "mine"]
    assert main(words) == 0
    before = Path("mine/weights.pth").stat().st_mtime_ns
    assert main(words) == 0
    assert "already there" in capsys.readouterr().out
    assert Path("mine/weights.pth").stat().st_mtime_ns == before
    torch.save({n: t + 1 if "upsample" in n else t for n, t in official.items()}, "other.pth")
    assert main(["import-checkpoint", "other.pth", "--out", "mine"]) == 2
    assert "already holds something else" in capsys.readouterr().err


def test_export_gives_the_file_back(
    file: Path, official: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-checkpoint", str(file), "--out", "mine"]) == 0
    assert main(["export-checkpoint", "mine", "--out", "back/official.pth", "--dry-run"]) == 0
    assert not Path("back").exists()
    capsys.readouterr()
    assert main(["export-checkpoint", "mine/weights.pth", "--out", "back/official.pth", "--json"]) == 0
    assert said(capsys)["variant"] == "catseg-small"
    back = torch.load("back/official.pth", weights_only=True)
    assert back["model"].keys() == official.keys()
    assert all(torch.equal(back["model"][n], t) for n, t in official.items())
    assert main(["export-checkpoint", "mine/weights.pth", "--out", "back/official.pth"]) == 2


def test_a_misfit_prints_its_whole_lists_with_json(
    file: Path, official: dict[str, Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    gone = sorted(n for n in official if "clip_model.transformer" in n)
    torch.save({n: t for n, t in official.items() if n not in gone}, "part.pth")
    assert main(["import-checkpoint", "part.pth", "--json"]) == 4
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert sorted(e["name"] for e in report["missing"]) == gone
    assert report["nearest"] == "catseg-small"
    assert f"and {len(gone) - 8} more" in captured.err
    assert not Path("checkpoints").exists()


def test_an_unknown_name_after_as_is_answered_with_the_nearest(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-checkpoint", str(file), "--as", "catseg-vitb16"]) == 2
    assert "did you mean catseg-vitb" in capsys.readouterr().err


def test_a_full_disk_is_seen_before_anything_is_written(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10, 9, 1))
    assert main(["import-checkpoint", str(file), "--out", "deep/mine"]) == 5
    error = capsys.readouterr().err
    assert "not enough disk space" in error
    assert "--out" in error
    assert not Path("deep").exists()


def test_a_folder_that_cannot_be_written_is_named(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    assert main(["import-checkpoint", str(file), "--out", "mine"]) == 5
    assert "read-only" in capsys.readouterr().err
    monkeypatch.undo()


def test_a_file_where_the_folder_should_be_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (file, file / "below"):
        assert main(["import-checkpoint", str(file), "--out", str(out)]) in (2, 5)
        assert "a file" in capsys.readouterr().err
