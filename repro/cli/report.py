"""``repro report TABLE``: a table, its page, its plots and its numbers from what is already done."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.cli import common, run, run_controls, run_cost, run_maps, run_regions
from repro.errors import UsageError
from repro.experiments.profiles import load_profile
from repro.experiments.status import plan_status
from repro.experiments.tables import Table, load_table, table_names

if TYPE_CHECKING:
    from repro.reports.html import Section

ALL = "all"


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Options of ``report``."""
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
        tables = [load_table(options.table)]
        run_cost.refuse_options(options, tables[0])
    else:
        profile = load_profile(options.profile)
        tables = [t for t in map(load_table, table_names()) if any(r.tower in profile.towers for r in t.rows)]
        if options.json or options.benchmarks or options.baseline or options.row:
            raise UsageError(
                "--json, --benchmarks, --baseline and --row are for a single table",
                expected="a table's name",
                found=ALL,
                mend="repro list",
            )
    folder = common.results_folder(options.profile, options.results)
    sections = [_report(table, folder, options) for table in tables]
    if options.html:
        from repro.reports.html import write_page

        path = folder / ("report.html" if options.table == ALL else f"{options.table}.html")
        title = "Results" if options.table == ALL else tables[0].title
        write_page(path, f"{title}, profile {load_profile(options.profile).name}", [s for s in sections if s])
        common.log(f"wrote {path}")
    return 0


def _report(table: Table, folder: Path, options: argparse.Namespace) -> Section | None:
    """Write one table's files; its section of the page where there is to be one."""
    from repro.reports.tex_numbers import cost_numbers, map_numbers, region_numbers, table_numbers, write_numbers

    if table.kind == "cost":
        plan, states = run_cost.report(options, table)
        if "latex" in options.formats:
            common.log(f"wrote {write_numbers(folder, table.name, cost_numbers(plan, states))}")
        if not options.html:
            return None
        from repro.reports.html import cost_section

        return cost_section(plan, states)
    if table.kind == "regions":
        plan, regions = run_regions.report(options, table)
        if "latex" in options.formats:
            common.log(f"wrote {write_numbers(folder, table.name, region_numbers(plan, regions))}")
        if not options.html:
            return None
        from repro.reports.html import region_section

        return region_section(plan, regions)
    if table.kind == "controls":
        plan, controls = run_controls.report(options, table)
        if not options.html:
            return None
        from repro.reports.html import control_section

        return control_section(plan, controls)
    if table.kind == "maps":
        plan, maps = run_maps.report(options, table)
        if "latex" in options.formats:
            common.log(f"wrote {write_numbers(folder, table.name, map_numbers(plan, maps))}")
        if not options.html:
            return None
        from repro.reports.html import map_section

        return map_section(plan, maps)
    from repro.reports.evidence import Evidence

    plan = run.table_plan(table, options)
    cells = plan_status(plan)
    run.write_table(plan, cells, options)
    run.print_result(plan, cells, options)
    evidence = Evidence(plan, cells)
    for name in (options.baseline, options.row):
        if name:
            evidence.baseline(name)  # an unknown row is said before anything more is written
    if "latex" in options.formats:
        common.log(f"wrote {write_numbers(folder, table.name, table_numbers(evidence, options.baseline))}")
    if options.figures:
        _log_all(_plots(evidence, folder / "figures", options))
    if not options.html:
        return None
    from repro.reports.html import table_section

    return table_section(evidence, options.baseline)


def _plots(evidence: Any, folder: Path, options: argparse.Namespace) -> list[Path]:
    from repro.reports.plots import write_plots

    if not evidence.finished():
        common.log(f"no plots of {evidence.plan.table.name}: none of its cells is done")
        return []
    return write_plots(evidence, folder, baseline=options.baseline, row=options.row)


def _log_all(paths: Sequence[Path]) -> None:
    for path in paths:
        common.log(f"wrote {path}")
