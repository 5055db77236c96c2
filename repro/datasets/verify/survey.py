"""What lies in the folders of a prepared split, told from names alone: complete, missing and stray files."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from repro.datasets.benchmarks import Benchmark, Split
from repro.datasets.layout import files_by_key, prepared_images, source_pairs, unlabelled
from repro.datasets.prepare.marker import Marker
from repro.errors import DataError


@dataclasses.dataclass(frozen=True)
class Survey:
    """Labels and images by key (file name without ending).

    ``listed`` are the keys the sources list, None where the sources are gone; ``dropped`` those of them that have no
    label on purpose; ``strangers`` visible files of the label folder that are no labels.
    """

    labels: Mapping[str, Path]
    images: Mapping[str, Path]
    listed: frozenset[str] | None
    dropped: frozenset[str]
    strangers: tuple[Path, ...]

    @property
    def missing(self) -> list[str]:
        """Listed keys that should have a label and have none."""
        return sorted((self.listed or frozenset()) - self.labels.keys() - self.dropped)

    @property
    def orphans(self) -> list[str]:
        """Keys of labels the sources do not list."""
        return [] if self.listed is None else sorted(self.labels.keys() - self.listed)

    @property
    def imageless(self) -> list[str]:
        """Keys of listed labels without an image."""
        return sorted(self.labels.keys() - self.images.keys() - set(self.orphans))

    @property
    def size(self) -> int:
        """Images of the split: those the sources list, or, where they are gone, those with a label or dropped."""
        return len(self.labels) + len(self.dropped) if self.listed is None else len(self.listed)


def survey(
    benchmark: Benchmark, data_root: Path, part: Split, marker: Marker | None, faults: list[DataError]
) -> Survey:
    """Look into the folders of a split; nothing is raised for what is wrong with them.

    A list that cannot be read counts as gone, and the error that says why is added to ``faults``. Masks are read only
    for listed images without a label, where the rule drops images without a labelled pixel.
    """
    folder = data_root / benchmark.folder
    labels = files_by_key(folder / part.labels, benchmark.label_suffix)
    listed = None
    try:
        listed = _listed(benchmark, data_root, part)
    except DataError as error:
        faults.append(error)
    dropped = set(marker.dropped) if marker is not None else set()
    for key in sorted((listed or set()) - labels.keys() - dropped) if labels else ():
        with contextlib.suppress(DataError):  # a damaged mask: the label is missing, which is what will be reported
            dropped |= unlabelled(benchmark, data_root, part, [key])
    here = folder / part.labels
    names = sorted(entry.name for entry in os.scandir(here)) if labels else []
    strangers = [here / n for n in names if not n.endswith(benchmark.label_suffix) and not n.startswith(".")]
    return Survey(
        labels,
        prepared_images(benchmark, folder / part.images),
        None if listed is None else frozenset(listed),
        frozenset(dropped),
        tuple(strangers),
    )


def _listed(benchmark: Benchmark, data_root: Path, part: Split) -> set[str] | None:
    """Return the keys the labels are made of: those of a shared file, whatever the list beside it says."""
    if benchmark.shared_annotations:
        with contextlib.suppress(DataError):
            return {source.key for source in source_pairs(benchmark, data_root, part.name)}
    return benchmark.listed_keys(data_root / benchmark.folder, part)
