"""Thing or stuff of every class name the package knows (Table 3, III); without torch, for addresses of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from disa.options import DisaOptions
from repro.datasets.vocabulary import load_vocabulary, vocabulary_names

TAXONOMY_FIRST = "coco_stuff171"
"""The vocabulary that decides where vocabularies differ on a name (docs/taxonomy.md): the one that is trained on."""


@cache
def known_kinds() -> Mapping[str, str]:
    """Return ``thing`` or ``stuff`` of every class name and synonym, folded, of the package's vocabularies."""
    kinds: dict[str, str] = {}
    for vocabulary in sorted(vocabulary_names(), key=lambda name: (name != TAXONOMY_FIRST, name)):
        loaded = load_vocabulary(vocabulary)
        for name, kind in zip(loaded.names, loaded.kinds, strict=True):
            for synonym in name.split(", "):
                kinds.setdefault(fold(synonym), kind)
    return kinds


def things(classes: Sequence[str], kinds: Mapping[str, str] | None = None) -> list[bool]:
    """Return True where a class is a thing; a name of no known kind is one.

    ``kinds`` maps folded names to ``thing`` or ``stuff`` (default: :func:`known_kinds`).
    """
    kinds = known_kinds() if kinds is None else kinds
    return [kinds.get(fold(name), "thing") == "thing" for name in classes]


def class_facts(options: DisaOptions, classes: Sequence[str]) -> list[bool] | None:
    """Return what DiSa reads of ``classes`` beside their names: their kinds where tokens are split by them."""
    return things(classes) if options.splits == "class_level" else None


def fold(name: str) -> str:
    """Return a name as it is compared."""
    return name.strip().casefold()
