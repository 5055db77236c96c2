"""Where the project's own data files lie, and where a user's output goes."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CONFIGS = PACKAGE / "_configs"
"""The top-level ``configs`` folder, also in an installed wheel."""
PUBLISHED = PACKAGE / "_results" / "published.csv"
"""The papers' numbers, with source, table and note."""
NUMERIC = PACKAGE / "_results" / "numeric.json"
"""What the code computes of fixed inputs (``repro check --numeric``)."""

COVERAGE = PACKAGE / "_results" / "coverage"
"""The tables, figures and claims of each paper, with the command for each (``repro coverage``)."""
MEASURED = PACKAGE / "_results" / "measured"
"""The project's own tables and references, a folder per profile; what a user makes goes to ``DEFAULT_RESULTS``."""
WEIGHTS = MEASURED / "mini" / "weights.json"
"""What the packed weights beside it reach (``repro check --weights``)."""

CONSTRAINTS = PACKAGE / "_constraints.txt"
"""Versions that fit together, also in an installed wheel."""

DEFAULT_RUNS = Path("runs")
DEFAULT_RESULTS = Path("results")
DEFAULT_CHECKPOINTS = Path("checkpoints")
