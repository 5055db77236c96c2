"""The one family of errors a user sees: what was expected, what was found, the command that mends it.

Everything that can go wrong because of the user's input or machine raises a :class:`ReproError`; the command line
prints it without a traceback and exits with its ``exit_code``. Any other exception is a defect of the project.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePath
from typing import TypeVar

T = TypeVar("T")


class ReproError(Exception):
    """Base class; ``exit_code`` is stable and part of the interface (see ``repro --help``).

    ``message`` says what is wrong, ``expected`` and ``found`` make it checkable, ``mend`` is the command that helps.
    """

    exit_code = 2

    def __init__(self, message: str, *, expected: object = None, found: object = None, mend: str | None = None) -> None:
        self.message, self.expected, self.found, self.mend = message, expected, found, mend
        super().__init__(message)

    def __str__(self) -> str:
        lines = [self.message]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.found is not None:
            lines.append(f"  found:    {self.found}")
        if self.mend is not None:
            lines.append(f"  fix:      {self.mend}")
        return "\n".join(lines)


class UsageError(ReproError):
    """The command line or a configuration asks for something that cannot be (unknown name, bad option)."""

    exit_code = 2


class DataError(ReproError):
    """Missing, half-prepared or corrupt data: folders, images, masks, label values."""

    exit_code = 3


class WeightsError(ReproError):
    """Missing, corrupt or wrong weights: an absent file, another architecture, another method."""

    exit_code = 4


class ResourceError(ReproError):
    """The machine lacks something: disk space, memory, a GPU, an optional package, write permission."""

    exit_code = 5


class RunError(ReproError):
    """A run failed or its folder is in an impossible state (locked, divergent, of another version)."""

    exit_code = 6


class Preempted(KeyboardInterrupt):
    """A scheduler asked the command to end (:mod:`repro.preemption`); the same command continues where it stopped.

    Its exit code is EX_TEMPFAIL: "try again", for launchers that requeue.
    """

    exit_code = 75


def unknown_name(kind: str, name: str, known: Iterable[str], *, mend: str = "repro list") -> UsageError:
    """Return a :class:`UsageError` for an unknown ``kind`` called ``name``, with the nearest known names suggested."""
    names = sorted(known)
    folded = {n.casefold(): n for n in names}
    close = [folded[c] for c in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return UsageError(f"unknown {kind} {name!r}{hint}", expected=f"one of {', '.join(names)}", found=name, mend=mend)


def check_known(kind: str, names: Iterable[str], known: Collection[str], *, mend: str = "repro list") -> None:
    """Raise :func:`unknown_name` for the first of ``names`` that is not among the ``known`` ones."""
    for name in names:
        if name not in known:
            raise unknown_name(kind, name, known, mend=mend)


def known_as(kind: str, name: str, known: Mapping[str, T], *, mend: str = "repro list") -> T:
    """Return what is called ``name`` among ``known``; raises as :func:`check_known`."""
    check_known(kind, [name], known, mend=mend)
    return known[name]


def command(*words: object) -> str:
    """Join the words to one line that can be pasted into a shell: everything a shell would read otherwise is quoted.

    Paths are given as ``Path``, so that one that begins with a dash is not taken for an option. Words in
    capitals (``DIR``, ``FILE``) stand for what the user must name. Every command in a message is made here.
    """
    return " ".join(shlex.quote(_word(word)) for word in words)


def _word(word: object) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, PurePath) and text.startswith("-") else text
