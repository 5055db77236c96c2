"""Follows a page: its commands in order, in one folder and in this process."""

from __future__ import annotations

import argparse
import contextlib
import glob
import io
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from citations import citations, missing
from command_blocks import PYTHON, Block, Command

from repro.cli.main import COMMANDS, main, make_parser
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark
from repro.errors import ReproError
from repro.methods import get_method

ENOUGH = 1500
"""Characters of the output that a failure shows."""


SHORT = ("..", "COMMAND")
"""What stands for any command in a sentence."""


class BlockError(AssertionError):
    """A block does not do what a reader may expect; begins with file and line."""


class Page:
    """One page that is followed in ``folder``; ``stands_for`` maps the page's placeholders to values."""

    def __init__(self, folder: Path, stands_for: Mapping[str, str] | None = None, **names: Any) -> None:
        self.folder, self.stands_for = folder, stands_for or {}
        self.names: dict[str, Any] = {"__name__": "__main__", **names}

    def follow(self, block: Block, run: bool) -> int:
        """Write the file that the block shows, or run it, or (``run`` is false) check what can be checked unrun.

        Returns how many commands, or blocks of Python, were run. BlockError for what fails.
        """
        with contextlib.chdir(self.folder), mock.patch.dict(os.environ):
            if block.language in PYTHON:
                return self._python(block, run and not block.shows)
            if block.shows:
                write(self.folder, block)
            run = run and not block.shows
            return sum(self._command(block, command, run) for command in block.commands)

    def _python(self, block: Block, run: bool) -> int:
        try:
            code = compile("\n" * (block.line - 1) + block.text, block.file, "exec")
        except SyntaxError as error:
            raise BlockError(f"{block.file}:{error.lineno}: {error.msg}") from error
        cited = [c._replace(line=c.line + block.line - 1) for c in citations(block.file, block.text)]
        if absent := missing(c for c in cited if c.kind == "dotted"):
            raise BlockError("\n".join(absent))
        if block.shows:
            write(self.folder, block)
        if run:
            output = io.StringIO()
            try:
                with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                    exec(code, self.names)
            except Exception as error:
                lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == block.file]
                line = lines[0] if lines else block.line
                raise BlockError(f"{block.file}:{line}: {type(error).__name__}: {error}") from error
        return int(run)

    def _command(self, block: Block, command: Command, run: bool) -> int:
        place = f"{block.file}:{command.line}: {command.text}"
        parsed = command.ours
        if run and not parsed and command.python:
            subprocess.run([sys.executable, *command.python], cwd=self.folder, check=True, timeout=600)
            return 1
        if run and len(parsed) != command.count:
            raise BlockError(f"{place}\nonly repro and python are run here: give the block a mark")
        for words in parsed:
            words = [value for word in words for value in self._values(word)] if run else words
            if problem := unusable(words, names="installing" not in block.needs):
                raise BlockError(f"{place}\n{problem}")
            if run:
                code, output = started(words, command.settings)
                if code != block.exits:
                    raise BlockError(f"{place}\nexit code {code}, not {block.exits}\n{output[-ENOUGH:]}")
        return len(parsed) if run else 0

    def _values(self, word: str) -> list[str]:
        """Return what a word stands for: a placeholder's value, files that a pattern matches, else itself."""
        names = "|".join(map(re.escape, sorted(self.stands_for, key=len, reverse=True)))
        word = re.sub(rf"\b(?:{names})\b", lambda m: self.stands_for[m[0]], word) if names else word
        return (sorted(glob.glob(word)) if "*" in word else []) or [word]  # noqa: PTH207 - as a shell does


def write(folder: Path, block: Block) -> None:
    """Write the file that a block shows into ``folder``."""
    path = folder / block.shows
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text + "\n", encoding="utf-8")


def started(words: list[str], settings: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run ``repro WORDS`` in this process; its exit code and all it prints."""
    output = io.StringIO()
    with mock.patch.dict(os.environ, settings or {}), _captured(output):
        try:
            code = main(words)
        except SystemExit as end:  # argparse ends so
            code = end.code if isinstance(end.code, int) else 1
        except Exception:  # noqa: BLE001 - whatever a reader would see
            code = 1
            traceback.print_exc(file=output)
    return code, output.getvalue()


def unusable(words: list[str], names: bool = True) -> str:
    """What the command line, and with ``names`` the lists that it reads, say against these words; else nothing."""
    output = io.StringIO()
    try:
        with _captured(output), mock.patch.dict(os.environ):
            options = vars(make_parser(words)[0].parse_args(words))
            if names:
                _known(options)
    except SystemExit:
        return output.getvalue().strip().split("\n")[-1]
    except ReproError as error:
        return str(error)
    return ""


def unknown(words: list[str]) -> str:
    """Return the command or first option in ``words``, which may lack others, that does not exist; else nothing."""
    if words[:1] and words[0] not in COMMANDS and not words[0].startswith("-") and words[0] not in SHORT:
        return words[0]
    options = set(_options(make_parser(words)[0]))
    named = [word.split("=")[0] for word in words if word.startswith("--")]
    return next((name for name in named if name not in options), "")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)


def _known(options: Mapping[str, Any]) -> None:
    """Raise UsageError for a profile, method or benchmark that does not exist; capitals stand for one that does."""
    profile = options.get("profile") or "mini"
    if not profile.endswith(".py"):
        load_profile(profile)
    methods = [*(options.get("methods") or ()), *filter(None, [options.get("method")])]
    for name in (part for method in methods for part in method.split("+")[:1]):
        if not name.isupper() and not name.startswith("table"):
            get_method(name)
    for name in options.get("benchmarks") or ():
        if ":" not in name:
            get_benchmark(name)


@contextlib.contextmanager
def _captured(output: io.StringIO) -> Iterator[None]:
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield
