"""``repro train --captions``: from captions to weights, interrupted or not, and what cannot be trained so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from caption_files import jpeg, stand_in, write_coco

from repro.captions import convert
from repro.captions.training_set import add_caption_set
from repro.cli.main import main
from repro.requests import RunRequest
from repro.training.step import TrainModel

CAPTIONS = ("dog grass", "cat sofa dog", "horse", "grass river horse", "sofa", "dog river")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Captions of six pictures, which lie in the folder ``images`` beside them."""
    stand_in(monkeypatch)
    (tmp_path / "images").mkdir()
    for number in range(len(CAPTIONS)):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(jpeg(40 * number, 60, 50))
    images = [(n, f"{n}.jpg") for n in range(len(CAPTIONS))]
    return write_coco(tmp_path / "captions.json", images, enumerate(CAPTIONS))


@pytest.fixture
def labels(source: Path) -> Path:
    convert(source, source.parent / "labels")
    return source.parent / "labels"


def words(labels: Path, store: str, verb: str = "train", method: str = "synseg") -> list[str]:
    folder = labels.parent
    named = ("--captions", labels, "--images", folder / "images", "--runs", folder / store)
    usual = ("--profile", "smoke", "--set", "train.iterations=3", "--device", "cpu", "--json")
    return [str(word) for word in (verb, method, *named, *usual)]


def answer(capsys: pytest.CaptureFixture[str], line: list[str]) -> Any:
    capsys.readouterr()
    assert main(line) == 0
    return json.loads(capsys.readouterr().out)


def tensors(answered: Any) -> dict[str, torch.Tensor]:
    return dict(torch.load(answered["weights"], weights_only=True)["state_dict"])


def test_an_interrupted_training_on_captions_ends_with_the_same_weights_which_are_evaluated(
    labels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer(capsys, words(labels, "whole"))
    step, seen, stop_after = TrainModel.train_step, list[Any](), [2]

    def watched(self: TrainModel, data: Any, optim: Any) -> Any:
        if "named" in data:  # masks are those of the small training by which code is known
            if len(seen) == stop_after[0]:
                raise KeyboardInterrupt
            seen.append(data["position"].tolist())
        return step(self, data, optim)

    monkeypatch.setattr(TrainModel, "train_step", watched)
    assert main(words(labels, "parts")) == 130
    stop_after[0] = 3
    resumed = answer(capsys, words(labels, "parts"))
    assert seen == [[0, 1], [2, 3], [4, 5]]
    first, second = tensors(whole), tensors(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert resumed["run"] == whole["run"]
    lines = (Path(whole["weights"]).parent / "losses.jsonl").read_text().splitlines()
    assert {"loss_align", "loss_sep", "loss_absent"} <= json.loads(lines[-1]).keys()
    (row,) = answer(capsys, [*words(labels, "whole", "eval"), "--benchmarks", "PAS-20b"])
    assert (row["run"], row["weights"], row["num_images"]) == (whole["run"], "own", 2)


def test_the_address_follows_the_labels_and_not_where_they_lie(
    source: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def address(captions: Path, images: Path | None = None, min_count: int = 1) -> str:
        changes = {"train_set": add_caption_set(captions, images, min_count, cache=source.parent / "cache")}
        return RunRequest(method="synseg", profile="smoke", runs=source.parent / "runs", changes=changes).run().address

    usual = address(labels, source.parent / "images")
    assert address(source, source.parent / "images") == usual  # labels are made of it, below the cache
    (made,) = (source.parent / "cache" / "captions").iterdir()
    assert address(made) == usual
    assert address(labels, min_count=2) != usual
    (shard,) = (labels / "shards").glob("*.jsonl")
    assert shard.read_bytes() == next((made / "shards").glob("*.jsonl")).read_bytes()
    source.write_text(source.read_text().replace("cat sofa", "cow sofa"))
    assert address(source) != usual
    masks = RunRequest(method="synseg", profile="smoke", runs=source.parent / "runs").run()
    assert masks.address != usual


@pytest.mark.follows("repro.runs.execute:_training_labels")
def test_a_method_that_learns_from_masks_is_refused(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(labels, "runs", method="catseg")
    assert main(line) == 2
    told = capsys.readouterr().err
    assert "CAT-Seg learns from masks, and captions have none" in told
    assert "a method that learns from image labels" in told
    place = line.index("--captions")
    del line[place : place + 4]  # and its --images, as the message says
    assert main([*line, "--iterations", "1"]) == 0


@pytest.mark.follows("repro.captions.training_set:LabelFolder.open")
def test_images_that_are_elsewhere_are_asked_for(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = words(labels, "runs")
    place = line.index("--images")
    images = line[place + 1]
    line[place + 1] = str(labels)
    assert main(line) == 2
    told = capsys.readouterr().err
    assert "0.jpg in it" in told
    assert "--images DIR" in told
    line[place + 1] = images
    assert main(line) == 0


def test_the_backbone_is_not_judged_without_masks(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(labels, "runs"), "--iterations", "1", "--zero-shot-bar", "1000"]) == 0
    assert "is not looked at before the training" in capsys.readouterr().err


def test_a_run_has_one_training_set(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = labels.parent / "rooms.toml"
    described.write_text('classes = ["wall"]\n[train]\nimages = "images"\nmasks = "images"\n')
    assert main([*words(labels, "runs"), "--dataset", str(described)]) == 2
    assert "a run has one training set" in capsys.readouterr().err
