"""Classes a model cannot tell apart, because it reads the same tokens for both, and texts that it truncates.

A tokenizer folds case, composes accents, turns typographic marks into plain ones and reads 77 tokens at most; a method
may prompt a part of a name only. Of classes with equal tokens only the first can ever be predicted.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from repro.clip.tower import ClipTower
from repro.errors import UsageError

if TYPE_CHECKING:
    from repro.methods.interface import Method

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a model reads of a list of classes: ``same`` are groups of indices of classes that are one to it, ``cut``
    those whose text is longer than it can read, ``texts`` the texts of each class."""

    same: tuple[tuple[int, ...], ...]
    cut: tuple[int, ...]
    texts: tuple[tuple[str, ...], ...]


def read_classes(method: Method, classes: Sequence[str]) -> Reading:
    """Return what ``method`` reads of ``classes``; nothing is the same or cut for a method without a CLIP tower."""
    texts = [tuple(own) for own in method.texts(classes)]
    tower = next((part for part in method.modules() if isinstance(part, ClipTower)), None)
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    cut = []
    for index, own in enumerate(texts if tower is not None else ()):
        found = tower.tokens(own)  # type: ignore[union-attr]
        groups.setdefault(tuple(tokens for tokens, _ in found), []).append(index)
        if any(long for _, long in found):
            cut.append(index)
    same = tuple(tuple(group) for group in groups.values() if len(group) > 1)
    return Reading(same, tuple(cut), tuple(texts))


def refuse_same(reading: Reading, classes: Sequence[str]) -> None:
    """Raise UsageError where two of ``classes`` are one to the model: one of them could never be predicted."""
    if not reading.same:
        return
    groups = [
        " and ".join(f"{classes[i]!r} (index {i})" for i in group)
        + f" are both prompted as {reading.texts[group[0]][0]!r}"
        for group in reading.same[:_SHOWN]
    ]
    more = f"; and {len(reading.same) - _SHOWN} more groups" if len(reading.same) > _SHOWN else ""
    raise UsageError(
        "classes that the model cannot tell apart: all but the first could never be predicted",
        expected="names that differ in what the tokenizer reads of them",
        found="; ".join(groups) + more,
        mend="leave one of each out, or give it another name",
    )


def same_note(reading: Reading, classes: Sequence[str]) -> str:
    """Return one sentence that says which classes are one to the model; empty where none are."""
    if not reading.same:
        return ""
    groups = "; ".join(f"{classes[group[0]]} ({', '.join(map(str, group))})" for group in reading.same)
    count = len(reading.same)
    return f"{count} prompts stand for several classes each, of which only the first can be predicted: {groups}"


def cut_note(reading: Reading, classes: Sequence[str]) -> str:
    """Return one sentence that says whose text is longer than the model reads; empty where none is."""
    if not reading.cut:
        return ""
    names = ", ".join(repr(textwrap.shorten(classes[i], 40)) for i in reading.cut[:_SHOWN])
    more = f" and {len(reading.cut) - _SHOWN} more" if len(reading.cut) > _SHOWN else ""
    return f"the model reads only the beginning of the text of {names}{more}: it is cut at its longest length"
