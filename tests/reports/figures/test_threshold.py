"""The figure over the threshold: each point is an evaluation with that option, and no image is seen twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from baselines.synseg.model import SynSeg
from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.measuring.figures import load_trained
from repro.reports.figures.threshold import VALUES, Sweep, threshold_figure
from repro.runs.addresses.stored import stored_run

VALUE = (0.3, 0.58, 0.62, 0.9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with a trained run, and its name."""
    store = tmp_path_factory.mktemp("runs")
    assert main(["train", "synseg", "--profile", "smoke", "--runs", str(store), "--device", "cpu"]) == 0
    (run,) = store.glob("synseg-*")
    return store, run.name


def draw(store: Path, run: str, out: Path, *more: str) -> int:
    words = ("--run", run, "--runs", str(store), "--out", str(out), "--device", "cpu")
    return main(["figures", "threshold", *words, *more])


def test_each_point_is_an_evaluation_with_that_threshold(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run = trained
    passes, forward = [], SynSeg.forward
    with monkeypatch.context() as patched:
        patched.setattr(SynSeg, "forward", lambda self, *a: (passes.append(1), forward(self, *a))[1])
        assert draw(store, run, tmp_path, "--benchmark", "PAS-20b", "--thresholds", "0.3,0.58,0.62,0.9") == 0
    assert len(passes) == 2  # the images of the drawn set, all of whose views go through the method together
    with (tmp_path / "PAS-20b_threshold.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(r["threshold"]) for r in rows] == list(VALUE)
    assert len({r["miou_gt"] for r in rows}) > 2
    weights = ("--weights", str(store / run / "weights.pth"), "--benchmarks", "PAS-20b", "--device", "cpu", "--json")
    for row in rows:
        capsys.readouterr()
        option = ("-o", f"background_threshold={row['threshold']}")
        assert main(["eval", "synseg", "--profile", "smoke", "--runs", str(store), *weights, *option]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (float(row["miou_gt"]), float(row["miou_union"])) == (found["miou_gt"], found["miou_union"])
    with Image.open(tmp_path / "PAS-20b_threshold.png") as picture:
        assert min(picture.size) > 400
    assert (tmp_path / "PAS-20b_threshold.pdf").read_bytes()[:4] == b"%PDF"


@pytest.mark.follows("repro.reports.figures.threshold:draw_thresholds")
def test_a_benchmark_without_a_background_is_refused(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(*trained, tmp_path) == 2
    told = capsys.readouterr().err
    assert "PC-59 has no background" in told
    assert "fix:      --benchmark PAS-20b" in told
    assert draw(*trained, tmp_path, "--benchmark", "PAS-20b", "--thresholds", "0.5") == 0


def test_runs_without_a_threshold_and_values_that_are_none_are_named(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run = trained
    assert draw(store, run, tmp_path, "--benchmark", "PAS-20b", "--thresholds", "0.5,1") == 2
    assert "between 0 and 1" in capsys.readouterr().err
    line = ("eval", "clip", "--profile", "smoke", "--runs", str(store), "--benchmarks", "PAS-20b", "--device", "cpu")
    assert main(list(line)) == 0
    (clip,) = store.glob("clip-*")
    assert draw(store, clip.name, tmp_path, "--benchmark", "PAS-20b") == 2
    assert "none of these runs finds the background by a threshold" in capsys.readouterr().err


def test_of_a_table_what_is_trained_is_drawn(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run = trained
    words = ("--table", "synseg-table2", "--profile", "smoke", "--runs", str(store), "--benchmark", "PAS-20b")
    usual = ("--out", str(tmp_path), "--device", "cpu", "--thresholds", "0.5")
    assert main(["figures", "threshold", *words, *usual, "--methods", "catseg,synseg"]) == 0
    assert "CAT-Seg on random tiny CLIP is not trained in this store" in capsys.readouterr().err
    with (tmp_path / "PAS-20b_threshold.csv").open() as stream:
        assert {row["run"] for row in csv.DictReader(stream)} == {run}
    assert main(["figures", "threshold", *words, *usual, "--methods", "catseg"]) != 0
    assert "is not trained in this store" in capsys.readouterr().err


def test_runs_of_one_title_are_told_apart_and_their_own_threshold_is_ringed(trained: tuple[Path, str]) -> None:
    store, name = trained
    run, curve = stored_run(name, store), {value: {"miou_gt": value / 2, "miou_union": value} for value in VALUES}
    sweeps = [Sweep(f"{name}{n}", run, 0.5, 2, curve) for n in range(2)]
    figure = threshold_figure(sweeps, get_benchmark("PAS-20b"))
    panel = figure.axes[0]
    lines = [line for line in panel.lines if len(line.get_xdata()) == len(VALUES)]
    assert [list(line.get_ydata()) for line in lines] == [pytest.approx([50 * v for v in VALUES])] * 2
    assert len({line.get_label() for line in lines}) == len({line.get_linestyle() for line in lines}) == 2
    rings = [line for line in panel.lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in rings] == [0.5, 0.5]


def test_thresholds_change_the_logits_of_the_background_alone(trained: tuple[Path, str]) -> None:
    store, name = trained
    method = load_trained(stored_run(name, store), name, "cpu")
    images = torch.rand(1, 3, 48, 48) * 255
    classes = ["dog", "background"]
    with torch.no_grad():
        usual = method(images, classes)
        changed = method.at_threshold(usual, classes, 0.9)
    assert torch.equal(changed[:, 0], usual[:, 0])
    assert changed[:, 1].sigmoid().unique().item() == pytest.approx(0.9)
    assert torch.equal(method.at_threshold(usual, ["dog", "cat"], 0.9), usual)
