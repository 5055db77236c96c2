"""Which classes of a benchmark the training set names as well: seen against unseen classes (docs/taxonomy.md).

Two classes are one where any synonym of the one, folded, is any synonym of the other. Names are all that is compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from repro.datasets.benchmarks import BACKGROUND, Benchmark
from repro.datasets.vocabulary import first_synonym, load_vocabulary

TRAINED_ON = "coco_stuff171"
"""Vocabulary of the training set of every method that is trained with masks."""
SEEN, UNSEEN = "seen", "unseen"
SAME_WORDS = (
    ("airplane", "aeroplane"),
    ("cell phone", "mobile phone", "cellular telephone"),
    ("couch", "sofa"),
    ("donut", "doughnut"),
    ("hair drier", "hair dryer"),
    ("motorcycle", "motorbike"),
    ("pavement", "sidewalk"),
    ("playingfield", "playing field"),
    ("railroad", "railway"),
    ("refrigerator", "fridge", "icebox"),
    ("remote", "remote control"),
    ("shelf", "shelves"),
    ("skis", "ski"),
    ("stairs", "stair"),
    ("sports ball", "ball"),
    ("tv", "tvmonitor", "television"),
    ("window-blind", "blind", "window blinds"),
)
"""Words of one meaning in different spellings or dialects, or in the singular and plural, that folding cannot know."""
_FULLER = {"ade150": "ade847"}
"""Vocabularies that list first synonyms only, and the one of the same data that lists all."""


def fold(word: str) -> str:
    """``word`` in small letters and digits alone, without COCO-Stuff's endings ``-other`` and ``-stuff``."""
    return _REPRESENTATIVE.get(_letters(word), _letters(word))


def _letters(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.sub(r"-(other|stuff)$", "", word.strip().lower()))


_REPRESENTATIVE = {_letters(word): _letters(words[0]) for words in SAME_WORDS for word in words}


def seen_names(names: Sequence[str], trained: Iterable[str]) -> tuple[bool, ...]:
    """Of each of ``names`` (synonyms after commas), whether ``trained`` has a class of that name."""
    known = {fold(word) for name in trained for word in name.split(",")}
    return tuple(any(fold(word) in known for word in name.split(",")) for name in names)


def class_exposure(benchmark: Benchmark) -> tuple[str, ...]:
    """Of each evaluated class "seen" or "unseen"; "" for a folded background, which is many words."""
    return _exposure(_full_names(benchmark))


def class_groups(benchmark: Benchmark) -> tuple[str, ...]:
    """Of each evaluated class its kind and whether it is seen, as words: ``thing seen``, ``stuff``, .."""
    pairs = zip(benchmark.class_kinds(), class_exposure(benchmark), strict=True)
    return tuple(" ".join(filter(None, pair)) for pair in pairs)


def _full_names(benchmark: Benchmark) -> tuple[str, ...]:
    fuller = _FULLER.get(benchmark.vocabulary)
    if fuller is None:
        return tuple(benchmark.class_names())
    known = {first_synonym(name): name for name in reversed(load_vocabulary(fuller).names)}
    return tuple(known.get(name.strip(), name) for name in benchmark.class_names())


@cache
def _exposure(names: tuple[str, ...]) -> tuple[str, ...]:
    found = seen_names(names, load_vocabulary(TRAINED_ON).names)
    words = (SEEN if seen else UNSEEN for seen in found)
    return tuple("" if name == BACKGROUND else word for name, word in zip(names, words, strict=True))
