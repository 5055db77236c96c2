"""Captions as a training set: images with sets of classes, the noun phrases of their captions, and no masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from repro.captions.convert import convert_into
from repro.captions.labels import PROVENANCE, iterate_labels, load_vocabulary
from repro.datasets.data_set import DataSet, Split
from repro.datasets.registry import add_set
from repro.errors import UsageError, command
from repro.files import read_json
from repro.hashing import digest
from repro.sources import sources as project_sources

if TYPE_CHECKING:
    from repro.captions.image_set import LabelSet

PREPARED = "captions"
"""Folder of a cache in which labels are made of sources that a training names."""
_CODE = ("repro.captions.image_set:crop_square", "repro.training.named_crops:NamedCrops")
"""What makes training crops of the images: a training by other code is another training."""


@dataclasses.dataclass(frozen=True)
class LabelFolder:
    """Labels that ``repro data captions`` wrote, the folder their images lie in, and the fewest records of a label."""

    folder: Path
    images: Path
    min_count: int = 1

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The labels, the most frequent first. Raises DataError where the folder holds no finished ones."""
        return tuple(load_vocabulary(self.folder, self.min_count))

    @cached_property
    def content(self) -> str:
        """What identifies the labels, where in a source each image lies, and which labels are used."""
        facts = read_json(self.folder / PROVENANCE)
        code = project_sources().source(list(_CODE)).digest
        return digest([facts["labels_digest"], facts["vocabulary_sha256"], self.min_count, code], 10)

    def open(self, side: int, seed: int) -> LabelSet:
        """Open the images for square crops of ``side`` pixels.

        Raises UsageError where the first image is not below :attr:`images`, DataError where no image has a label.
        """
        from repro.captions.image_set import LabelSet

        first = next(iterate_labels(self.folder, self.min_count), None)
        name = "" if first is None else first.archive or first.image
        if first is not None and "://" not in name and not (self.images / name).is_file():
            raise UsageError(
                f"{self.images} is not the folder of the images that {self.folder} has labels of",
                expected=f"{name} in it",
                found="no such file",
                mend=f"name the folder: {command('--images', 'DIR')}",
            )
        return LabelSet(self.folder, self.images, side, seed, self.min_count)


@dataclasses.dataclass(frozen=True)
class CaptionSet(DataSet):
    """Labels of captions as what a method is trained on. Its classes are noun phrases; nothing is evaluated on it."""

    supervision = "image labels"

    labels: LabelFolder = LabelFolder(Path(), Path())

    @property
    def content(self) -> str:
        return self.labels.content

    @property
    def named_by(self) -> tuple[object, ...]:
        few = ("--min-count", self.labels.min_count) if self.labels.min_count > 1 else ()
        return ("--captions", self.labels.folder, "--images", self.labels.images, *few)

    def class_names(self) -> tuple[str, ...]:
        return self.labels.vocabulary

    def class_kinds(self) -> tuple[str, ...]:
        return ("thing",) * len(self.labels.vocabulary)

    def prompt_names(self) -> tuple[str, ...]:
        return self.labels.vocabulary


def caption_set(folder: Path, images: Path | None = None, min_count: int = 1) -> CaptionSet:
    """Return the labels in ``folder`` as a training set; ``images`` (default: the folder's own) is where images lie.

    Raises DataError where ``folder`` holds no finished labels, or none in ``min_count`` records.
    """
    labels = LabelFolder(folder.resolve(), (images or folder.parent).resolve(), min_count)
    count = len(labels.vocabulary)
    made_of = ", ".join(s["name"] for s in read_json(folder / PROVENANCE)["sources"][:3])
    return CaptionSet(
        id=f"captions-{labels.content}",
        title=f"captions of {made_of}, {count} noun phrases",
        vocabulary="",
        num_images=0,
        source=folder.name,
        folder="",
        splits=(Split("train", 0, "", ()),),
        labels=labels,
    )


def add_caption_set(
    source: Path,
    images: Path | None = None,
    min_count: int = 1,
    *,
    cache: Path | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Make captions known to this process as a training set and return its id, for ``train_set`` of a profile.

    ``source`` is a folder that ``repro data captions`` wrote; or what that reads, of which labels are then made below
    ``cache`` first, and whose images lie beside it unless ``images`` says where. Raises what :func:`caption_set` and
    :func:`repro.captions.convert.convert_into` raise.
    """
    if (source / PROVENANCE).is_file() or cache is None:
        return add_set(caption_set(source, images, min_count))
    beside = source if source.is_dir() else source.parent
    folder = convert_into(cache / PREPARED, source, jobs, progress)
    return add_set(caption_set(folder, images or beside, min_count))
