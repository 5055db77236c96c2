"""`repro runs`: shows what a store holds, removes what the rules say, and never a result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_made

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.files import read_json, write_json
from repro.locks import folder_lock
from repro.runs import housekeeping
from repro.runs.addresses.judging import training_subject
from repro.runs.execute import asked_of
from repro.runs.plan import make_plan

DAY = 86400
PLAN = make_plan(load_table("table1"), load_profile("mini"), Path("nowhere"), seeds=[0, 1, 2])
BY_ROW = {(run.entry.name, run.seed): run for run in PLAN.runs if run.row.tower == "base"}
OLD, NEW, OPEN = (BY_ROW["catseg", seed].address for seed in (0, 1, 2))
OTHER = BY_ROW["disa", 0].address
DATA = BY_ROW["disa", 0].assets.inputs()["data"]

Json = Callable[..., Any]


def make_run(root: Path, name: str, method: str, score: float | None, days: float, *files: str, same: bool) -> None:
    run = next(r for r in BY_ROW.values() if r.address == name)
    folder = root / name
    subject = training_subject(run)
    write_made(run, folder, subject)
    if not same:
        kept = read_json(folder / "code.json")
        write_json(folder / "code.json", {**kept, "made": {**kept["made"], "source": "another"}})
    write_json(folder / "provenance.json", {"run": name, "asked": asked_of(run), "facts": run.facts})
    (folder / "config.py").write_text("")
    if score is not None:
        write_json(folder / "eval" / "A-150" / "metrics.json", {"miou_gt": score})
        (folder / "eval" / "A-150" / "counts.npz").write_bytes(b"c" * 50)
    for file in files:
        (folder / file).write_bytes(b"x" * 1000)
    then = time.time() - days * DAY
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        os.utime(path, (then, then))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    make_run(root, OLD, "catseg", 0.3, 60, "weights.pth", same=False)
    make_run(root, NEW, "catseg", 0.2, 1, "weights.pth", ".weights.pth.77.partial", "checkpoint.pth", same=True)
    make_run(root, OPEN, "catseg", None, 90, "checkpoint.pth", same=True)
    make_run(root, OTHER, "disa", 0.4, 10, "weights.pth", same=True)
    for entry in (f"data/{DATA}", "clip/tiny-ffffffffffff", "data/.removed-mini-1"):
        (root / "cache" / entry).mkdir(parents=True)
        (root / "cache" / entry / "file").write_bytes(b"y" * 500)
    return root


@pytest.fixture
def gc(runs: Path, capsys: pytest.CaptureFixture[str]) -> Json:
    def call(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main(["runs", "gc", "--runs", str(runs), "--json", *words]) == code
        return json.loads(capsys.readouterr().out)

    return call


def paths(answer: Any, runs: Path) -> set[str]:
    return {str(Path(f["path"]).relative_to(runs)) for f in answer["files"]}


def everything(runs: Path) -> set[str]:
    return {str(p.relative_to(runs)) for p in runs.rglob("*") if p.is_file() and p.name != ".lock"}


def test_without_yes_nothing_is_touched_and_rests_are_what_goes(runs: Path, gc: Json):
    before = everything(runs)
    answer = gc()
    assert paths(answer, runs) == {
        f"{NEW}/.weights.pth.77.partial",
        f"{NEW}/checkpoint.pth",
        "cache/data/.removed-mini-1",
    }
    assert not answer["removed"]
    assert everything(runs) == before


def test_what_was_shown_is_what_goes_and_no_result_ever(runs: Path, gc: Json):
    words = ("--what", "weights,checkpoints,rests,cache")
    shown, before = paths(gc(*words), runs), everything(runs)
    answer = gc(*words, "--yes")
    assert paths(answer, runs) == shown
    assert all(f["removed"] for f in answer["files"])
    left = everything(runs)
    gone = before - left
    assert all(any(g == s or g.startswith(f"{s}/") for s in shown) for g in gone)
    results = {b for b in before if b.endswith((".json", "counts.npz", "config.py"))}
    assert results <= left
    assert f"{OPEN}/checkpoint.pth" in left  # work that is not finished is no waste
    assert gc(*words)["files"] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--older-than", "30d"], {OLD}),
        (["--older-than", "2d"], {OLD, OTHER}),
        (["--orphaned"], {OLD}),
        (["--keep-newest", "1"], {OLD}),
        (["--keep-best", "1"], set()),
        (["catseg-mini-base-s1"], {NEW}),
    ],
)
def test_each_rule_narrows_the_weights_that_go(words: list[str], expected: set[str], runs: Path, gc: Json):
    if words[0] == "--keep-best":  # where each run has a score it ranks; here one has none, so that all are kept
        make_run(runs, OPEN, "catseg", 0.1, 90, "weights.pth", same=True)
        expected = {NEW, OPEN}
    assert paths(gc("--what", "weights", *words), runs) == {f"{r}/weights.pth" for r in expected}


def test_a_group_that_cannot_be_ranked_is_kept_whole(runs: Path, gc: Json):
    assert gc("--what", "weights", "--keep-best", "1")["files"] == []


def test_unfinished_work_goes_only_when_it_is_named(runs: Path, gc: Json):
    assert paths(gc(OPEN[:-4]), runs) == {f"{OPEN}/checkpoint.pth"}


def test_a_run_in_use_is_left_alone(runs: Path, gc: Json):
    with folder_lock(runs / OLD):
        assert paths(gc("--what", "weights"), runs) == {f"{NEW}/weights.pth", f"{OTHER}/weights.pth"}
        removal = housekeeping.Removal(runs / OLD / "weights.pth", "weights", 1000, runs / OLD)
        ((_, why),) = housekeeping.remove([removal])
    assert "in use" in why
    assert (runs / OLD / "weights.pth").is_file()


def test_orphaned_caches_are_those_no_profile_and_no_run_of_this_code_uses(runs: Path, gc: Json):
    assert paths(gc("--what", "cache", "--orphaned"), runs) == {"cache/clip/tiny-ffffffffffff"}


def test_a_folder_goes_as_a_whole_or_not_at_all(runs: Path, monkeypatch: pytest.MonkeyPatch):
    entry = runs / "cache" / "data" / DATA

    def killed(path: Path, **options: bool) -> None:
        if not options:
            raise KeyboardInterrupt

    monkeypatch.setattr(housekeeping.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        list(housekeeping.remove([housekeeping.Removal(entry, "cache", 500, entry)]))
    assert not entry.exists()  # nothing that looks whole is left


def test_links_are_never_followed(runs: Path, gc: Json, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "weights.pth").write_bytes(b"z")
    (runs / OLD / "link").symlink_to(outside)
    (runs / "cache" / "data" / "link").symlink_to(outside)
    gc("--what", "weights,cache", "--yes")
    assert (outside / "weights.pth").is_file()


def test_list_and_du_agree_on_the_size(runs: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["runs", "list", "--runs", str(runs), "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert {r: row["state"] for r, row in rows.items()} == {
        OLD: "finished", NEW: "finished", OPEN: "unfinished", OTHER: "finished"
    }  # fmt: skip
    assert rows[OTHER]["miou_gt"] == 0.4
    assert main(["runs", "du", "--runs", str(runs), "--json"]) == 0
    sizes = json.loads(capsys.readouterr().out)
    assert {r: sum(s.values()) for r, s in sizes["runs"].items()} == {r: row["bytes"] for r, row in rows.items()}
    assert sizes["runs"][NEW]["weights"] == sizes["runs"][NEW]["checkpoints"] == sizes["runs"][NEW]["rests"] == 1000
    assert sizes["bytes"] == sum(row["bytes"] for row in rows.values()) + 1000


@pytest.mark.parametrize("words", [["--older-than", "soon"], ["--keep-best", "0"]])
def test_an_impossible_rule_is_refused(words: list[str], runs: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["runs", "gc", "--runs", str(runs), *words])
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--what", "results"], ["no-such-run"]])
def test_what_does_not_exist_cannot_be_removed(words: list[str], runs: Path, capsys: pytest.CaptureFixture[str]):
    before = everything(runs)
    assert main(["runs", "gc", "--runs", str(runs), "--yes", *words]) == 2
    assert "repro: error:" in capsys.readouterr().err
    assert everything(runs) == before
