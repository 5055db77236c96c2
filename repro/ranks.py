"""Which of several processes this is, as the launcher says in the environment; known before torch is imported."""

from __future__ import annotations

import os


def started() -> int:
    """Return how many processes the launcher (torchrun, Slurm) started for this command; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def is_first() -> bool:
    """Tell whether this is the process that writes and prints."""
    return started() == 1 or os.environ["RANK"] == "0"
