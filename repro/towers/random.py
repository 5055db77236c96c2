"""Towers of kind ``random``: weights drawn from ``spec.seed``, for plumbing checks only."""

from __future__ import annotations

from typing import Any

from repro.towers.kind import Tower, TowerKind


class Random(TowerKind):
    """A tower without meaning: its architecture and the seed of ``spec`` are all there is."""

    name = "random"
    random = True

    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return nothing: model and seed are in ``spec``."""
        return {}


KIND = Random()
