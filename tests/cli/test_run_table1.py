"""Table 1 of the smoke profile, end to end through the command line: made once, then looked at from all sides."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.configuration.tables import load_table
from repro.methods import registry

BENCHMARKS = ["A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"]
METHODS = ["clip", "catseg"]  # one that trains and one that does not: what a table costs grows with its rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/ and results/ of a finished `repro run table1 --profile smoke`."""
    folder = tmp_path_factory.mktemp("table1")
    assert main(run_words(folder)) == 0
    return folder


def run_words(folder: Path, *more: str, command: str = "run") -> list[str]:
    words = [
        command,
        "table1",
        "--profile",
        "smoke",
        "--runs",
        str(folder / "runs"),
        "--results",
        str(folder / "results"),
    ]
    few = ["--methods", ",".join(METHODS), "--device", "cpu"] if command == "run" else []
    return [*words, *few, *more]


def json_of(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> Any:
    capsys.readouterr()
    assert main(words) == code
    return json.loads(capsys.readouterr().out)


def test_every_cell_of_both_methods_is_done(made: Path, capsys: pytest.CaptureFixture[str]):
    cells = json_of(capsys, run_words(made, "--dry-run", "--json"))
    assert {(c["method"], c["benchmark"]) for c in cells} == {(m, b) for m in METHODS for b in BENCHMARKS}
    assert {c["status"] for c in cells} == {"done"}
    for cell in cells:
        assert 0 <= cell["metrics"]["miou_union"] <= cell["metrics"]["miou_gt"] <= 1
        assert cell["metrics"]["num_images"] == 2


def test_all_formats_hold_the_same_numbers(made: Path):
    with (made / "results" / "table1.csv").open(newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["source"] == "measured"]
    markdown = (made / "results" / "table1.md").read_text()
    latex = (made / "results" / "table1.tex").read_text()
    assert len(rows) == 2
    for row in rows:
        printed = [f"{float(row[b]):.1f}" for b in BENCHMARKS]
        assert " | ".join(printed) in markdown
        assert " & ".join(printed) in latex


def test_published_values_stand_beside_and_are_called_published(made: Path):
    with (made / "results" / "table1.csv").open(newline="") as stream:
        published = [r for r in csv.DictReader(stream) if r["source"] == "published"]
    assert [float(published[0][b]) for b in BENCHMARKS] == [12.0, 19.0, 31.8, 57.5, 94.6, 77.3]
    assert all(r["profile"] == "" for r in published)


def test_no_difference_to_the_paper_is_printed_for_generated_data(made: Path):
    with (made / "results" / "table1_cells.csv").open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert {c["difference_percent"] for c in cells} == {""}
    assert "not comparable" in (made / "results" / "table1.md").read_text()


def test_metrics_follow_from_the_stored_counts(made: Path):
    from repro.metrics.counts import Counts
    from repro.metrics.miou import metrics_from_counts

    found = sorted((made / "runs").glob("catseg-*/eval/A-150/metrics.json"))
    assert len(found) == 1
    stored = json.loads(found[0].read_text())
    again = metrics_from_counts(Counts.load(found[0].with_name("counts.npz")))
    assert again["miou_gt"] == pytest.approx(stored["miou_gt"], abs=0)


def test_a_second_run_computes_nothing(made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    import repro.runs.execute as execute

    monkeypatch.setattr(execute, "execute", lambda *_a, **_k: pytest.fail("finished cells were computed again"))
    before = snapshot(made / "runs")
    assert main(run_words(made)) == 0
    assert "12 done of 12 cells" in capsys.readouterr().err
    assert snapshot(made / "runs") == before


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_only_a_lost_cell_is_computed_again_and_ends_with_the_same_counts(made: Path, tmp_path: Path):
    import numpy as np

    shutil.copytree(made, tmp_path / "copy")
    lost = next((tmp_path / "copy" / "runs").glob("catseg-*/eval/PAS-20"))
    shutil.rmtree(lost)
    before = snapshot(tmp_path / "copy" / "runs")
    assert main(run_words(tmp_path / "copy")) == 0
    after = snapshot(tmp_path / "copy" / "runs")
    changed = {p for p in after if after[p] != before.get(p) and "/cache/code/" not in p}
    assert changed == {str(p) for p in lost.iterdir() if p.is_file()}
    original = next((made / "runs").glob("catseg-*/eval/PAS-20/counts.npz"))
    with np.load(original) as a, np.load(lost / "counts.npz") as b:
        assert sorted(a) == sorted(b)
        assert all(np.array_equal(a[k], b[k]) for k in a)


def test_an_interrupted_table_keeps_its_cells_and_continues(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import repro.runs.execute as execute

    shutil.copytree(made, tmp_path / "copy")
    for folder in (tmp_path / "copy" / "runs").glob("*/eval"):
        shutil.rmtree(folder)
    real, calls = execute._evaluate, []

    def interrupted(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(execute, "_evaluate", interrupted)
    assert main(run_words(tmp_path / "copy")) == 130
    assert "run the same command again" in capsys.readouterr().err
    cells = json_of(capsys, run_words(tmp_path / "copy", "--dry-run", "--json"))
    assert sum(c["status"] == "done" for c in cells) == 2
    assert main(run_words(tmp_path / "copy")) == 0
    assert len(calls) == 3 + 10


def test_a_failed_cell_is_a_row_with_its_reason_and_the_others_are_made(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(made, tmp_path / "copy")
    for folder in (tmp_path / "copy" / "runs").glob("*/eval"):
        shutil.rmtree(folder)
    masks = sorted(
        (tmp_path / "copy" / "runs" / "cache" / "data").glob("*/ADEChallengeData2016/annotations_detectron2/*/*")
    )
    masks[0].write_bytes(masks[0].read_bytes()[:40])
    cells = json_of(capsys, run_words(tmp_path / "copy", "--json"), code=1)
    failed = {(c["method"], c["benchmark"]) for c in cells if c["status"] == "failed"}
    assert failed == {("clip", "A-150"), ("catseg", "A-150")}
    assert all(masks[0].name in c["error"] for c in cells if c["status"] == "failed")
    assert sum(c["status"] == "done" for c in cells) == 10


def test_a_run_says_from_what_it_was_made(made: Path, capsys: pytest.CaptureFixture[str]):
    run = next((made / "runs").glob("catseg-*")).name
    facts = json_of(capsys, ["describe", run, "--runs", str(made / "runs"), "--json"])
    assert facts["run"] == run
    assert facts["training"]["state"] == "finished"
    assert set(facts["evaluations"]) == set(BENCHMARKS)
    assert {e["state"] for e in facts["evaluations"].values()} == {"finished"}
    assert facts["seed"] == 0
    assert facts["made by"]["packages"]["torch"]
    assert str(made) not in json.dumps(facts)


def test_report_writes_the_chosen_format_only(made: Path, tmp_path: Path):
    words = run_words(made, "--formats", "md", command="report")
    words[words.index("--results") + 1] = str(tmp_path / "out")
    assert main(words) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["table1.md"]


def test_another_seed_is_another_run_and_the_table_says_two_seeds(made: Path, tmp_path: Path):
    shutil.copytree(made, tmp_path / "copy")
    assert main(run_words(tmp_path / "copy", "--seeds", "0,1", "--benchmarks", "PAS-20", "--methods", "catseg")) == 0
    runs = sorted(p.name for p in (tmp_path / "copy" / "runs").glob("catseg-*"))
    assert ["-s0-" in runs[0], "-s1-" in runs[1]] == [True, True]
    table = (tmp_path / "copy" / "results" / "table1.csv").read_text()
    measured = next(r for r in csv.DictReader(io.StringIO(table)) if r["source"] == "measured")
    assert measured["seeds"] == "2"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_table_compiles(made: Path, tmp_path: Path):
    import subprocess

    body = (made / "results" / "table1.tex").read_text()
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(document)
    result = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-2000:]


def test_the_table_has_only_rows_of_installed_methods():
    assert {*METHODS, "disa"} <= {row.method for row in load_table("table1").rows} <= set(registry())


def test_a_folder_of_results_that_cannot_be_is_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    words = ["--profile", "smoke", "--methods", "clip", "--runs", str(tmp_path / "runs")]
    assert main(["run", "table1", *words, "--results", str(tmp_path / "file" / "x")]) != 0
    assert "repro: error:" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("cache/data/*"))
