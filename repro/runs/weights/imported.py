"""Runs of weights that were not trained here: an imported checkpoint says itself which tower and options it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.configuration.tables import Row
from repro.errors import WeightsError
from repro.runs.assets import Assets
from repro.runs.plan import Run
from repro.towers.checkpoint import KEY, carried_tower


def imported_run(path: Path, method: str, values: Mapping[str, Any], assets: Assets) -> Run | None:
    """Return the run that stands for the weights file ``path``; None for one that does not describe itself.

    Tower and options are the file's, the latter under ``values``; data and protocol are the profile's of ``assets``.
    The run trains nothing. Raises WeightsError for weights of another method than ``method`` and for a damaged file.
    """
    if not path.is_file():
        return None
    from repro.methods.weights import read_header
    from repro.runs.weights.described import describe_weights

    if "tower" not in read_header(path):
        return None
    described = describe_weights(path)
    entry = described.entry
    if entry.name != method:
        raise other_method(path, method, entry.name)
    tower = carried_tower(described.tower, described.header.get("source", {}).get("sha256", "unknown"))
    profile = dataclasses.replace(assets.profile, towers={KEY: tower}, methods={})
    row = Row(f"{entry.name}-{KEY}", entry.title, entry.name, KEY, {**described.options, **values})
    return Run(row, profile, tower, dataclasses.replace(entry, trainable=False), 0, assets.under(profile))


def other_method(path: Path, method: str, found: str) -> WeightsError:
    """Return the error for ``path``, which holds weights of the method ``found`` in place of ``method``."""
    return WeightsError(
        f"{path} holds weights of another method",
        expected=f"weights of {method}",
        found=f"weights of {found}",
        mend=f"name the method {found}",
    )
