"""Bad input of every kind ends in one clear error: no traceback, no hang, nothing run, nothing written elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus
import pytest
from bad_files import CANARY
from corpus import Case, all_cases

from repro.cli.main import main

CASES = all_cases()
SECONDS = 60
"""Processor time a case may take; by the clock five times as much. What hangs takes any time; a machine just started
took 20 s to read the sources once."""
MEMORY = 3 << 30
EXIT_CODES = {1, 2, 3, 4, 5, 6}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class HangError(BaseException):
    """Nothing in the program may catch it."""


class _Watch:
    """What the audit hook, which cannot be taken off again, looks at."""

    allowed: tuple[str, ...] | None = None
    seen: tuple[str, ...] = ()


def _hook(event: str, values: tuple[Any, ...]) -> None:
    if _Watch.allowed is None:
        return
    paths: tuple[Any, ...] = ()
    if event == "open":
        path, mode, flags = values
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITING):
            paths = (path,)
    elif event in ("os.mkdir", "os.remove", "os.rmdir"):
        paths = values[:1] if values[-1] == -1 else ()  # else below a folder that was opened before
    elif event in ("os.truncate", "os.chmod"):
        paths = values[:1]
    elif event in ("os.rename", "os.link", "os.symlink"):
        paths = values[1:2] if event != "os.rename" else values[:2]
    elif event == "os.system":
        _Watch.seen = (*_Watch.seen, f"ran {values[0]!r}")
    for path in paths:
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (links are not followed)
        if not place.startswith(_Watch.allowed) and "__pycache__" not in place:
            _Watch.seen = (*_Watch.seen, f"{event} {place}")


sys.addaudithook(_hook)


@contextlib.contextmanager
def limits(allowed: list[Path]) -> Iterator[None]:
    """Time, memory and places to write are bounded inside."""

    def hang(_number: int, _frame: object) -> None:
        raise HangError

    handlers = {number: signal.signal(number, hang) for number in (signal.SIGPROF, signal.SIGALRM)}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
    _Watch.allowed, _Watch.seen = ("/dev/null", "/dev/shm/", *(f"{place}" for place in allowed)), ()
    try:
        yield
    finally:
        _Watch.allowed = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a case: a working directory, a place for temporary files, a canary that must not sing."""
    folder = tmp_path / "case"
    for name in ("cwd", "tmp"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv(CANARY, str(tmp_path / "canary"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    return folder


def run(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    words = case.prepare(folder)
    monkeypatch.chdir(folder / "cwd")
    allowed = [folder / name for name in (*corpus.OUTPUTS, *case.writes, "tmp")]
    with limits(allowed):
        try:
            return main(words)
        except SystemExit as ended:  # argparse
            return int(ended.code or 0)


def complaint(case: Case, code: int, out: str, err: str) -> str:
    """What is wrong with how a case ended; empty where it is as it should be."""
    if "Traceback" in out + err:
        return "a traceback"
    if code not in EXIT_CODES:
        return f"exit code {code}"
    if case.kind == "verify" and code == 3 and not err.startswith("repro: error:"):
        return "" if "problem" in out else "a report without a problem"
    errors = len(re.findall(r"^repro(?: [\w-]+)*: error: ", err, re.MULTILINE))
    if code == 1:
        return "" if "failed: " in err else "failed without saying what"
    return "" if errors == 1 else f"{errors} errors"


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id, marks=[pytest.mark.slow] if c.slow else []) for c in CASES])
def test_bad_input_is_one_clear_error(
    case: Case, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(case, place, monkeypatch)
    out, err = capsys.readouterr()
    wrong = complaint(case, code, out, err)
    assert not wrong, f"{wrong}\n{out[-1500:]}\n{err[-3000:]}"
    assert _Watch.seen == ()
    assert not (place.parent / "canary").exists()
    assert {p.name for p in place.parent.iterdir()} == {"case"}


def test_every_bad_photograph_among_many_is_named_and_the_good_one_is_done(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = corpus.photo_files()
    (place / "photos").mkdir()
    for number, data in enumerate(files.values()):
        (place / "photos" / f"{number:03d}.png").write_bytes(data)
    corpus._photo(place / "photos" / "good.png")
    words = corpus.predict_words(place, "--image", str(place / "photos"), "--classes", "cat,dog", "--json")
    whole = Case("predict", "many", lambda _folder: words)
    assert run(whole, place, monkeypatch) == 1
    out, err = capsys.readouterr()
    records = json.loads(out)["images"]
    states = dict(zip([*files, "good"], (r["status"] for r in records), strict=True))
    assert states == {**dict.fromkeys(files, "failed"), "good": "written"}
    assert "Traceback" not in err
    assert all("expected: " in r["error"] and "fix: " in r["error"] for r in records if r["status"] == "failed")
    assert _Watch.seen == ()


def test_the_corpus_is_large_and_covers_every_command() -> None:
    kinds = Counter(case.kind for case in CASES)
    print(dict(kinds))
    assert len(CASES) >= 200
    assert set(kinds) == {"prepare", "verify", "import-checkpoint", "predict", "eval", "run"}
    assert min(kinds.values()) >= 20
