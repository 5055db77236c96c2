"""The command line itself: quick to start, clear when misused, stable exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repro.cli.main import COMMANDS, main

HEAVY = ("torch", "pandas", "mmengine", "open_clip", "numpy", "cv2")


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout


@pytest.mark.parametrize("code", ["import repro", "import repro.cli.main", "import repro.errors, repro.methods"])
def test_light_modules_import_nothing_heavy(code: str):
    loaded = python(f"{code}; import sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))")
    assert json.loads(loaded) == []


def test_planning_a_table_imports_no_torch(tmp_path: Path):
    code = (
        "import sys; from repro.cli.main import main;"
        f"code = main(['run', 'table1', '--profile', 'smoke', '--dry-run', '--runs', {str(tmp_path)!r}]);"
        "print('torch' in sys.modules, code)"
    )
    assert python(code).splitlines()[-1] == "False 0"


@pytest.mark.parametrize("command", ["-m repro --help", "-c 'import repro'"])
def test_starting_takes_under_a_second(command: str):
    best = min(_seconds(f"{sys.executable} {command}") for _ in range(3))
    assert best < 1.0


def _seconds(command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, shell=True, check=True, capture_output=True)
    return time.perf_counter() - begin


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: repro {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["rnu", "table1"], 2, "did you mean run"),
        (["run", "tabel1"], 2, "did you mean table1"),
        (["run", "table1", "--methods", "catsge"], 2, "did you mean catseg"),
        (["run", "table1", "--benchmarks", "A-151"], 2, "A-150"),
        (["run", "table1", "--profile", "minni"], 2, "did you mean mini"),
        (["run", "table1", "--profile", "mini", "--data-root", "x"], 2, "--profile paper"),
        (["describe", "catsegg"], 2, "did you mean catseg"),
        (["train", "clip"], 2, "repro eval"),
        (["train", "catseg", "-o", "hiden=3"], 2, "repro describe catseg"),
        (["train", "catseg", "-o", "hidden"], 2, "KEY=VALUE"),
        (["train", "catseg", "--tower", "bsae"], 2, "did you mean base"),
        (["eval", "catseg", "--profile", "paper", "--data-root", "nowhere"], 3, "unpack ADE20K_2021_17_01"),
        (["data", "prepare", "A-15", "--data-root", "x"], 2, "A-150"),
        (["data", "synth", "--profile", "paper", "--out", "x"], 2, "--profile mini"),
    ],
)
def test_misuse_is_one_clear_error(
    words: list[str], code: int, hint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    error = capsys.readouterr().err
    assert error.startswith("repro: error: ")
    assert hint in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    words = ["run", "table1", "--profile", "smoke", "--device", "cuda:99", "--runs", str(tmp_path)]
    assert main([*words, "--results", str(tmp_path)]) == 5
    assert "cuda:99" in capsys.readouterr().err


def test_list_names_every_id_other_tools_rely_on(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["list", "--json", "--runs", str(tmp_path)]) == 0
    known = json.loads(capsys.readouterr().out)
    assert list(known["benchmarks"])[:6] == ["A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"]
    assert {"clip", "catseg"} <= set(known["methods"])
    assert list(known["training sets"]) == ["coco-stuff"]
    assert set(known["profiles"]) >= {"smoke", "mini", "paper"}
    assert "table1" in known["tables"]


@pytest.mark.parametrize("name", ["table1", "catseg", "clip", "A-847", "pas-20B", "coco-stuff", "paper", "mini"])
def test_describe_knows_every_kind_of_name(name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["describe", name]) == 0
    assert capsys.readouterr().out.strip()


def test_paper_dry_run_lists_recipe_and_everything_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    words = ["run", "table1", "--profile", "paper", "--data-root", str(tmp_path / "data"), "--dry-run"]
    words += ["--methods", "clip,catseg"]
    assert main([*words, "--runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for needed in ("80,000 iterations of batch 4", "2e-06", "GPU hours", "GiB of GPU memory"):
        assert needed in text
    for folder in ("ADEChallengeData2016", "ADE20K_2021_17_01", "VOC2010", "VOC2012", "coco-stuff", "ViT-L-14-336"):
        assert folder in text


def test_doctor_reports_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert main(["doctor", "--json", "--runs", str(tmp_path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["can"]["evaluate"] is True
    assert facts["cpu"]["cores"] == len(os.sched_getaffinity(0))


def test_completions_know_every_command_and_option(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 0
    script = tmp_path / "repro.bash"
    script.write_text(capsys.readouterr().out)
    complete = "source {}; COMP_WORDS=({}); COMP_CWORD={}; _shtab_repro; echo ${{COMPREPLY[@]}}"

    def offered(*words: str) -> set[str]:
        asked = complete.format(script, " ".join(words), len(words) - 1)
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert offered("repro", "r") == {name for name in COMMANDS if name.startswith("r")}
    assert "--dry-run" in offered("repro", "run", "table1", "--dry")
    assert "--save-predictions" in offered("repro", "eval", "clip", "--save")


def test_hooks_for_pre_commit_name_commands_that_exist(capsys: pytest.CaptureFixture[str]):
    hooks = (Path(__file__).resolve().parents[2] / ".pre-commit-hooks.yaml").read_text()
    entries = [line.split("entry: repro ")[1].split() for line in hooks.splitlines() if "entry: " in line]
    assert entries == [["check", "--numeric"], ["check", "--weights"]]
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    text = capsys.readouterr().out
    assert all(option in text for _, option in entries)
