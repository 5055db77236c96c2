"""Cost tables through the command line, in the smoke and the paper profile, without data and without weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.cost.timing import CPU_RUNS
from repro.measuring import cost as cost_table


def words(folder: Path, *more: str, command: str = "run", table: str = "table2") -> list[str]:
    return [command, table, "--runs", str(folder / "runs"), "--results", str(folder / "results"), *more]


def json_of(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


SMOKE = ("--profile", "smoke", "--methods", "catseg", "--device", "cpu", "--repeat", "2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table2")
    assert main(words(folder, *SMOKE)) == 0
    return folder


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    assert main(words(folder, "--profile", "paper", "--no-timing", "--methods", "catseg")) == 0
    return folder


def test_the_paper_table_needs_neither_data_nor_weights(paper: Path):
    with (paper / "results" / "table2.csv").open(newline="") as stream:
        rows = {r["row"]: r for r in csv.DictReader(stream)}
    large, base = rows["catseg-large"], rows["catseg-base"]
    assert {r["status"] for r in rows.values()} == {"done"}
    assert [f"{float(large[k]):.1f}" for k in ("params_million", "gflops")] == ["433.7", "2121.1"]
    assert [float(large[f"published_{k}"]) for k in ("params_million", "gflops", "seconds")] == [433.7, 2121.1, 0.78]
    assert abs(float(large["difference_gflops"])) < 0.05
    assert base["published_gflops"] == ""
    assert not list((paper / "runs").rglob("*")) or not list((paper / "runs").glob("catseg-*"))


def test_the_paper_table_says_whose_numbers_the_caption_names(paper: Path):
    for ending in ("md", "tex"):
        assert "are those of ViT-L/14@336" in (paper / "results" / f"table2.{ending}").read_text()


def test_a_row_has_every_documented_key(made: Path, capsys: pytest.CaptureFixture[str]):
    (row,) = json_of(capsys, words(made, *SMOKE, "--dry-run"))
    documented = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text()
    assert [key for key in row if f" {key}," not in documented and f" {key} " not in documented] == []
    assert {"table", "row", "method", "clip", "params_million", "gflops", "status", "missing"} <= row.keys()
    assert row["gflops"] == pytest.approx(sum(row["gflops_by_part"].values()))


def test_a_timing_is_kept_and_never_repeated(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    first = json_of(capsys, words(made, *SMOKE))
    monkeypatch.setattr(cost_table, "_time", lambda *_: pytest.fail("a kept timing was measured again"))
    assert json_of(capsys, words(made, *SMOKE)) == first
    (row,) = first
    assert (row["status"], row["runs"], row["warmup"]) == ("done", 2, CPU_RUNS[0])
    assert row["seconds"] <= row["seconds_p90"]


def test_another_number_of_runs_is_another_timing(made: Path, capsys: pytest.CaptureFixture[str]):
    more = [*SMOKE[:-1], "3"]
    assert json_of(capsys, words(made, *more, "--dry-run"))[0]["status"] == "missing"
    assert len(list((made / "runs" / "cache" / "timing").glob("*.json"))) == 1


@pytest.mark.parametrize("change", [{"label": "another CPU"}, {"torch": "9.9"}, {"threads": 64}, {"warmup": 1}])
def test_a_timing_of_another_place_is_not_taken_for_this_one(made: Path, change: dict[str, Any]):
    import dataclasses

    from repro.configuration.profiles import load_profile
    from repro.configuration.tables import load_table
    from repro.runs.plan import make_plan

    plan = make_plan(load_table("table2"), load_profile("smoke"), made / "runs", methods=["catseg"])
    (cell,) = cost_table.cost_cells(plan)
    here = cost_table.TimingPlace.here("cpu", 2)
    assert cell.timing_file(here).is_file()
    assert not cell.timing_file(dataclasses.replace(here, **change)).is_file()


def test_no_published_value_stands_beside_generated_towers(made: Path):
    with (made / "results" / "table2.csv").open(newline="") as stream:
        header = next(csv.reader(stream))
    assert not [name for name in header if name.startswith("difference")]


@pytest.mark.parametrize(
    ("table", "option"),
    [
        ("table1", ["--no-timing"]),
        ("table1", ["--repeat", "3"]),
        ("table2", ["--seeds", "1"]),
        ("table2", ["--repeat", "-1"]),
    ],
)
def test_options_of_the_other_kind_of_table_are_refused(tmp_path: Path, table: str, option: list[str]):
    assert main(words(tmp_path, *option, "--profile", "smoke", "--dry-run", table=table)) == 2


def test_describe_knows_a_cost_table(capsys: pytest.CaptureFixture[str]):
    assert main(["describe", "table2"]) == 0
    assert "kind: cost" in capsys.readouterr().out
