"""Backbone swap: a tower of a profile replaced by another CLIP, under every method and with its settings.

What the name of a backbone stands for: :mod:`repro.towers.backbone`.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Literal

from repro.configuration.profiles import Profile
from repro.configuration.tables import Table
from repro.errors import UsageError
from repro.towers.backbone import read_backbone

Residual = Literal["cls", "token"]


def swap(
    profile: Profile,
    backbone: str | None,
    *,
    tower: str = "base",
    dense_residual: Residual | None = None,
    cache: Path,
) -> Profile:
    """Return ``profile`` with its ``tower`` replaced by ``backbone`` (``clipself:FILE``, ``openclip:MODEL/TAG`` ..).

    Resolution and read-out are those of the replaced tower, but for the residual of the last block, which is
    ``dense_residual``, else what the backbone's source was trained with. Without ``backbone`` only that changes.
    ``cache`` is the run store's; an import found there saves reading the file. Raises UsageError for an unknown tower,
    source or model, WeightsError for a file or folder that is no CLIP.
    """
    plan = profile.tower(tower)
    if backbone is not None:
        plan = read_backbone(backbone, plan.spec, cache)
    if dense_residual is not None:
        plan = dataclasses.replace(
            plan,
            title=f"{plan.title}, {dense_residual} residual",
            spec=dataclasses.replace(plan.spec, dense_residual=dense_residual),
        )
    return dataclasses.replace(profile, towers={**profile.towers, tower: plan})


def swap_table(table: Table, profile: Profile, tower: str, label: str) -> Table:
    """Return the rows of ``table`` built on the ``tower`` that was replaced in ``profile``, as a table of its own.

    Its name ends with ``label``; nothing published belongs to its rows or stands around them. UsageError where there is
    no such row.
    """
    rows = tuple(dataclasses.replace(row, published={}) for row in table.rows if row.tower == tower)
    if not rows:
        raise UsageError(
            f"{table.name} has no row on tower {tower}",
            expected=f"one of {', '.join(sorted({r.tower for r in table.rows}))}",
            found=tower,
            mend="--tower KEY",
        )
    name = f"{table.name}-{re.sub(r'[^A-Za-z0-9_.]+', '-', label).strip('-')}"
    remark = f"All rows are built on {profile.towers[tower].title} in place of the profile's tower {tower}."
    return dataclasses.replace(table, name=name, rows=rows, printed={}, remarks=(*table.remarks, remark))
