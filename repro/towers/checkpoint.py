"""Towers of kind ``checkpoint``: they come with the weights of an imported checkpoint (repro.runs.weights.imported)."""

from __future__ import annotations

from typing import Any

from repro.clip.spec import TowerSpec
from repro.towers.kind import Tower, TowerKind, TowerPlan

KEY = "checkpoint"
"""The key of such a tower in the profile of its run."""


class Checkpoint(TowerKind):
    """A tower whose weights are among those of the method; ``recipe`` holds the digest of their ``source``."""

    name = "checkpoint"
    in_profiles = False

    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return the content of the imported file."""
        return {"weights": tower.plan.recipe["source"]}


KIND = Checkpoint()


def carried_tower(spec: TowerSpec, source: str) -> TowerPlan:
    """Return the tower ``spec`` that a checkpoint of digest ``source`` carries."""
    return TowerPlan(KIND.name, f"CLIP {spec.model} (in the checkpoint)", spec, {"source": source})
