"""Sections that need a process of their own: ``python -m repro.visit.training --out FILE.json``."""

from __future__ import annotations

import argparse
from pathlib import Path


def part_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the options that every part understands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the records")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:N or cpu")
    parser.add_argument("--quick", action="store_true", help="tiny models, one run each: checks the way, no more")
    return parser
