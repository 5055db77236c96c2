"""``repro check``: an injected loss fails, noise passes, and everything else is said."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_runs import draw_counts, plan_of, store_counts

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.errors import RunError
from repro.runs.gates.first_images import Measured
from repro.runs.gates.weights import Compared, WeightsChecked, WeightsRequest

IMAGES = 40
ROWS = {"clip-base": 0.4, "catseg-base": 0.6}
NAMES = ["A-150", "PC-59", "PAS-20"]


def fill(folder: Path, **change: dict[str, float]) -> Path:
    """A run store with every row on every benchmark; ``change`` maps a benchmark to arguments of draw_counts."""
    plan = plan_of(folder)
    for name in NAMES:
        for row, right in ROWS.items():
            different = change.get(name.replace("-", "_"), {}) if row == "catseg-base" else {}
            store_counts(plan, row, name, draw_counts(get_benchmark(name), IMAGES, right, **different))
    return folder


def words(runs: Path, file: Path, *more: str) -> list[str]:
    return ["check", "--runs", str(runs), "--against", str(file), *more]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/ and reference.json (tolerance 0.2, counts kept) of them."""
    folder = tmp_path_factory.mktemp("check")
    fill(folder / "runs")
    update = ["--update", "--counts", "--tolerance", "0.2", "--reason", "largest of 3 repeats"]
    assert main(words(folder / "runs", folder / "reference.json", "table1", "--profile", "smoke", *update)) == 0
    return folder


def judged(capsys: pytest.CaptureFixture[str], made: Path, runs: Path, code: int, *more: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(words(runs, made / "reference.json", "--json", *more)) == code
    return json.loads(capsys.readouterr().out)


def verdicts(found: dict[str, Any], row: str = "catseg-base") -> dict[str, str]:
    return {c["benchmark"]: c["verdict"] for c in found["cells"] if c["row"] == row}


def without_counts(made: Path, folder: Path) -> Path:
    raw = json.loads((made / "reference.json").read_text())
    folder.mkdir(exist_ok=True)
    (folder / "reference.json").write_text(json.dumps({**raw, "cells": [{**c, "counts": ""} for c in raw["cells"]]}))
    return folder


def test_the_runs_the_reference_was_made_of_pass(made: Path, capsys: pytest.CaptureFixture[str]):
    found = judged(capsys, made, made / "runs", 0)
    assert {c["verdict"] for c in found["cells"]} == {"ok"}
    assert [c["difference"] for c in found["cells"]] == pytest.approx([0] * 6, abs=1e-4)
    assert {c["p_holm"] for c in found["cells"]} == {1}
    assert len(found["cells"]) == 6


def test_a_loss_of_half_a_point_fails_and_names_the_cell(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    runs = fill(tmp_path, A_150={"worse": 0.0065})
    found = judged(capsys, made, runs, 1)
    cell = next(c for c in found["cells"] if c["benchmark"] == "A-150" and c["row"] == "catseg-base")
    assert -0.6 < cell["difference"] < -0.4
    assert cell["p_holm"] < 0.05
    assert verdicts(found) == {"A-150": "worse", "PC-59": "ok", "PAS-20": "ok"}
    assert main(words(runs, made / "reference.json")) == 1
    assert "failed: table1 catseg-base seed 0 A-150: worse" in capsys.readouterr().out


def test_the_same_loss_fails_without_the_counts_of_the_reference(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    runs = fill(tmp_path / "runs", A_150={"worse": 0.0065})
    found = judged(capsys, without_counts(made, tmp_path / "bare"), runs, 1)
    assert verdicts(found)["A-150"] == "worse"
    assert [c["p"] for c in found["cells"] if c["verdict"] == "worse"] == [None]


def test_noise_passes(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    noise = {"redrawn": 0.1}
    found = judged(capsys, made, fill(tmp_path, A_150=noise, PC_59=noise, PAS_20=noise), 0)
    assert any(c["difference"] != pytest.approx(0, abs=1e-4) for c in found["cells"])
    assert "worse" not in verdicts(found).values()


def test_beyond_tolerance_but_not_significant_is_unclear_and_fails_when_strict(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other_mistakes = {"seed": 5, "redrawn": 0.0}
    runs = fill(tmp_path, PC_59=other_mistakes)
    found = judged(capsys, made, runs, 0, "--tolerance", "0.001")
    assert verdicts(found)["PC-59"] == "unclear"
    judged(capsys, made, runs, 1, "--tolerance", "0.001", "--strict")


def test_a_gain_fails_too_unless_it_is_allowed(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plan = plan_of(fill(tmp_path).resolve())
    store_counts(plan, "catseg-base", "PAS-20", draw_counts(get_benchmark("PAS-20"), IMAGES, 0.66))
    assert verdicts(judged(capsys, made, tmp_path, 1))["PAS-20"] == "better"
    judged(capsys, made, tmp_path, 0, "--allow-better")


def test_missing_and_new_cells_are_listed_and_missing_ones_fail_when_strict(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plan = plan_of(tmp_path)
    store_counts(plan, "clip-base", "A-150", draw_counts(get_benchmark("A-150"), IMAGES, 0.4))
    store_counts(plan, "clip-base", "A-847", draw_counts(get_benchmark("A-847"), IMAGES, 0.4))
    found = judged(capsys, made, tmp_path, 0)
    assert verdicts(found, "clip-base") == {"A-150": "ok", "PC-59": "missing", "PAS-20": "missing", "A-847": "new"}
    judged(capsys, made, tmp_path, 1, "--strict")


def test_a_selection_looks_at_nothing_else(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runs = fill(tmp_path, A_150={"worse": 0.05})
    found = judged(capsys, made, runs, 0, "--benchmarks", "pas-20")
    assert {c["benchmark"] for c in found["cells"]} == {"PAS-20"}
    found = judged(capsys, made, runs, 0, "--methods", "clip")
    assert {c["row"] for c in found["cells"]} == {"clip-base"}


def test_other_images_are_another_quantity_and_fail(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plan = plan_of(fill(tmp_path))
    store_counts(plan, "catseg-base", "A-150", draw_counts(get_benchmark("A-150"), IMAGES - 1, 0.6))
    assert verdicts(judged(capsys, made, tmp_path, 1))["A-150"] == "other"


def test_nothing_computed_is_an_error_and_no_pass(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(words(tmp_path, made / "reference.json")) == 6
    assert "repro run table1 --profile smoke" in capsys.readouterr().err


def test_update_keeps_tolerances_and_reasons_and_other_cells(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = without_counts(made, tmp_path / "bare") / "reference.json"
    runs = fill(tmp_path / "runs", A_150={"worse": 0.02})
    before = {(c["row"], c["benchmark"]): c for c in json.loads(file.read_text())["cells"]}
    assert main(words(runs, file, "--update", "--benchmarks", "A-150")) == 0
    after = json.loads(file.read_text())
    cells = {(c["row"], c["benchmark"]): c for c in after["cells"]}
    assert cells.keys() == before.keys()
    assert [k for k in cells if cells[k]["expected"] != before[k]["expected"]] == [("catseg-base", "A-150")]
    assert {(c["tolerance"], c["reason"]) for c in cells.values()} == {(0.2, "largest of 3 repeats")}
    assert {"git", "packages", "hardware", "command", "created"} <= after["provenance"].keys()
    assert main(words(runs, file)) == 0


def test_the_library_call_gives_what_the_command_prints(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from repro.api import check

    runs = fill(tmp_path, A_150={"worse": 0.0065})
    found = check(runs=runs, against=str(made / "reference.json"))
    assert judged(capsys, made, runs, 1) == json.loads(json.dumps(found.to_json()))
    assert [v.key for v in found.failed] == [("table1", "catseg-base", 0, "A-150")]
    with pytest.raises(RunError, match="no cell could be compared"):
        check("table1", runs=tmp_path / "none", against=made / "reference.json")


def test_tolerances_come_from_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runs = fill(tmp_path / "runs")
    again = [fill(tmp_path / f"again{i}", A_150={"redrawn": 1.0, "seed": i}) for i in (1, 2)]
    file = tmp_path / "reference.json"
    repeats = ",".join(map(str, again))
    assert main(words(runs, file, "table1", "--profile", "smoke", "--update", "--repeats", repeats)) == 0
    cells = {(c["row"], c["benchmark"]): c for c in json.loads(file.read_text())["cells"]}
    noisy, quiet = cells["catseg-base", "A-150"], cells["clip-base", "A-150"]
    assert noisy["tolerance"] > 0.1
    first, second, least = re.fullmatch(
        r"twice the largest of again1 (\d\.\d{3}), again2 (\d\.\d{3}) points, at least (\d\.\d+)", noisy["reason"]
    ).groups()
    assert noisy["tolerance"] == pytest.approx(2 * max(float(first), float(second)), abs=0.011)
    trained = [c for c in cells if c[0] == "catseg-base"]
    assert float(least) == pytest.approx(2 * max(float(first), float(second)) / len(trained), abs=0.011)
    assert {cells[c]["tolerance"] for c in trained if c[1] != "A-150"} == {float(least)}
    assert quiet["tolerance"] == 0.05
    assert quiet["reason"] == "twice the largest of again1 0.000, again2 0.000 points, at least 0.05"
    for folder in again:
        assert main(words(folder, file)) == 0


def test_counts_of_another_state_are_not_taken_for_the_references(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = without_counts(made, tmp_path)
    raw = json.loads((folder / "reference.json").read_text())
    raw["cells"] = [{**c, "expected": c["expected"] + 3} for c in raw["cells"]]
    (folder / "reference.json").write_text(json.dumps(raw))
    found = judged(capsys, folder, made / "runs", 1)
    assert {(c["verdict"], c["p"]) for c in found["cells"]} == {("worse", None)}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--profile", "mini"], "reference of another profile"),
        (["--tolerance", "-1"], "expected points"),
        (["table9"], "unknown table"),
    ],
)
def test_a_wrong_call_ends_with_two(made: Path, capsys: pytest.CaptureFixture[str], more: list[str], text: str):
    try:
        code = main(words(made / "runs", made / "reference.json", *more))
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    assert text in capsys.readouterr().err


def test_an_absent_or_foreign_reference_ends_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(words(tmp_path, tmp_path / "none.json")) == 2
    (tmp_path / "foreign.json").write_text('{"format": 9}')
    assert main(words(tmp_path, tmp_path / "foreign.json")) == 2
    assert "--update" in capsys.readouterr().err


# -- packed weights ----------------------------------------------------------------------------------------------------
def say(monkeypatch: pytest.MonkeyPatch, **measured: float) -> None:
    """Let the check of packed weights find ``measured`` for two benchmarks of which 50 is expected."""
    one = Measured("PC-59", 24, 50.0, "a")
    other = dataclasses.replace(one, benchmark="PAS-20")
    cells = [
        Compared("catseg", cell, dataclasses.replace(cell, miou=50 + off, counts="a" if off == 0 else "b"))
        for cell, off in zip((one, other), measured.values(), strict=True)
    ]
    found = WeightsChecked(WeightsRequest(Path("w.json")), tuple(cells), ("new-method",), {"numpy": ("1", "2")})
    monkeypatch.setattr("repro.cli.commands.check.check_weights", lambda *_: found)


def test_the_sheet_of_packed_weights_names_the_cell_that_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    say(monkeypatch, a=0.0, b=-0.1)
    assert main(["check", "--weights"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"catseg +PC-59 +24 +50\.000 +50\.000 +\+0\.000 +same +same", said)
    assert re.search(r"catseg +PAS-20 +24 +50\.000 +49\.900 +-0\.100 +changed +differs", said)
    assert "no packed weights: new-method" in said
    assert "1 of 2 cells differ" in said
    assert "another version of numpy: 1 then, 2 now" in said
    assert "fix:" in said


def test_packed_weights_within_the_tolerance_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    say(monkeypatch, a=0.0, b=0.04)
    assert main(["check", "--weights", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["passed"]
    assert said["tolerance"] == 0.05
    assert said["without"] == ["new-method"]
    assert [(c["benchmark"], c["verdict"], c["same_counts"]) for c in said["cells"]] == [
        ("PC-59", "same", True),
        ("PAS-20", "same", False),
    ]


@pytest.mark.parametrize("words", [["table1"], ["--strict"], ["--profile", "mini"], ["--seeds", "1"]])
def test_options_of_tables_have_no_place_beside_packed_weights(capsys: pytest.CaptureFixture[str], words: list[str]):
    assert main(["check", "--weights", *words]) == 2
    said = capsys.readouterr().err
    assert f"found:    {words[0]}" in said
    assert "fix:      repro check --weights\n" in said
