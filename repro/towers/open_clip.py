"""Towers of kind ``open_clip``: ``spec`` names model and weights, which lie in a file or in the cache of a hub."""

from __future__ import annotations

from typing import Any

from repro.clip.weights import weights_digest
from repro.errors import WeightsError
from repro.mends import Missing
from repro.towers.kind import Tower, TowerKind


class OpenClip(TowerKind):
    """A model of open_clip with published weights."""

    name = "open_clip"
    published = True

    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return the content of the weights, ``absent`` while they are not here."""
        try:
            return {"weights": weights_digest(tower.plan.spec)}
        except WeightsError:
            return {"weights": "absent"}

    def missing(self, tower: Tower) -> list[Missing]:
        """List the weights where they are not here, with the command that fetches them."""
        try:
            weights_digest(tower.plan.spec)
        except WeightsError as error:
            return [Missing(f"{tower.plan.title} weights: {error.message}", error.mend or "repro doctor")]
        return []


KIND = OpenClip()
