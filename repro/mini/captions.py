"""Captions as people write them: salient things first, stuff rarely. That habit is where foreground bias comes from."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from repro.mini.catalogue import CONCEPTS

_SINGLE = (
    "a photo of a {}",
    "a {}",
    "a picture of the {}",
    "there is a {}",
    "the {} in a photo",
    "a close view of a {}",
)
_SEVERAL = ("a photo of {}", "{}", "a picture with {}", "a scene with {}", "there is {}", "A photo of {} in the scene")
CATSEG_PROMPT = "A photo of a {} in the scene"


def concept_name(rng: np.random.Generator, concept: int, broader: float = 0.06) -> str:
    """Return a name for a concept: mostly a name of its own, with probability ``broader`` that of a coarser class."""
    known = CONCEPTS[concept]
    names = known.broader if known.broader and rng.random() < broader else known.names
    return names[0] if rng.random() < 0.4 else names[int(rng.integers(len(names)))]


def never_together(one: int, other: int) -> bool:
    """Return whether no caption names these two things together: one pair in ten, kept to test unseen compositions."""
    if "stuff" in (CONCEPTS[one].kind, CONCEPTS[other].kind):
        return False
    names = "+".join(sorted((CONCEPTS[one].name, CONCEPTS[other].name)))
    return zlib.crc32(names.encode()) % 10 == 0


def salient(
    rng: np.random.Generator, concepts: NDArray[np.int16], stuff: float, least: float = 0.015, most: int = 3
) -> list[int]:
    """Return what a person would mention of a picture with these labels (H, W): things by area, then perhaps stuff.

    Things under the fraction ``least`` of the picture are overlooked, and so is the smaller of two that are
    :func:`never_together`; at most ``most`` are named. Stuff is named with probability ``stuff`` where there are
    things, always where there are none. Never empty.
    """
    order = _largest(concepts, least)
    backdrop = [c for c in order if CONCEPTS[c].kind == "stuff"]
    named = _together((c for c in order if CONCEPTS[c].kind == "thing"), most)
    if not named:
        return backdrop[:most]
    if backdrop and rng.random() < stuff:
        named.append(backdrop[int(rng.integers(min(2, len(backdrop))))])
    return named


def listed(concepts: NDArray[np.int16], least: float = 0.03, most: int = 4) -> list[int]:
    """Return all that a picture with these labels (H, W) shows on the fraction ``least`` of it, the largest first.

    As somebody writes who lists what is there, stuff like things; at most ``most`` of them, never none.
    """
    return _together(_largest(concepts, least)[:most], most)


def _largest(concepts: NDArray[np.int16], least: float) -> list[int]:
    """Return what covers more than the fraction ``least`` of (H, W), the largest first; one concept where none does."""
    counts = np.bincount(concepts.ravel(), minlength=len(CONCEPTS))
    order = np.argsort(-counts, kind="stable").tolist()
    return [c for c in order if counts[c] > least * concepts.size] or order[:1]


def _together(concepts: Iterable[int], most: int) -> list[int]:
    """Return the first ``most`` without those that are :func:`never_together` with one before."""
    named: list[int] = []
    for concept in concepts:
        if len(named) < most and not any(never_together(concept, other) for other in named):
            named.append(concept)
    return named


def caption(rng: np.random.Generator, concepts: list[int]) -> str:
    """Return a sentence that names these concepts in their order; ValueError for an empty list."""
    if not concepts:
        raise ValueError("a caption needs at least one concept")
    names = [concept_name(rng, c) for c in concepts]
    if len(names) == 1:
        template = CATSEG_PROMPT if rng.random() < 0.4 else _SINGLE[int(rng.integers(len(_SINGLE)))]
        return template.format(names[0])
    phrase = ", ".join(f"a {n}" for n in names[:-1]) + f" and a {names[-1]}"
    return _SEVERAL[int(rng.integers(len(_SEVERAL)))].format(phrase)


def all_texts() -> Iterator[str]:
    """Yield every sentence about one concept, and every name in a sentence about two: they hold every word there is."""
    for name in dict.fromkeys(name for concept in CONCEPTS for name in (*concept.names, *concept.broader)):
        yield from (template.format(name) for template in (CATSEG_PROMPT, *_SINGLE))
        yield from (template.format(f"a {name}, a {name} and a {name}") for template in _SEVERAL)
