"""What a notebook gets is what the commands make: the same label maps, rows, comparisons, and one store for both."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import repro
from repro.cli.main import main
from repro.errors import UsageError, WeightsError
from repro.methods.options import parse_options
from repro.requests import CompareRequest, RunRequest

CLASSES = ["cat", "grass", "sky"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library") / "runs"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    values = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def test_label_maps_are_those_the_command_writes(store: Path, photo: Path, tmp_path: Path) -> None:
    model = repro.load("clip", profile="smoke", runs=store, device="cpu")
    found = model.predict(photo, CLASSES)
    out = tmp_path / "out"
    words = ["--classes", ",".join(CLASSES), "--out", str(out), "--profile", "smoke", "--runs", str(store)]
    assert main(["predict", "--method", "clip", "--image", str(photo), "--device", "cpu", *words]) == 0
    assert np.array_equal(found.labels, np.asarray(Image.open(out / "photo_label.png")))
    record = json.loads((out / "photo.json").read_text())
    assert found.pixels == {c["name"]: c["pixels"] for c in record["classes"] if c["pixels"]}
    # An array, several images, and the words in place of a model give the same.
    pixels = np.asarray(Image.open(photo))
    for again in repro.predict("clip", [photo, pixels], CLASSES, profile="smoke", runs=store, device="cpu"):
        assert np.array_equal(again.labels, found.labels)


def test_a_model_reads_the_texts_of_a_vocabulary_once(
    store: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.api import model as module

    made: list[int] = []
    real = module.make_predictor
    monkeypatch.setattr(module, "make_predictor", lambda *a, **k: made.append(1) or real(*a, **k))
    model = repro.load("clip", profile="smoke", runs=str(store), device="cpu")
    for _ in range(3):
        model.predict(photo, CLASSES)
    assert len(made) == 1
    assert model.predict(photo, "PAS-20b").classes[-1] == "background"
    assert len(made) == 2


def test_rows_are_those_of_the_command_and_are_made_once(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = repro.evaluate("catseg", "PAS-20", profile="smoke", runs=store, device="cpu")
    monkeypatch.setattr("repro.evaluation.infer.SlidingWindow.logits", lambda *a, **k: pytest.fail("evaluated again"))
    capsys.readouterr()
    asked = ["--benchmarks", "PAS-20", "--profile", "smoke", "--runs", str(store), "--device", "cpu", "--json"]
    assert main(["eval", "catseg", *asked]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert 0 <= rows[0]["miou_gt"] <= 1
    assert rows[0]["run"] in {p.name for p in store.iterdir()}


def test_a_trial_is_a_run_of_its_own_and_its_weights_are_loaded(store: Path, photo: Path) -> None:
    with pytest.raises(WeightsError, match="not trained"):
        repro.load("catseg", profile="smoke", runs=store, device="cpu", seed=5, training={"iterations": 2})
    words = {"profile": "smoke", "runs": store, "device": "cpu", "seed": 5, "training": {"iterations": 2}}
    weights = repro.train("catseg", **words)
    model = repro.load("catseg", **words)
    assert model.run.assets.store.weights(model.run.id) == weights
    untrained = repro.load("catseg", "none", **words)
    assert untrained.weights == "untrained"
    assert repro.load("clip", "none", profile="smoke", runs=store, device="cpu").weights == "zero-shot"
    first, second = (dict(m.method.state_dict()) for m in (model, untrained))
    assert any(not first[name].equal(second[name]) for name in first)


def test_a_comparison_is_that_of_the_command(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        repro.evaluate("catseg", "PAS-20", weights, profile="smoke", runs=store, device="cpu")[0]["run"]
        for weights in (None, None)
    ]
    other = repro.evaluate("clip", "PAS-20", profile="smoke", runs=store, device="cpu")[0]["run"]
    found = repro.compare(runs[0], other, runs=store, metrics=["miou_gt"], resamples=200)
    capsys.readouterr()
    words = [runs[0], other, "--runs", str(store), "--metrics", "miou_gt", "--resamples", "200", "--json"]
    assert main(["compare", *words]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_json()))
    (line,) = found.lines
    assert line.difference.difference.value == pytest.approx(line.a.value - line.b.value)
    assert line.p_holm == line.difference.p  # of one benchmark


def test_unknown_words_and_arrays_that_are_no_image_are_refused(store: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean profile\?"):
        repro.load("clip", profil="smoke")
    with pytest.raises(UsageError, match="too few resamples"):
        repro.compare("a", "b", resamples=5)
    model = repro.load("clip", profile="smoke", runs=store, device="cpu")
    for wrong in (np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)):
        with pytest.raises(UsageError, match="not an image"):
            model.predict(wrong, CLASSES)


def test_requests_cannot_be_changed() -> None:
    request = CompareRequest("a", "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.a = "c"  # type: ignore[misc]


@pytest.mark.parametrize("value", [3, 0.5, True, None, "margin", "3", "None", (1, 2), "it's"])
def test_an_option_in_a_command_is_read_as_the_value_it_was(value: object) -> None:
    import shlex

    request = RunRequest(method="clip", profile="smoke", options={"x": value})
    run = dataclasses.replace(request, options={}).run()
    words = shlex.split(request.command("eval", run))
    assert parse_options([words[words.index("-o") + 1]]) == {"x": value}


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, repro; assert 'torch' not in sys.modules and 'numpy' not in sys.modules; repro.load"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_a_table_is_that_of_the_command(store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = {"profile": "smoke", "runs": store, "methods": ["clip"], "benchmarks": ["PAS-20", "PC-59"]}
    found = repro.run_table("table1", device="cpu", **words)
    capsys.readouterr()
    call = ["run", "table1", "--profile", "smoke", "--runs", str(store), "--methods", "clip"]
    call += ["--benchmarks", "PAS-20,PC-59", "--device", "cpu", "--results", str(tmp_path / "a")]
    assert main([*call, "--json"]) == found.exit_code == 0
    assert json.loads(capsys.readouterr().out) == found.to_json()
    assert main(call) == 0
    assert capsys.readouterr().out == found.text + "\n"
    for path in found.write(tmp_path / "b"):
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()


def test_figures_are_those_of_the_command(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    from repro.api import figures

    words = {"table": "table1", "methods": ["clip"], "profile": "smoke", "benchmark": "PAS-20", "count": 1}
    found = figures(str(tmp_path / "a"), runs=store, device="cpu", **words)
    capsys.readouterr()
    call = ["figures", "--table", "table1", "--methods", "clip", "--profile", "smoke", "--benchmark", "PAS-20"]
    call += ["--count", "1", "--runs", str(store), "--device", "cpu", "--out", str(tmp_path / "b"), "--json"]
    assert main(call) == 0
    drawn = [Path(path) for path in json.loads(capsys.readouterr().out)]
    assert [p.name for p in found] == [p.name for p in drawn]
    assert [p.read_bytes() for p in found] == [p.read_bytes() for p in drawn]


def test_what_is_described_and_listed_is_what_the_commands_print(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from repro.api.describing import DescribeRequest, describe_name
    from repro.api.doctor import examine
    from repro.api.listing import disk_use, explain_run, run_rows

    run = repro.evaluate("clip", "PAS-20", profile="smoke", runs=store, device="cpu")[0]["run"]

    def printed(*words: str) -> object:
        capsys.readouterr()
        assert main([*words, "--runs", str(store), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    for name in ("clip", "PAS-20", run, "table1"):
        found = describe_name(DescribeRequest(name, "smoke", store))
        assert printed("describe", name, "--profile", "smoke") == json.loads(json.dumps(found))
    assert printed("runs", "du") == disk_use(store)
    assert printed("runs", "why", run) == json.loads(json.dumps(explain_run(run, store).to_json()))
    assert {row["run"] for row in printed("runs", "list")} == {row["run"] for row in run_rows(store)}
    assert printed("doctor").keys() == examine(store).keys()
