"""Damaged files of a run store: following the mend of the message leads to the same number again."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.runs.addresses.damaged import is_damaged

WORDS = ["eval", "catseg", "--profile", "smoke", "--benchmarks", "PAS-20", "--device", "cpu", "--json"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trained and evaluated method."""
    store = tmp_path_factory.mktemp("store") / "my runs"
    assert main([*WORDS, "--runs", str(store)]) == 0
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "my runs"))


def evaluate(store: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any, str]:
    capsys.readouterr()
    code = main([*WORDS, "--runs", str(store)])
    out = capsys.readouterr()
    return code, json.loads(out.out)[0]["miou_gt"] if code == 0 else None, out.err


def run_of(store: Path) -> Path:
    (run,) = [p for p in store.iterdir() if p.name.startswith("catseg")]
    return run


FILES = [
    "weights.pth", "provenance.json", "eval/PAS-20/metrics.json", "eval/PAS-20/cell.json", "eval/PAS-20/counts.npz",
]  # fmt: skip


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
@pytest.mark.parametrize("name", FILES)
def test_following_the_mend_of_a_damaged_file_gives_the_number_again(
    name: str, damage: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, expected, _ = evaluate(store, capsys)
    file = run_of(store) / name
    raw = file.read_bytes()
    file.write_bytes({"cut": raw[: len(raw) // 2], "empty": b"", "other": b"[1]"}[damage])
    if name == "weights.pth":  # read only where something is left to evaluate
        shutil.rmtree(run_of(store) / "eval")
    code, value, error = evaluate(store, capsys)
    if code != 0:
        assert "Traceback" not in error
        line = error.partition("cannot be used: ")[2].splitlines()[0]
        words = shlex.split(line)
        assert words[:3] == ["repro", "runs", "gc"]
        assert str(store) in words
        assert main(words[1:]) == 0
        code, value, error = evaluate(store, capsys)
    assert (code, value) == (0, expected), error


def test_gc_shows_and_removes_what_is_damaged_and_the_evaluation_it_belongs_to(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(store)
    whole = {p for p in run.rglob("*") if p.is_file()}
    words = ["runs", "gc", run.name, "--runs", str(store), "--what", "damaged", "--json"]
    capsys.readouterr()
    assert main([*words, "--yes"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == []
    (run / "eval" / "PAS-20" / "counts.npz").write_bytes(b"PK")
    assert main(words) == 0
    shown = [Path(f["path"]) for f in json.loads(capsys.readouterr().out)["files"]]
    assert shown[0] == run / "eval" / "PAS-20" / "metrics.json"
    assert {p for p in run.rglob("*") if p.is_file()} == whole
    assert main([*words, "--yes"]) == 0
    left = {p for p in run.rglob("*") if p.is_file()}
    assert whole - left == set(shown)
    assert not [p for p in left if "PAS-20" in p.parts and p.name != ".lock"]
    assert (run / "weights.pth").is_file()


def test_damaged_files_of_the_cache_go_alone(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = next(p for p in (store / "cache" / "data").iterdir() if p.is_dir())
    (entry / "ready.json").write_text("{")
    before = {p for p in store.rglob("*") if p.is_file()}
    assert main(["runs", "gc", "--runs", str(store), "--what", "damaged", "--yes"]) == 0
    assert before - {p for p in store.rglob("*") if p.is_file()} == {entry / "ready.json"}


@pytest.mark.parametrize(
    ("name", "content", "damaged"),
    [
        ("a.json", b"{}", False),
        ("a.json", b"{", True),
        ("a.json", "{}".encode("utf-16"), True),
        ("cell.json", b"{}", True),
        ("cell.json", b'{"key": 1}', False),
        ("metrics.json", b"[]", True),
        ("a.npz", b"PK", True),
        ("a.pth", b"", True),
        ("a.txt", b"", False),
        (".a.json", b"{", False),
    ],
)
def test_what_is_damaged(name: str, content: bytes, damaged: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_damaged(tmp_path / name) is damaged


def test_weights_of_another_version_are_not_damaged(tmp_path: Path) -> None:
    import torch

    torch.save({"header": {"method": "clip", "format": 99}, "state_dict": {}}, tmp_path / "weights.pth")
    assert not is_damaged(tmp_path / "weights.pth")
