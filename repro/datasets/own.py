"""A user's own data set: what a file that describes one makes of its images, masks and classes (docs/own-data.md)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.data_set import VOID, DataSet, OutsideVocabularyError, Split
from repro.datasets.listing import SourcePair, keyed_below
from repro.datasets.vocabulary import KINDS, first_synonym
from repro.errors import DataError, UsageError, command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE = "docs/own-data.md"
LARGEST = 2**16
"""Mask values are below it."""


@dataclasses.dataclass(frozen=True)
class OwnSet(DataSet):
    """A set as a file describes it. ``place`` is the file, ``below`` the folder that :attr:`folder` lies in."""

    place: Path = Path()
    below: Path = Path()
    words: tuple[str, ...] = ()
    things: tuple[bool, ...] = ()
    endings: tuple[str, str] = (".jpg", ".png")
    offset: int = 0
    ignored: tuple[int, ...] = (VOID,)

    @property
    def root(self) -> Path:
        return self.below

    @property
    def described_by(self) -> Path:
        return self.place

    @property
    def instructions(self) -> str:  # type: ignore[override]
        return correction(self.place)

    def image_files(self, folder: Path) -> dict[str, Path]:
        return self._files(folder, self.endings[0])

    def mask_files(self, folder: Path) -> dict[str, Path]:
        return self._files(folder, self.endings[1])

    def _files(self, folder: Path, ending: str) -> dict[str, Path]:
        found, twice = keyed_below(folder, ending)
        if twice is not None:
            raise DataError(
                f"{self.id}: two files of {folder} have one name",
                expected=f"each image's name once, before {ending}",
                found=f"{twice[0]} and {twice[1]}",
                mend=self.instructions,
            )
        return found

    def list_sources(self, folder: Path, part: Split) -> list[SourcePair]:
        images = self.image_files(self.need(folder / part.source_images))
        masks = self.mask_files(self.need(folder / part.source_labels[0]))
        listed = self.listed_keys(folder, part) if part.ids else None
        keys = images.keys() | masks.keys() if listed is None else listed
        return [
            SourcePair(
                key,
                images.get(key, folder / part.source_images / f"{key}{self.endings[0]}"),
                masks.get(key, folder / part.source_labels[0] / f"{key}{self.endings[1]}"),
            )
            for key in keys
        ]

    def mask_values(self) -> tuple[int, ...]:
        labelled = range(self.offset, self.offset + len(self.words))
        return tuple(v for v in (*labelled, *self.ignored) if v <= VOID)

    def read_source(self, source: SourcePair) -> NDArray[Any]:
        from repro.datasets.images import read_label

        return self.convert_mask(read_label(source.label))

    def convert_mask(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return the label of a mask: values less ``offset``, ignored ones as such. (H, W) -> (H, W)."""
        table = self._table()
        label: NDArray[np.int32] = table[mask.astype("int64").clip(0, LARGEST - 1)]
        if (wrong := mask[(label < 0) | (mask < 0) | (mask >= LARGEST)]).size:
            last = self.offset + len(self.words) - 1
            ignored = ", ".join(map(str, self.ignored))
            raise OutsideVocabularyError(
                int(wrong.min()),
                f"{self.offset}..{last}" + (f" or {ignored} (ignored)" if ignored else ""),
                f"{self.place} says offset = {self.offset} and {len(self.words)} classes",
            )
        return label.astype(self.label_dtype)

    def _table(self) -> NDArray[np.int32]:
        import numpy as np

        table = np.full(LARGEST, -1, np.int32)
        table[self.offset : self.offset + len(self.words)] = np.arange(len(self.words))
        table[list(self.ignored)] = self.ignore_label
        return table

    def class_names(self) -> tuple[str, ...]:
        return self.words

    def class_kinds(self) -> tuple[str, ...]:
        return tuple(KINDS[not thing] for thing in self.things)

    def prompt_names(self) -> tuple[str, ...]:
        return tuple(map(first_synonym, self.words))

    def split(self, name: str | None = None) -> Split:
        if name in {None, *(s.name for s in self.splits)}:
            return super().split(name)
        raise UsageError(
            f"{self.id} has no part {name}",
            expected=f"a section [{name}] with images and masks in {self.place}",
            found=", ".join(s.name for s in self.splits),
            mend=self.instructions,
        )


def correction(place: Path) -> str:
    """Say what mends a description in the file ``place``."""
    return f"correct {command(place)} ({PAGE} shows one)"
