"""``repro`` as a user talks to it: a call that is refused, the way out it printed, and where that leads."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.errors import ReproError

FOLLOWS = pytest.mark.follows
_MARK = "  fix:      "


def way(place: str, *values: Any, slow: bool = False) -> Any:
    """A case of a table that follows the mend of ``place``."""
    marks = [FOLLOWS(place), *([pytest.mark.slow] if slow else [])]
    return pytest.param(*values, marks=marks, id=place.rpartition(":")[0].rpartition(".")[2] + place.rpartition(":")[2])


def ours(text: str, **real: object) -> list[str]:
    """The words after ``repro`` of the first command of ours in a mend; ``real`` fills words that stand for others."""
    begin = text.find("repro ")
    words: list[str] = []
    for word in shlex.split(text[begin:].replace("\n", " "))[1:] if begin >= 0 else []:
        if word in ("or", "and", "then", "names", "trains") or word.startswith("("):
            break
        words.append(str(real.get(word.rstrip(",;"), word.rstrip(",;"))))
        if word.endswith((",", ";")):
            break
    assert words, f"no command in: {text}"
    return words


def options(text: str, **real: object) -> list[str]:
    """The words of a mend from the first option on."""
    words = shlex.split(text)
    begin = next(i for i, w in enumerate(words) if w.startswith("--"))
    return [str(real.get(w.rstrip(",;"), w.rstrip(",;"))) for w in words[begin:]]


class Talk:
    """Calls of ``repro``; keeps what the last one said, and the message and the mend of the last refusal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.error = self.message = self.mend = ""

    def __call__(self, *words: object) -> int:
        self._capsys.readouterr()
        try:
            code = main([str(w) for w in words])
        except SystemExit as stop:  # argparse ends so, also after --help
            code = int(str(stop.code or 0))
        captured = self._capsys.readouterr()
        self.out, self.error = captured.out, captured.err
        return code

    def refused(self, *words: object) -> str:
        """Make a call that is refused; returns the mend of its message."""
        code = self(*words)
        assert code not in (0, 75, 130), self.out + self.error
        said = self.error.partition("repro: error: ")[2] or self.error
        self.message = said.partition("\n")[0]
        assert _MARK in said, said
        self.mend = said.partition(_MARK)[2].strip()
        return self.mend

    def refused_by(self, call: Callable[[], Any]) -> str:
        """The same for a function of the library."""
        with pytest.raises(ReproError) as caught:
            call()
        self.message, self.mend = caught.value.message.partition("\n")[0], caught.value.mend or ""
        assert self.mend
        return self.mend

    def goes_on(self, *words: object) -> None:
        """Make a call that succeeds, or says something else than the last refusal."""
        code = self(*words)
        said = self.out + self.error
        assert code == 0 or (said.strip() and self.message not in said), said

    def succeeds(self, *words: object) -> str:
        """Make a call that succeeds; returns what it printed."""
        assert self(*words) == 0, self.error
        return self.out

    def follow(self, **real: object) -> None:
        """Give the command in the last mend."""
        self.goes_on(*ours(self.mend, **real))


def goes_on(talk: Talk, call: Callable[[], Any]) -> None:
    """Make a call of the library that succeeds, or is refused with another message than the last."""
    try:
        call()
    except ReproError as error:
        same = error.message.partition("\n")[0] == talk.message
    else:
        same = False
    assert not same


def page(mend: str) -> str:
    """The text of the page of docs/ that a mend names."""
    from mend_places import ROOT

    name = next(w.strip(".,;()") for w in mend.split() if "docs/" in w)
    return (ROOT / Path(name)).read_text()
