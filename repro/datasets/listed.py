"""A data set whose classes are a list of names: one that no module here describes (a catalogue of another library)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from repro.datasets.data_set import VOID, DataSet, Split


@dataclasses.dataclass(frozen=True)
class ListedSet(DataSet):
    """Classes by ``names`` in label order and their ``kinds``; prompted by the first synonym ("couch, sofa")."""

    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def class_names(self) -> tuple[str, ...]:
        return self.names

    def class_kinds(self) -> tuple[str, ...]:
        return self.kinds

    def prompt_names(self) -> tuple[str, ...]:
        return tuple(name.split(",")[0].strip() for name in self.names)


def listed_set(
    name: str, names: Sequence[str], source: str, *, images: int, ignored: int = VOID, things: Sequence[str] = ()
) -> ListedSet:
    """Return the set ``name`` of ``images`` images with the classes ``names``; all but ``things`` are stuff."""
    return ListedSet(
        id=name,
        title=f"{name} of {source}",
        vocabulary=name,
        num_images=images,
        source=source,
        folder="",
        splits=(Split("test", images, "", ()),),
        ignore_label=ignored,
        names=tuple(names),
        kinds=tuple("thing" if each in things else "stuff" for each in names),
    )


def of_record(record: Mapping[str, Any]) -> ListedSet:
    """Return the set that a finished evaluation was made on, as far as its record says; its classes count as stuff."""
    names = [row["name"] for row in record["per_class"]]
    return listed_set(record["benchmark"], names, "an evaluation", images=record["num_images"])
