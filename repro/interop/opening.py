"""Which format the predictions in a folder have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.layout import some
from repro.errors import DataError, command
from repro.interop.detectron2_json import JSON_FILE, JsonPredictions, json_file, read_category_ids
from repro.interop.files import ARRAYS, PICTURES, ArrayPredictions, PicturePredictions
from repro.interop.predictions import Numbers, Predictions

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark


def read_numbers(benchmark: Benchmark, first: int = 0, ids: Path | None = None) -> Numbers:
    """Return how class numbers are read: from ``first`` on, or by the category ids in the file ``ids``."""
    return Numbers(first, read_category_ids(ids, benchmark) if ids is not None else ())


def open_predictions(source: Path, benchmark: Benchmark, numbers: Numbers | None = None) -> Predictions:
    """Open the predictions in ``source``: a folder of pictures or arrays, or detectron2's JSON (or a folder with it).

    Raises DataError where there is nothing of the kind, or several kinds are mixed.
    """
    numbers = numbers or Numbers()
    if (found := json_file(source)) is not None:
        return JsonPredictions(found, benchmark, numbers)
    pictures, arrays = (_files(source, endings) for endings in (PICTURES, ARRAYS))
    if bool(pictures) == bool(arrays):
        raise DataError(
            f"{source} holds {'pictures and arrays' if pictures else 'no predictions'}",
            expected=f"one file for each image ({', '.join((*PICTURES, *ARRAYS))}), or {JSON_FILE}",
            found=_entries(source),
            mend=command("repro", "eval", "METHOD", "--save-predictions", "DIR")
            + " writes such a folder; docs/predictions.md: how other code does",
        )
    if arrays:
        return ArrayPredictions(source, benchmark, numbers, arrays)
    opened = PicturePredictions(source, benchmark, numbers, pictures)
    opened.check_depth()
    return opened


def _files(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of ``folder`` with one of the ``endings`` by name without it; DataError for two of a name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in endings or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise DataError(
                f"{folder} has two predictions of {path.stem}",
                expected="one file for each image",
                found=f"{found[path.stem].name} and {path.name}",
                mend="move one of them away",
            )
        found[path.stem] = path
    return found


def _entries(source: Path) -> str:
    if not source.exists():
        return "nothing of this name"
    entries = sorted(p.name for p in source.iterdir()) if source.is_dir() else [source.name]
    return some(entries) if entries else "an empty folder"
