"""``--backbone``, ``--zero-shot-bar`` and ``repro backbone``, on generated pictures and random towers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from repro.cli.main import main
from repro.clip.names import TINY_EVA
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.files import read_json, write_json
from repro.runs.weights.described import describe_weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbone") / "runs"


@pytest.fixture(scope="module")
def eva(runs: Path) -> Path:
    """The folder of a CLIP of another architecture than the profile's, where imports and alignments are kept."""
    folder = runs / "cache" / "clip" / "tiny-eva"
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_EVA}))
    state = build_tower(TowerSpec("tiny-eva", None, resolution=48)).open_clip_state()
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder


def repro(runs: Path, *words: str) -> int:
    return main([*words, "--profile", "smoke", "--runs", str(runs)])


@pytest.mark.slow
def test_training_without_class_signal_is_refused_with_the_figure_until_overridden(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "catseg", "--device", "cpu", "--iterations", "2"]
    assert repro(runs, *words, "--zero-shot-bar", "2") == 4
    said = capsys.readouterr().err
    (kept,) = (runs / "cache" / "zero_shot").glob("*.json")
    signal = read_json(kept)["signal"]
    assert "carry no class signal: 2 iterations would be spent on noise" in said
    assert f"mean accuracy over classes {100 * signal['mean_class']:.2f} %" in said
    assert f"chance is {100 / signal['classes']:.2f} %" in said
    assert "--zero-shot-bar 0 trains on it all the same" in said
    assert not list(runs.glob("catseg-*/weights.pth"))
    # What was measured is kept: with another figure in its place the same command trains.
    write_json(kept, {**read_json(kept), "signal": {**signal, "mean_class": 0.9}})
    assert repro(runs, *words, "--zero-shot-bar", "2") == 0
    assert len(list(runs.glob("catseg-*/weights.pth"))) == 1
    write_json(kept, {**read_json(kept), "signal": signal})
    assert repro(runs, *words, "--zero-shot-bar", "0") == 0


def test_a_backbone_is_measured_alone(runs: Path, eva: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repro(runs, "backbone", f"eva:{eva}", "--json", "--device", "cpu") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tower"] == "EVA-CLIP (tiny-eva)"
    assert found["chance"] == pytest.approx(1 / found["classes"])
    assert found["bar"] >= found["shuffled"]
    assert found["images"] == 8
    assert repro(runs, "backbone", f"eva:{eva}", "--zero-shot-bar", "3") == 4
    assert "carry no class signal" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("method", ["catseg", "disa", "logoseg"])
def test_a_swapped_backbone_is_trained_under_and_evaluated(
    method: str, runs: Path, eva: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [method, "--backbone", f"eva:{eva}", "--device", "cpu", "--json"]
    assert repro(runs, "train", *words, "--iterations", "2") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["facts"]["tower"]["kind"] == "backbone"
    weights = torch.load(facts["weights"], weights_only=True)["state_dict"]
    own = build_tower(TowerSpec("tiny-eva", None, resolution=48)).state_dict()
    moved = {n for n, t in own.items() if not torch.equal(weights[f"clip.{n}"], t)}
    assert moved
    assert not any("token_embedding" in name for name in moved)
    described = describe_weights(Path(facts["weights"])).build()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in described.state_dict().items())
    assert repro(runs, "eval", *words, "--weights", facts["weights"], "--benchmarks", "PAS-20") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["miou_gt"] is not None
    assert repro(runs, "eval", *words[:1], *words[3:], "--weights", facts["weights"], "--benchmarks", "PAS-20") == 4


def test_a_table_of_a_swapped_backbone_is_another_table(
    runs: Path, eva: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "table1", "--dry-run", "--json"]
    assert repro(runs, *words) == 0
    original = {cell["run"] for cell in json.loads(capsys.readouterr().out)}
    assert repro(runs, *words, "--backbone", f"eva:{eva}") == 0
    cells = json.loads(capsys.readouterr().out)
    assert {cell["table"] for cell in cells} == {"table1-EVA-CLIP-tiny-eva"}
    assert {cell["tower"] for cell in cells} == {"EVA-CLIP (tiny-eva)"}
    assert not original & {cell["run"] for cell in cells}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "table1", "--tower", "powerful"], "which tower --backbone replaces"),
        (["run", "table2", "--backbone", "openclip:tiny"], "no use for --backbone"),
        (["train", "catseg", "--zero-shot-bar", "-1"], "must not be negative"),
        (["train", "catseg", "--backbone", "nowhere:x"], "unknown source"),
    ],
)
def test_options_without_sense_are_refused(
    words: list[str], says: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repro(runs, *words) == 2
    assert says in capsys.readouterr().err
