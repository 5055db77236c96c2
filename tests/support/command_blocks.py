"""The blocks of commands in README.md and docs: what they hold, and what their marks say a reader needs for them.

A mark is a comment on a line of its own above the block, invisible on the page::

    <!-- needs: data -->          what the reader must have: not run here, every ``repro`` line is parsed
    <!-- takes: training -->      trains on the miniature, or reads what was trained: run with a profile of that
                                  name that takes seconds
    <!-- takes: minutes -->       parsed, and run by ``pytest -m long``; ``training, minutes``: both
    <!-- takes: hours -->         parsed
    <!-- exits: 1 -->             its commands end with this code, not with 0

A block whose first line is ``# NAME.ENDING`` is a file that the page shows.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL, PYTHON = ("bash", "sh", "shell", "console"), ("python",)
WORKFLOWS = ("yaml",)
MARKS = {
    "needs": (
        "data",  # data sets, checkpoints, predictions
        "gpu",
        "network",  # or what was fetched
        "cluster",
        "detectron2",
        "docker",
        "packages",  # that come with no extra
        "installing",  # a package that the page shows
        "runs",  # of the reader's own, other than those that the page has made
        "checkout",  # of the repository, where it writes
    ),
    "takes": ("training", "minutes", "hours"),
}

_SEPARATOR = re.compile(r", *")
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})\s*(\w*)\s*$")
_COMMENT = re.compile(r"^ *<!--\s*(.*?)\s*-->\s*$")
_MARK = re.compile(r"^(\w+):\s*(.+)$")
_COMMAND = re.compile(r"^(?:\$ +)?(?:\w+=\S+ +)*(?:\S*/)?(?:repro|python3?|pip|pytest|git|torchrun|tox|source) +[\w.-]")
_FILE = re.compile(r"^# ([\w./-]*\w\.[a-z]+)$")
_SETTING = re.compile(r"[A-Za-z_]\w*=.*")
_BEFORE = re.compile(r"[A-Za-z_]\w*=.*|do|then|time|exec")
_STEP = re.compile(r"^\s*(?:- )?(?:run|entry): +(.*)$")


@dataclasses.dataclass(frozen=True)
class Command:
    """A line of a shell as the reader gives it: continued lines joined, without its comment; ``line`` of its start."""

    line: int
    text: str

    @property
    def ours(self) -> list[list[str]]:
        """The words of every ``repro ..`` in it, without ``repro`` and without the brackets of a synopsis."""
        found = []
        for words in self._parts:
            if words[:1] and words[0].rpartition("/")[2] == "repro":
                found.append(words[1:])
            elif words[1:3] == ["-m", "repro"]:
                found.append(words[3:])
        return found

    @property
    def python(self) -> list[str]:
        """The words after ``python``, if it is one such command."""
        words = self._parts[0]
        return words[1:] if self.count == 1 and words[0] in ("python", "python3") else []

    @property
    def count(self) -> int:
        """How many commands it joins, of any program."""
        return len(self._parts)

    @property
    def settings(self) -> dict[str, str]:
        """The variables that it sets before its first command."""
        words = itertools.takewhile(_SETTING.fullmatch, next(_simple_commands(self.text)))
        return dict(word.split("=", 1) for word in words)

    @property
    def _parts(self) -> list[list[str]]:
        return [list(itertools.dropwhile(_BEFORE.fullmatch, part)) for part in _simple_commands(self.text)]


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of ``file``; ``line`` is that of its first line of text, ``text`` has its indentation removed."""

    file: str
    line: int
    language: str
    text: str
    needs: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    exits: int = 0

    @property
    def shows(self) -> str:
        """The name of the file it shows, or nothing."""
        first = _FILE.match(self.text.split("\n", 1)[0])
        return first[1] if first else ""

    @property
    def commands(self) -> list[Command]:
        """Its commands in a shell, none for other languages."""
        lines = self.text.split("\n")
        if self.language == "console":
            lines = [line[2:] if line.startswith("$ ") else "" for line in lines]
        elif self.language in WORKFLOWS:
            steps = map(_STEP.match, lines)
            lines = [step[1] if step else "" for step in steps]
        elif self.language not in SHELL:
            return []
        return list(_joined(lines, self.line))


def pages() -> list[str]:
    """README.md and every page of docs, from the root."""
    return ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]


def read_page(file: str) -> tuple[list[Block], list[str]]:
    """Return the blocks of a page of this repository, and what is wrong with them."""
    return read_blocks(file, (ROOT / file).read_text(encoding="utf-8"))


def read_blocks(file: str, text: str) -> tuple[list[Block], list[str]]:
    """Return the fenced blocks of ``text``, and a line for every wrong mark and for commands that nothing would try."""
    blocks: list[Block] = []
    wrong: list[str] = []
    marks: dict[str, str] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if comment := _COMMENT.match(line):
            if mark := _MARK.match(comment[1]):
                marks[mark[1]] = mark[2]
            continue
        if fence := _FENCE.match(line):
            start = number
            while number < len(lines) and not re.fullmatch(rf" *{re.escape(fence[2])}{fence[2][0]}* *", lines[number]):
                number += 1
            if number == len(lines):
                wrong.append(f"{file}:{start}: the block does not end")
            body = "\n".join(row.removeprefix(fence[1]) for row in lines[start:number])
            number += 1
            complaints = list(_wrong_marks(marks))
            wrong += [f"{file}:{start}: {complaint}" for complaint in complaints]
            block = Block(file, start + 1, fence[3], body)
            blocks.append(block if complaints else _marked(block, marks))
            if not fence[3] and any(_COMMAND.match(row) for row in body.split("\n")):
                wrong.append(f"{file}:{start}: a block of commands without a language")
        elif marks:
            wrong.append(f"{file}:{number}: a mark stands on the line above its block")
        elif line.startswith("    ") and _COMMAND.match(line.strip()):
            wrong.append(f"{file}:{number}: indented commands; fence them and give a language")
        marks = {}
    return blocks, wrong


def quoted(text: str) -> Iterator[Command]:
    """Yield the code that begins with ``repro`` within sentences of ``text``, outside its blocks."""
    outside = re.sub(r"^ *(`{3,}|~{3,}).*?^ *\1", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)
    for match in re.finditer(r"(?<!`)`([^`]*\brepro [^`]+)`", outside):
        if match[1].count("'") % 2 == match[1].count('"') % 2 == 0:
            yield Command(outside.count("\n", 0, match.start()) + 1, " ".join(match[1].split()))


def _wrong_marks(marks: dict[str, str]) -> Iterator[str]:
    for key, value in marks.items():
        if key == "exits":
            if not value.isdecimal():
                yield f"exits: {value} is no exit code"
            continue
        if key not in MARKS:
            yield f"the mark {key} is none of {', '.join([*MARKS, 'exits'])}"
        elif unknown := [v for v in _SEPARATOR.split(value) if v not in MARKS[key]]:
            yield f"{key}: {', '.join(unknown)} is none of {', '.join(MARKS[key])}"


def _marked(block: Block, marks: dict[str, str]) -> Block:
    needs, takes = (frozenset(_SEPARATOR.split(marks[key])) if key in marks else frozenset() for key in MARKS)
    return dataclasses.replace(block, needs=needs, takes=takes, exits=int(marks.get("exits", 0)))


# -- lines of a shell --------------------------------------------------------------------------------------------------
def _joined(lines: list[str], first: int) -> Iterator[Command]:
    held, start = "", first
    for number, line in enumerate(lines, first):
        start = start if held else number
        held += without_comment(line).strip()
        if held.endswith("\\"):
            held = held[:-1].rstrip() + " "
            continue
        if held:
            yield Command(start, held)
        held = ""


def without_comment(line: str) -> str:
    """Cut ``line`` where a comment of a shell begins."""
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at]
    return line


def _simple_commands(text: str) -> Iterator[list[str]]:
    """Split at what joins commands; quotes are removed, and so are brackets around what may be left out."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    for word in lexer:
        if set(word) <= set(";&|"):
            yield words
            words = []
        else:
            words.append(re.sub(r"^\[|\]$", "", word))
    yield words
