"""``repro report TABLE``: a table, its page, its plots and its numbers from what is already done."""

from __future__ import annotations

import argparse
from typing import Any

from repro.api.table_options import narrowed_for
from repro.api.tables import open_table
from repro.cli import common
from repro.cli.commands import run
from repro.cli.commands.run import table_request, write_files
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table, table_names
from repro.console import log
from repro.errors import UsageError, check_known
from repro.methods import registry
from repro.reports.tables.tex_numbers import write_numbers
from repro.requests import TableRequest
from repro.tables.kind import TableResult

ALL = "all"


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the options of ``report``."""
    run.configure(parser, command)
    parser.add_argument(
        "--html", action="store_true", help="a self-contained page too: TABLE.html, report.html for all"
    )
    parser.add_argument("--figures", action="store_true", help="plots too, PDF and SVG, below figures/")
    parser.add_argument("--baseline", metavar="ROW", help="row others are compared with (default: the first trained)")
    parser.add_argument("--row", metavar="ROW", help="row whose classes are plotted against it (default: the last)")
    parser.epilog = (
        "Computes nothing but intervals. TABLE may be `all`. numbers.tex has a macro for each number\n"
        "(docs/reports.md).\n\nexamples:\n  repro report table1 --html --figures\n  repro report all --html"
    )
    parser.set_defaults(execute=report)


def report(options: argparse.Namespace) -> int:
    """Write the reports of one table or of all; UsageError for an unknown table or row."""
    if options.table != ALL:
        names = [options.table]
    else:
        profile = load_profile(options.profile)
        names = [t for t in table_names() if any(r.tower in profile.towers for r in load_table(t).rows)]
        if options.json or options.benchmarks or options.baseline or options.row:
            raise UsageError(
                "--json, --benchmarks, --baseline and --row are for a single table",
                expected="a table's name",
                found=ALL,
                mend="repro list",
            )
    requests = _requests(options, names)
    results = [_report(open_table(request), options) for request in requests]
    if options.html:
        from repro.reports.tables.html import write_page

        path = requests[0].folder / f"{'report' if options.table == ALL else results[0].plan.table.name}.html"
        title = "Results" if options.table == ALL else results[0].plan.table.title
        profile_name = results[0].plan.profile.name
        write_page(path, f"{title}, profile {profile_name}", [r.kind.section(r) for r in results])
        log(f"wrote {path}")
    return 0


def _requests(options: argparse.Namespace, names: list[str]) -> list[TableRequest]:
    """Make the request of each table; of all of them, what narrows some leaves the others as they are."""
    asked = [table_request(options, table=name, computes=False) for name in names]
    if options.table != ALL:
        return asked
    tables = [load_table(name) for name in names]
    check_known(
        "method", options.methods or (), {row.selector for table in tables for row in table.rows} | {*registry()}
    )
    found = [narrowed_for(table, request) for table, request in zip(tables, asked, strict=True)]
    return [request for request in found if request is not None]


def _report(result: TableResult[Any], options: argparse.Namespace) -> TableResult[Any]:
    """Write the files of one table and print it."""
    kind, folder = result.kind, result.request.folder
    write_files(result)
    for state in result.failed:
        log(f"failed: {kind.label(state)}: {state.error}")
    common.answer(options, result.to_json, lambda: print(result.text))
    kind.check(result)  # an unknown row is said before anything more is written
    numbers = list(kind.numbers(result)) if "latex" in options.formats else []
    paths = [write_numbers(folder, result.plan.table.name, iter(numbers))] if numbers else []
    paths += kind.figures(result, folder / "figures", log) if options.figures else []
    for path in paths:
        log(f"wrote {path}")
    return result
