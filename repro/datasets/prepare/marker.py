"""The note beside a folder of prepared labels that says whether the preparation has ended, and with what.

``annotations_detectron2/.validation.prepared.json`` belongs to the folder ``validation`` beside it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.errors import DataError, UsageError, command
from repro.files import write_json


@dataclasses.dataclass(frozen=True)
class Marker:
    """``keys`` is how many images the split has, ``dropped`` the keys that have no label on purpose.

    ``histogram`` counts pixels by label value over all labels; ``complete`` is False until a preparation ended.
    """

    benchmark: str
    complete: bool
    keys: int
    dropped: tuple[str, ...] = ()
    histogram: dict[str, int] = dataclasses.field(default_factory=dict)
    rules: str = ""
    """What the conversion rule made of fixed samples (:func:`rules_digest`)."""
    origin: str = ""
    """What the labels were made of (:class:`repro.datasets.prepare.origin.Origin`); "" in notes of version 0.1.0."""
    adopted: tuple[str, ...] = ()
    """Keys of labels that others made and that equal what the rule makes of their sources: they are never removed."""

    def made_by_rules_of(self, benchmark: Benchmark) -> bool:
        """Tell whether the current rules make the same labels: else they are converted again."""
        return self.rules == rules_digest(benchmark)


@cache
def rules_digest(benchmark: Benchmark) -> str:
    """Return twelve hex digits over the labels and images that the rule of ``benchmark`` makes of fixed samples.

    Whole numbers: the same on any machine, whatever the rule is called and wherever it stands.
    """
    from repro.datasets.prepare.samples import converted_samples

    state = hashlib.sha256()
    for array in converted_samples(benchmark):
        state.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return state.hexdigest()[:12]


def marker_path(labels: Path) -> Path:
    """Return where the note of a label folder lies."""
    return labels.parent / f".{labels.name}.prepared.json"


def write_marker(labels: Path, marker: Marker) -> None:
    """Write the note of a label folder, atomically."""
    write_json(marker_path(labels), dataclasses.asdict(marker))


def read_marker(labels: Path) -> Marker | None:
    """Return the note of a label folder, None where there is none; DataError where it is damaged."""
    path = marker_path(labels)
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and values.get("rules") == 1:  # version 0.1.0
            values["rules"] = get_benchmark(values["benchmark"]).first_rules
        lists = {"dropped": tuple(values["dropped"]), "adopted": tuple(values.get("adopted", ()))}
        marker = Marker(**{**values, **lists})
        kinds = (("complete", bool), ("keys", int), ("rules", str), ("origin", str), ("histogram", dict))
        for field, kind in kinds:
            if not isinstance(getattr(marker, field), kind):
                raise TypeError(f"{field} is {getattr(marker, field)!r}")
        return marker
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError, UsageError) as error:
        raise DataError(
            f"{path} is damaged",
            expected="a note that prepare wrote",
            found=error,
            mend=f"move {command(path)} elsewhere and prepare the set again",
        ) from error
