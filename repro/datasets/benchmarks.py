"""The data sets by id, and which of them the papers' tables report (docs/specs/benchmarks.md)."""

from __future__ import annotations

from repro.datasets.data_set import BACKGROUND, DataSet, Split
from repro.datasets.registry import data_sets
from repro.errors import unknown_name

__all__ = ["BACKGROUND", "BENCHMARKS", "TRAIN_SETS", "Benchmark", "Split", "all_sets", "get_benchmark"]

Benchmark = DataSet

BENCHMARKS: dict[str, DataSet] = {
    name: data_sets()[name] for name in ("A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b")
}
"""The six benchmarks in the order of the papers' tables: what is evaluated where nothing else is named."""

TRAIN_SETS: dict[str, DataSet] = {"coco-stuff": data_sets()["coco-stuff"]}
"""What the methods are trained on."""


def all_sets() -> dict[str, DataSet]:
    """Return all data sets by id: the six of the papers first, then what is trained on, then the others."""
    return {**BENCHMARKS, **TRAIN_SETS, **data_sets()}


def get_benchmark(name: str) -> DataSet:
    """Return the data set called ``name``, in any case; UsageError with the nearest ids otherwise."""
    known = all_sets()
    by_case = {key.casefold(): key for key in known}
    if name.casefold() not in by_case:
        raise unknown_name("benchmark", name, known)
    return known[by_case[name.casefold()]]
