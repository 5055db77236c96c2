"""Files that describe a user's own data set (docs/own-data.md).

The variable ``REPRO_DATASETS`` of the environment lists such files, so that every process of a command knows the sets.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen

from repro.datasets.data_set import VOID, VOID16, DataSet, Split
from repro.datasets.own import LARGEST, OwnSet, correction
from repro.datasets.vocabulary import KINDS
from repro.errors import UsageError, unknown_name
from repro.values import Number, converted, type_hints

VARIABLE = "REPRO_DATASETS"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Names = Annotated[tuple[str, ...], MinLen(1)]


@dataclasses.dataclass(frozen=True)
class Part:
    """Images and masks of one part, folders below the root. ``list``: a file of their names; all files without it."""

    images: str
    masks: str
    list: str = ""


@dataclasses.dataclass(frozen=True)
class Described:
    """What the file says. Masks hold ``offset`` .. ``offset`` + classes - 1, and ``ignore`` where nothing is labelled
    (None: 255 where that is no class).

    ``root`` is relative to the file, all else to the root. ``classes`` are names in label order, or a file with one a
    line, or a CSV with the columns ``name`` and, if there is one, ``kind`` (thing, stuff); ``stuff`` names those that
    are stuff where no file says so.
    """

    classes: Names | str
    id: str = ""
    title: str = ""
    root: str = "."
    image_suffix: str = ".jpg"
    mask_suffix: str = ".png"
    offset: Number = 0
    ignore: tuple[Number, ...] | Number | None = None
    stuff: tuple[str, ...] = ()


def own_sets() -> dict[str, DataSet]:
    """Return the sets of the files that the environment lists, by id."""
    return {found.id: found for found in map(read_own_set, map(Path, own_files()))}


def own_files() -> list[str]:
    """Return the files that the environment lists."""
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]


def read_own_set(place: Path) -> OwnSet:
    """Return the set that the file ``place`` describes; UsageError where it does not."""
    try:
        return _read(place, place.stat().st_mtime_ns)
    except OSError as error:
        raise _wrong(place, "cannot be read", "a TOML file", error.strerror) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(place, "is no TOML file", "key = value, a line each", error) from error


def _wrong(place: Path, problem: str, expected: object, found: object) -> UsageError:
    return UsageError(f"{place} {problem}", expected=expected, found=found, mend=correction(place))


@cache
def _read(place: Path, _changed: int) -> OwnSet:
    raw = tomllib.loads(place.read_text(encoding="utf-8"))
    own_part = {key: raw.pop(key) for key in ("images", "masks", "list") if key in raw}
    sections = {name: raw.pop(name) for name in [k for k, v in raw.items() if isinstance(v, dict)]}
    parts = {**({"val": own_part} if own_part else {}), **sections}
    said = Described(**_values(place, Described, raw))
    root = (place.parent / said.root).resolve()
    words, things = _classes(place, root, said)
    classes = range(said.offset, said.offset + len(words))
    ignored = ((VOID,) if VOID not in classes else ()) if said.ignore is None else said.ignore
    ignored = (ignored,) if isinstance(ignored, int) else ignored
    wide = len(words) > VOID
    own = OwnSet(
        id=said.id or place.stem,
        title=said.title or f"{said.id or place.stem}, {len(words)} classes",
        vocabulary="",
        num_images=0,
        source=place.name,
        folder=root.name,
        splits=tuple(_split(place, name, values, said.id or place.stem) for name, values in parts.items()),
        ignore_label=VOID16 if wide else VOID,
        label_suffix=".tif" if wide else ".png",
        place=place,
        below=root.parent,
        words=words,
        things=things,
        endings=(said.image_suffix, said.mask_suffix),
        offset=said.offset,
        ignored=tuple(sorted(set(ignored))),
    )
    _check(place, own)
    counted = tuple(dataclasses.replace(s, num_images=_count(own, root, s)) for s in own.splits)
    return dataclasses.replace(own, splits=counted, num_images=counted[0].num_images)


def _count(own: OwnSet, root: Path, part: Split) -> int:
    return len(own.listed_keys(root, part) or ())


def _split(place: Path, name: str, values: Mapping[str, Any], set_id: str) -> Split:
    part = Part(**_values(place, Part, values))
    labels = f"annotations_detectron2/{set_id}-{name}"
    return Split(name, 0, part.images, (part.masks,), labels=labels, ids=part.list)


def _values(place: Path, kind: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a section as their types; UsageError for an unknown, an absent or an unfit one."""
    hints, mend = type_hints(kind), correction(place)
    for name in raw:
        if name not in hints:
            raise unknown_name(f"value of {place}", name, hints, mend=mend)
    needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    if absent := [name for name in needed if name not in raw]:
        raise _wrong(place, f"lacks {absent[0]}", ", ".join(needed), ", ".join(raw) or "none of them")
    return {name: converted(f"{name} in {place}", value, hints[name], mend) for name, value in raw.items()}


def _classes(place: Path, root: Path, said: Described) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """Return the names of the classes, and which are things."""
    kinds: list[str] = []
    if isinstance(said.classes, str):
        path = root / said.classes
        if not path.is_file():
            raise _wrong(place, "names a file of classes that is absent", path, "nothing")
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        if path.suffix.lower() == ".csv":
            rows = list(csv.DictReader(lines))
            lines = [(row.get("name") or "").strip() for row in rows]
            kinds = [row["kind"].strip() for row in rows if row.get("kind")]
        names = tuple(lines)
    else:
        names = tuple(name.strip() for name in said.classes)
    twice = sorted({name for name in names if names.count(name) > 1})
    unknown = sorted(set(said.stuff) - set(names))
    wrong = {k for k in kinds if k not in KINDS}
    problems = {
        "has a class without a name": not all(names) or not names,
        f"names {', '.join(twice)} twice": twice,
        f"calls {', '.join(unknown)} stuff, which is no class": unknown,
        f"has kinds of classes other than {' and '.join(KINDS)}": wrong or len(kinds) not in (0, len(names)),
    }
    for problem, holds in problems.items():
        if holds:
            raise _wrong(place, problem, "each class once, by its name", f"{len(names)} names")
    stuff = {name for name, kind in zip(names, kinds, strict=False) if kind == "stuff"} | set(said.stuff)
    return names, tuple(name not in stuff for name in names)


def _check(place: Path, own: OwnSet) -> None:
    """Raise UsageError for what no evaluation could use."""
    root = own.below / own.folder
    paths = [p for s in own.splits for p in (s.source_images, *s.source_labels)]
    outside = [p for p in paths if not (root / p).resolve().is_relative_to(root)]
    classes = set(range(own.offset, own.offset + len(own.words)))
    both = sorted(classes & set(own.ignored))
    expectations = [
        (bool(_ID.fullmatch(own.id)), "id: letters, digits, dots, hyphens", own.id),
        (bool(own.splits), 'images = ".." and masks = "..", or a section [train] with them', "neither"),
        (not outside, f'folders below {root} (root = ".." names another)', ", ".join(outside)),
        (not both, "ignore: values that are no class", ", ".join(map(str, both))),
        (max(classes) < LARGEST, f"mask values below {LARGEST}", max(classes)),
        ("" not in own.endings, "image_suffix and mask_suffix with an ending", own.endings),
    ]
    for holds, expected, found in expectations:
        if not holds:
            raise _wrong(place, "describes no data set", expected, found)
