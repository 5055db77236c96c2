"""``repro coverage [PAPER]``: what of the papers has a command, and how far that has come."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import common
from repro.console import log


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``coverage``."""
    parser.add_argument("paper", nargs="?", help="of which paper (default: all)")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write docs/coverage.md, the page of all papers, too")
    common.declare(parser, "json")
    parser.epilog = "Computes nothing: states are read off the results that are committed (docs/coverage.md)."
    parser.set_defaults(execute=coverage)


def coverage(options: argparse.Namespace) -> int:
    """Print tables, figures and claims of one paper or of all; UsageError for an unknown paper."""
    from repro.reports.coverage import chosen_papers, coverage_lines, write_coverage

    chosen = chosen_papers(options.paper)
    if options.page:
        write_coverage(options.page)
        log(f"wrote {options.page}")
    common.answer(
        options,
        lambda: [record for paper in chosen for record in paper.to_json()],
        lambda: print("\n".join(coverage_lines(chosen))),
    )
    return 0
