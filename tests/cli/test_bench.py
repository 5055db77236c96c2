"""``repro bench``: every combination, or one axis at a time; files that say what was measured, where and how."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.cost import bench
from repro.datasets.protocol import Protocol
from repro.errors import UsageError
from repro.methods.speedups import Speedups
from repro.reports.bench import bench_sheet, scaling_figure

QUICK = ("--profile", "smoke", "--device", "cpu", "--repeat", "2", "--warmup", "0")


def words(folder: Path, *more: str) -> list[str]:
    return ["bench", "--runs", str(folder / "runs"), "--results", str(folder / "results"), *more]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    assert main(words(folder, *QUICK, "--methods", "clip,disa", "--classes", "2,3", "--sizes", "48")) == 0
    return folder / "results"


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "bench.json").read_text())["rows"]
    return found


def test_every_combination_is_a_row(made: Path):
    assert [(r["method"], r["classes"], r["size"], r["batch"]) for r in rows(made)] == [
        ("clip", 2, 48, 1),
        ("clip", 3, 48, 1),
        ("disa", 2, 48, 1),
        ("disa", 3, 48, 1),
    ]
    assert all(r["views"] == 2 and r["status"] == "done" and r["runs"] == 2 for r in rows(made))


def test_a_row_says_where_it_was_measured_and_has_every_documented_key(made: Path):
    documented = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text()
    row = rows(made)[-1]
    assert [k for k in row if f" {k}," not in documented and f" {k} " not in documented] == []
    assert row["machine"]["kind"] == "CPU"
    assert row["seconds_p10"] <= row["seconds"] <= row["seconds_p90"]
    assert {"clip", "saliency", "aggregation", "decoder", "windows"} <= row["stages"].keys()
    assert 0 < row["saliency_share"] < 1


def test_markdown_is_labelled_and_its_stages_do_not_overwrite_the_tower(made: Path):
    text = (made / "bench.md").read_text()
    assert "Measured on a CPU: " in text
    assert "random weights" in text
    assert "| DiSa | random tiny CLIP | float32 | 3 | 48 | 1 |" in text


def test_csv_holds_the_same_numbers(made: Path):
    with (made / "bench.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [float(r["seconds"]) for r in found] == [r["seconds"] for r in rows(made)]
    assert {r["kind"] for r in found} == {"CPU"}


def test_the_figure_is_vectors_with_text_and_names_the_machine(made: Path):
    svg = (made / "bench_scaling.svg").read_text()
    assert "Measured on a CPU" in svg
    assert (made / "bench_scaling.pdf").read_bytes().startswith(b"%PDF")


def record(**values: Any) -> dict[str, Any]:
    machine = {"kind": "CPU", "device": "a CPU", "torch": "2", "date": "2026-01-01T00:00:00"}
    base = {"title": "A", "clip": "B", "precision": "float32", "classes": 150, "size": 640, "batch": 1}
    timed = {"seconds": 1.0, "seconds_p10": 1.0, "seconds_p90": 1.0, "working_memory_mib": 2.0, "status": "done"}
    kind = {"runs": 1, "warmup": 0, "clock": "perf_counter", "trial": False, "memory_kind": "m", "error": None}
    return {**base, **timed, **kind, "machine": machine, **values}


def test_a_figure_shows_each_axis_at_the_usual_values_of_the_others():
    records = [record(classes=n) for n in (20, 150, 847)] + [record(batch=b) for b in (2, 4)]
    figure = scaling_figure(records)
    assert figure is not None
    panels = {axes.get_xlabel(): axes for axes in figure.axes if axes.get_xlabel()}
    assert list(panels) == ["classes", "images at once"]
    assert list(panels["classes"].get_lines()[0].get_xdata()) == [20, 150, 847]
    assert list(panels["images at once"].get_lines()[0].get_xdata()) == [1, 2, 4]


def test_one_point_needs_no_figure():
    assert scaling_figure([record()]) is None


def test_a_failed_point_is_named_and_the_others_stand():
    sheet = bench_sheet([record(), record(classes=847, status="failed", error="no memory", seconds=None)])
    assert any("847 classes" in r and "no memory" in r for r in sheet.remarks)


def test_too_few_runs_on_a_gpu_are_called_a_trial():
    assert any("TOO FEW RUNS" in r for r in bench_sheet([record(trial=True)]).remarks)


def test_a_method_without_memory_gives_a_failed_record(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr("repro.cost.timing.time_inference", refuse)
    monkeypatch.setattr(bench.Subject, "build", lambda self: None)
    point = bench.Point(subject(), Protocol(), 3, 1, Speedups())
    (found,) = bench.measure([point], "cpu", bench.Runs(1, 0), lambda _: None)
    assert (found["status"], found["error"]) == ("failed", "no room")


def subject() -> bench.Subject:
    from repro.clip.spec import TowerSpec
    from repro.methods import get_method

    entry = get_method("clip")
    return bench.Subject(entry, "tiny", TowerSpec("tiny", None, 48), entry.make_options())


def test_curves_move_one_axis_at_a_time():
    points = bench.curves([subject()], Protocol(), classes=150, speedups=[Speedups()])
    base = (150, 640, 1)
    found = [(p.classes, p.protocol.canvas, p.batch) for p in points]
    assert len(found) == len(set(found)) == 5 + 3 + 3
    assert all(sum(a != b for a, b in zip(f, base, strict=True)) <= 1 for f in found)
    assert {f[1] for f in found} == {384, 640, 896, 1152}


def test_sizes_that_windows_do_not_tile_are_refused_with_those_they_do():
    with pytest.raises(UsageError, match="384, 640, 896, 1152"):
        bench.at_size(Protocol(), 700)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--classes", "848"], 2),
        (["--repeat", "0"], 2),
        (["--towers", "huge"], 2),
        (["--cuda-graphs"], 5),
        (["--tf32"], 5),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(tmp_path: Path, more: list[str], code: int):
    assert main(words(tmp_path, *QUICK, "--methods", "clip", *more)) == code
    assert not (tmp_path / "results").exists()


def test_the_library_measures_what_the_command_does(made: Path, tmp_path: Path):
    from repro.measuring.bench import BenchRequest
    from repro.reports.bench import make_bench

    lists: dict[str, Any] = {"methods": ["clip", "disa"], "classes": [2, 3], "sizes": [48]}
    request = BenchRequest("smoke", **lists, repeat=2, warmup=0, runs=tmp_path / "runs", results=tmp_path, device="cpu")
    measured = ("seconds", "cpu", "peak", "working", "stages", "saliency", "clocks", "machine")
    ours, theirs = (
        [{k: v for k, v in r.items() if not k.startswith(measured)} for r in found]
        for found in (make_bench(request), rows(made))
    )
    assert ours == theirs
    assert (tmp_path / "bench.md").is_file()
