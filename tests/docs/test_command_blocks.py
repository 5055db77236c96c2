"""Every block of commands of README.md and docs is run, or parsed where a mark says what else it needs."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_runner import Page, started, unknown, write
from command_blocks import PYTHON, ROOT, SHELL, WORKFLOWS, Block, pages, quoted, read_page
from PIL import Image

from repro.configuration import files, profiles
from repro.paths import CONFIGS

MINIATURE = """
_base_ = ["./smoke.py"]
name = "mini"
towers = {
    "_delete_": True,
    "base": dict(
        kind="random",
        title="random tiny CLIP",
        spec=dict(model="tiny", weights=None, resolution=48, last_block="full", dense_residual="token"),
    ),
}
"""
"""A miniature that trains and evaluates Table 1 in seconds: that of the profile smoke, with one tower."""


def of_commands(file: str) -> list[Block]:
    return [b for b in read_page(file)[0] if b.language in (*PYTHON, *SHELL, *WORKFLOWS) or b.shows]


PAGES = [file for file in pages() if of_commands(file)]
LONG = [file for file in PAGES if any("minutes" in b.takes for b in of_commands(file))]


def is_run(block: Block, long: bool) -> bool:
    """Whether a block is run, not only parsed."""
    if block.needs or "hours" in block.takes or block.language in WORKFLOWS:
        return False
    return long if "minutes" in block.takes else True


class Miniature:
    """The profile ``mini`` is one of seconds while this is open."""

    def __init__(self, folder: Path) -> None:
        self.configs = folder / "configs"
        own = self.configs / "profiles"
        own.mkdir(parents=True)
        for path in (CONFIGS / "profiles").glob("*.py"):
            text = path.read_text(encoding="utf-8").replace("./mini.py", "./whole.py")
            (own / path.name.replace("mini", "whole")).write_text(text, encoding="utf-8")
        (own / "mini.py").write_text(MINIATURE, encoding="utf-8")

    def __enter__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for module in (profiles, files):
            self.patch.setattr(module, "CONFIGS", self.configs)
        profiles.load_profile.cache_clear()

    def __exit__(self, *_: object) -> None:
        self.patch.undo()
        profiles.load_profile.cache_clear()


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return Miniature(tmp_path_factory.mktemp("profiles"))


@pytest.fixture(scope="module")
def made(miniature: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Table 1 was made with that miniature, and its values written down as a reference."""
    folder = tmp_path_factory.mktemp("made")
    with miniature, contextlib.chdir(folder):
        for words in ("run table1", "check table1 --update --profile mini"):
            code, output = started(words.split())
            assert code == 0, output
    with contextlib.chdir(folder):  # its traces are read where a page does the same
        started(["run", "table1", "--profile", "paper", "--data-root", "DATA", "--dry-run"])
    return folder


@pytest.fixture
def page(file: str, request: pytest.FixtureRequest, tmp_path: Path) -> Page:
    """What a reader of a page has: photographs, a set of their own, predictions, and Table 1 where it is read."""
    stands_for = {"TEXT": "because"}
    if any("training" in b.takes for b in of_commands(file)):
        shutil.copytree(request.getfixturevalue("made"), tmp_path, dirs_exist_ok=True, symlinks=True)
        stands_for["RUN"] = next(p.parent.name for p in tmp_path.glob("runs/catseg-mini-*/weights.pth"))
    draw = np.random.default_rng(0)
    for name in ("photo.jpg", "hall.jpg", "photos/a.jpg", "more/b.png", "images/val/hall.jpg", "images/train/room.jpg"):
        save(tmp_path / name, draw.integers(0, 256, (48, 64, 3)))
    for name in ("masks/val/hall", "masks/train/room"):
        save(tmp_path / f"{name}_mask.png", draw.integers(0, 5, (48, 64)))
    save(tmp_path / "predictions/hall.png", draw.integers(0, 4, (48, 64)))
    (described,) = (b for b in read_page("docs/own-data.md")[0] if b.shows == "rooms.toml")
    write(tmp_path, described)
    return Page(tmp_path, stands_for, scores=draw.random((3, 48, 64)), key="hall")


def save(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def follow(page: Page, file: str, miniature: Miniature, long: bool) -> int:
    run = 0
    for block in of_commands(file):
        with miniature if "training" in block.takes else contextlib.nullcontext():
            run += page.follow(block, is_run(block, long))
    return run


def test_every_block_says_what_it_needs() -> None:
    assert "\n".join(line for file in pages() for line in read_page(file)[1]) == ""


@pytest.mark.slow
@pytest.mark.parametrize("file", PAGES)
def test_a_page_can_be_followed(file: str, page: Page, miniature: Miniature) -> None:
    follow(page, file, miniature, long=False)


@pytest.mark.long
@pytest.mark.parametrize("file", LONG)
def test_a_page_can_be_followed_with_what_takes_minutes(file: str, page: Page, miniature: Miniature) -> None:
    follow(page, file, miniature, long=True)


def test_the_reader_sees_what_is_there() -> None:
    """A blind reader, or marks on everything, must not pass."""
    commands = [(is_run(b, long=True), c) for file in PAGES for b in of_commands(file) for c in b.commands]
    counts = Counter(run for run, command in commands for _ in command.ours)
    assert min(counts[True], counts[False]) > 50


def test_options_that_the_text_names_exist() -> None:
    """``repro`` in the middle of a sentence is often cut short; its command and its options are there."""
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in pages()}
    found = [(f"{file}:{c.line}: {c.text}", c) for file, text in texts.items() for c in quoted(text)]
    assert len(found) > 100
    assert [f"{place}: {problem}" for place, c in found for words in c.ours if (problem := unknown(words))] == []
