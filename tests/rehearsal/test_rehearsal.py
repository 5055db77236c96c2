"""A rehearsal measures what a table takes, leaves figures only, and never makes a run look done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from repro.api import rehearse
from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.errors import UsageError
from repro.rehearsal.request import RehearsalRequest
from repro.rehearsal.result import Rehearsal
from repro.rehearsal.running import recipes
from repro.runs import rehearsed
from repro.runs.plan import Plan, make_plan
from repro.runs.status import MISSING, evaluation_seconds, plan_status, train_seconds

SMOKE = ["rehearse", "table1", "--profile", "smoke", "--methods", "catseg", "--device", "cpu"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """CAT-Seg of the smoke profile, from two seeds, on PAS-20."""
    runs = tmp_path_factory.mktemp("rehearsed") / "runs"
    return rehearse(
        "table1", profile="smoke", methods=["catseg"], benchmarks=["PAS-20"], seeds=[0, 1], steps=2, images=1,
        runs=str(runs), device="cpu",
    )  # fmt: skip


def plan_of(done: Rehearsal, **more: object) -> Plan:
    """The same plan, read again."""
    request = done.request
    return make_plan(
        load_table("table1"), load_profile("smoke"), request.runs, methods=["catseg"], benchmarks=["PAS-20"],
        seeds=[0, 1], **more,  # type: ignore[arg-type]
    )  # fmt: skip


def files(folder: Path) -> list[Path]:
    return sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())


def test_seeds_are_rehearsed_once_and_the_training_goes_on_from_its_checkpoint(done: Rehearsal) -> None:
    (row,) = done.rows
    assert len(row.runs) == 2
    assert row.training is not None
    assert len(row.training["seconds"]) == row.training["steps"] == 2
    assert min(row.training["seconds"]) > 0
    assert row.training["resumed"]
    assert row.training["checkpoint_mib"] > row.training["weights_mib"] > 0
    assert row.training["peak_mib"] > 0
    assert (row.training["data"], row.weights) == ("real", "random")
    assert (row.errors, row.ended, row.stopped) == ([], "", "")
    assert (done.findings, done.exit_code) == ((), 0)


def test_hours_are_those_of_all_seeds_steps_and_images(done: Rehearsal) -> None:
    (row,) = done.rows
    assert row.training is not None
    steps = 2 * load_profile("smoke").train_settings("catseg").iterations
    assert done.hours["training"] == pytest.approx(row.training["seconds_per_step"] * steps / 3600)
    first, second = row.training["seconds"]
    assert row.training["seconds_per_step"] == pytest.approx((first + second) / 2)  # the median of an even number
    images = 2 * done.counts["PAS-20"]
    assert done.counts["PAS-20"] == 2  # as the profile draws it
    assert done.hours["evaluation"] == pytest.approx(row.images["PAS-20"]["seconds_per_image"] * images / 3600)
    assert done.hours["total"] == sum(done.hours[k] for k in ("training", "evaluation"))
    assert done.unmeasured == []


def test_nothing_but_figures_is_left_and_no_run_looks_done(done: Rehearsal) -> None:
    runs = done.request.runs
    assert [p.name for p in runs.iterdir()] == ["cache"]
    assert {p.parts[1] for p in files(runs)} == {"rehearsals", "counts", "code"}
    (figures,) = (runs / "cache" / "rehearsals").iterdir()
    assert figures.suffix == ".json"
    assert {cell.status for cell in plan_status(plan_of(done))} == {MISSING}
    assert not any(run.trained for run in plan_of(done).runs)


def test_a_plan_uses_the_figures_of_this_machine_only(done: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    run, (row,) = plan_of(done).runs[1], done.rows
    assert row.training is not None
    assert train_seconds(run, "cpu") == pytest.approx(row.training["seconds_per_step"] * 4)
    assert evaluation_seconds(run, done.plan.benchmarks[0], "cpu") is not None
    monkeypatch.setattr(rehearsed, "machine", lambda device: "another machine")
    assert train_seconds(run, "cpu") is None
    assert evaluation_seconds(run, done.plan.benchmarks[0], "cpu") is None


def test_a_longer_training_has_the_same_step_and_a_larger_batch_another(done: Rehearsal) -> None:
    longer = plan_of(done, overrides={"iterations": 100}).runs[0]
    assert train_seconds(longer, "cpu") == pytest.approx(25 * (train_seconds(plan_of(done).runs[0], "cpu") or 0))
    assert train_seconds(plan_of(done, overrides={"batch_size": 4}).runs[0], "cpu") is None


def test_a_second_rehearsal_keeps_what_it_does_not_measure(done: Rehearsal) -> None:
    run = plan_of(done).runs[0]
    figures = {"date": "2026-01-01", "training": None, "images": {"A-150": {"seconds_per_image": 1.0}}}
    rehearsed.keep(run, "a machine", figures)
    rehearsed.keep(run, "a machine", {**figures, "training": {"seconds_per_step": 2.0}, "images": {}})
    (file,) = (p for p in (done.request.runs / "cache" / "rehearsals").iterdir() if "a machine" in p.read_text())
    kept = json.loads(file.read_text())
    file.unlink()
    assert kept["training"] == {"seconds_per_step": 2.0}
    assert list(kept["images"]) == ["A-150"]


def test_a_dry_run_says_that_its_times_are_rehearsed(done: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "table1", "--profile", "smoke", "--methods", "catseg", "--benchmarks", "PAS-20", "--dry-run"]
    assert main([*words, "--device", "cpu", "--runs", str(done.request.runs)]) == 0
    said = capsys.readouterr().out
    assert f"Rehearsed on {done.hardware}, " in said
    assert said.endswith("(docs/rehearsal.md): CAT-Seg, random tiny CLIP\n")


def test_the_recipe_of_a_paper_names_the_rehearsal_in_place_of_an_assumed_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.cost.estimate import Estimate
    from repro.runs import recipe

    monkeypatch.setattr(recipe, "counted_training", lambda *_: Estimate(10, 5, 1.0, 2.0))
    plan = make_plan(load_table("table1"), load_profile("paper"), tmp_path, methods=["catseg"], benchmarks=["A-150"])
    base = next(run for run in plan.runs if run.row.tower == "base")
    training = {"seconds_per_step": 9.0, "parts": 2, "checkpoint_activations": False, "peak_mib": 3072.0}
    figures = {"date": "2026-11-29T00:00:00", "training": training, "images": {"A-150": {"seconds_per_image": 2.0}}}
    rehearsed.keep(base, rehearsed.machine("cpu"), figures)
    lines = "\n".join(recipe.recipe_lines(plan, "cpu"))
    assert lines.count("expected 200.0 hours: 9 s per step, the batch in 2 parts, measured on") == 1
    assert "by a rehearsal of 2026-11-29" in lines
    assert "peak memory 3.0 GiB, measured in that rehearsal" in lines
    assert lines.count("at an assumed 10 T multiply-adds per second") == 1  # the other row
    assert train_seconds(base, "cpu") == 80_000 * 9
    assert evaluation_seconds(base, plan.benchmarks[0], "cpu") == 4000


def test_the_text_says_what_was_measured_and_how(done: Rehearsal) -> None:
    assert f"Measured on CPU {done.hardware}" in done.text
    assert "2 steps after 1 to warm up, 1 image per benchmark" in done.text
    assert "4 x 2" in done.text
    assert "GiB, resumed" in done.text
    assert "PAS-20: images of the set, 20 classes; 2 in a table" in done.text
    assert done.text.endswith("Nothing was found that would fail")


def test_every_key_of_the_json_is_documented(done: Rehearsal) -> None:
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    section = page.partition("`repro rehearse --json`")[2]
    found = json.loads(json.dumps(done.to_json()))
    (row,) = found["rows"]
    keys = [*found, *row, *row["training"], *row["images"]["PAS-20"]]
    assert [key for key in keys if key not in section.replace("`", "")] == []


def test_rows_of_one_recipe_are_one(tmp_path: Path) -> None:
    plan = make_plan(load_table("table1"), load_profile("smoke"), tmp_path, methods=["clip", "catseg"], seeds=[0, 1])
    assert [[run.row.id for run in runs] for runs in recipes(plan)] == [["clip-base"], ["catseg-base", "catseg-base"]]


def test_a_limit_of_time_ends_a_row_and_keeps_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMOKE, "--benchmarks", "PAS-20", "--minutes", "0.005", "--runs", str(tmp_path / "runs"), "--json"]
    assert main(words) == 1
    found = json.loads(capsys.readouterr().out)
    (row,) = found["rows"]
    assert row["stopped"]
    (finding,) = found["findings"]
    assert finding["kind"] == "time"
    assert "--minutes 0.02" in finding["mend"]
    assert found["unmeasured"] == ["CAT-Seg, random tiny CLIP: training and all evaluations"]
    assert not (tmp_path / "runs" / "cache" / "rehearsals").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_ended_rehearsal_leaves_no_process_and_no_file(how: signal.Signals, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "repro", *SMOKE, "--steps", "500", "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "building the method" in line)
        (job,) = (tmp_path / "runs" / "cache" / "rehearsals").glob(".work-*/*/job.json")
        process.send_signal(how)
        process.stderr.read()
    assert line
    assert process.returncode == (130 if how == signal.SIGINT else 75)
    assert not job.parents[2].exists()
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(job) in _words_of(p)]


def _words_of(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended meanwhile
        return ""


def test_rests_of_a_killed_rehearsal_are_removed_by_the_next(tmp_path: Path) -> None:
    from repro.locks import folder_lock
    from repro.rehearsal.running import working_folder
    from repro.runs.store import RunStore

    store = RunStore(tmp_path)
    rests = [store.cache / "rehearsals" / f".work-{name}" for name in ("killed", "alive")]
    for rest in rests:
        rest.mkdir(parents=True)
    with folder_lock(rests[1]), working_folder(store) as work:
        assert [rest.exists() for rest in rests] == [False, True]
        assert work.is_dir()
    assert not work.exists()


@pytest.mark.parametrize("table", ["table2", "reviewers_saliency", "controls"])
@pytest.mark.follows("repro.rehearsal.request:RehearsalRequest.plan")
def test_tables_of_other_kinds_are_refused(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rehearse", table, "--profile", "smoke"]) == 2
    said = capsys.readouterr().err
    assert "only tables of benchmarks are rehearsed" in said
    words = said.partition("it needs: repro ")[2].split()
    assert main([*words, *(["--no-timing"] if table == "table2" else [])]) == 0


@pytest.mark.parametrize("words", [{"steps": 0}, {"images": 0}, {"minutes": 0}, {"memory_gib": -1}, {"accumulate": -1}])
def test_numbers_that_cannot_be_are_refused(words: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(words))} of a rehearsal"):
        RehearsalRequest("table1", "smoke", **words).plan()  # type: ignore[arg-type]


def test_a_request_is_the_same_in_another_process() -> None:
    request = RehearsalRequest(
        "table1", "paper", data_root=Path("data"), methods=["catseg"], minutes=1.5, runs=Path("my runs")
    )
    assert RehearsalRequest.of_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.long
def test_a_row_of_the_paper_is_rehearsed_on_real_photographs(photographs: Path, tmp_path: Path) -> None:
    """CAT-Seg with ViT-B/16 at the paper's sizes; one image per step and 20 classes of it, to be done in a minute."""
    before = sorted(str(Path(top) / name) for top, _, names in os.walk(photographs) for name in names)
    table = tmp_path / "one_row.py"
    row = {"id": "catseg-base", "title": "CAT-Seg", "method": "catseg", "tower": "base"}
    table.write_text(f'name = "one"\ntitle = "One"\ncaption = ""\nmetric = "miou_gt"\nrows = [{row!r}]\n')
    found = rehearse(
        str(table), profile="paper", data_root=photographs, benchmarks=["PAS-20", "A-847"], steps=1, images=1,
        training={"batch_size": 1, "classes_per_step": 20}, runs=tmp_path / "runs", device="cpu", memory_gib=6.0,
    )  # fmt: skip
    (base,) = found.rows
    assert base.titles == ["CAT-Seg, CLIP ViT-B/16"]
    assert (base.errors, base.ended) == ([], "")
    assert base.training is not None
    assert (base.training["resumed"], base.training["data"], base.training["crop"]) == (True, "sources", 384)
    assert (base.training["batch"], base.training["classes"], base.parts) == (1, 20, 1)
    assert base.training["peak_mib"] / 1024 < (base.whole_gib or 0) < 6
    assert {b: (f["data"], f["classes"]) for b, f in base.images.items()} == {
        "PAS-20": ("sources", 20),
        "A-847": ("drawn", 847),
    }
    assert found.counts == {"PAS-20": 1449, "A-847": 2000}
    assert "CAT-Seg, CLIP ViT-B/16" in found.text
    assert "drawn images (none of the set is here), 512 x 683 pixels, 847 classes" in found.text
    assert {f.kind for f in found.findings} >= {"data", "weights"}
    assert sorted(str(Path(top) / name) for top, _, names in os.walk(photographs) for name in names) == before
