"""The note beside a folder of prepared labels that says whether the preparation has ended, and with what.

``annotations_detectron2/.validation.prepared.json`` belongs to ``annotations_detectron2/validation``. Folders made by
the official scripts have none.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from repro.errors import DataError
from repro.files import write_json

RULES_VERSION = 1
"""Raised whenever a conversion rule changes: labels made by older rules are then converted again."""


@dataclasses.dataclass(frozen=True)
class Marker:
    """``keys`` is how many images the split has, ``dropped`` the keys that have no label on purpose.

    ``histogram`` counts pixels by label value over all labels. While ``complete`` is False a preparation is under way
    or was interrupted.
    """

    benchmark: str
    complete: bool
    keys: int
    dropped: tuple[str, ...] = ()
    histogram: dict[str, int] = dataclasses.field(default_factory=dict)
    rules: int = RULES_VERSION


def marker_path(labels: Path) -> Path:
    """Where the note of a label folder lies."""
    return labels.parent / f".{labels.name}.prepared.json"


def write_marker(labels: Path, marker: Marker) -> None:
    """Write the note of a label folder, atomically."""
    write_json(marker_path(labels), dataclasses.asdict(marker))


def read_marker(labels: Path) -> Marker | None:
    """The note of a label folder, None where there is none; DataError where it is damaged."""
    path = marker_path(labels)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        marker = Marker(**{**values, "dropped": tuple(values["dropped"])})
        for field, kind in (("complete", bool), ("keys", int), ("rules", int), ("histogram", dict)):
            if not isinstance(getattr(marker, field), kind):
                raise TypeError(f"{field} is {getattr(marker, field)!r}")
        return marker
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path} is damaged", expected="a note that prepare wrote", found=error, mend=f"rm {path} and prepare again"
        ) from error
