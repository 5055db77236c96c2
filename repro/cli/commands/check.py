"""``repro check``: a table against its reference values; the exit code tells a script what came of it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from repro.cli import common
from repro.errors import RunError, UsageError, command
from repro.mends import same_folders
from repro.paths import DEFAULT_RESULTS
from repro.runs.gates.comparison import BETTER, MISSING, NEW, OK, OTHER, UNCLEAR, WORSE, Verdict, judge
from repro.runs.gates.reference import Reference, Selection, Tolerances, seeds_of, selected, updated

WORDS = {
    OK: "within tolerance",
    WORSE: "worse than the reference",
    BETTER: "better than the reference: look why, then --update",
    UNCLEAR: "beyond tolerance, but no more than the choice of images explains",
    OTHER: "another protocol or other images: not the same quantity, --update",
    MISSING: "in the reference, but not computed",
    NEW: "computed, but not in the reference",
}


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``check``."""
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="default: all tables of the reference")
    common.add_plan_options(parser)
    parser.set_defaults(profile=None)
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="reference (default: ./results/<profile>/reference.json)"
    )
    parser.add_argument("--tolerance", type=_points, metavar="X", help="points, instead of each cell's own")
    parser.add_argument("--allow-better", action="store_true", help="let improvements pass")
    parser.add_argument("--strict", action="store_true", help="missing and unclear cells fail too")
    parser.add_argument("--update", action="store_true", help="write what is measured now as the reference")
    parser.add_argument("--reason", default="set by hand", help="why --tolerance is what it is (with --update)")
    parser.add_argument(
        "--repeats", type=common.names, default=[], metavar="DIR,..",
        help="run stores with the same cells computed again: their differences become the tolerances (with --update)",
    )  # fmt: skip
    parser.add_argument("--counts", action="store_true", help="keep the counts beside the reference (with --update)")
    common.add_json_option(parser)
    parser.epilog = (
        "examples:\n  repro run table1 && repro check --against results/mini/reference.json\n"
        "  repro check table1 --against reference.json --update --repeats runs-again,runs-one-thread\n\n"
        "exit codes: 0 every cell compared is within its tolerance; 1 a cell is not; 2 and above: nothing was checked"
    )
    parser.set_defaults(execute=check)


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected points between 0 and 100, found {text!r}")
    return value


def check(options: argparse.Namespace) -> int:
    """Judge or update; RunError where no cell could be compared."""
    file = options.against or DEFAULT_RESULTS / Path(options.profile or "mini").stem / "reference.json"
    if options.update:
        return _update(options, file)
    reference = Reference.load(file)
    if options.profile is not None and options.profile != reference.profile:
        raise UsageError(
            f"{file} is a reference of another profile",
            expected=command("--profile", reference.profile),
            found=command("--profile", options.profile),
            mend="leave --profile out",
        )
    selection = _selection(options, reference.profile, options.tables or _tables(reference))
    selection = dataclasses.replace(
        selection, seeds=options.seeds or seeds_of(selected(reference, selection).values()) or None
    )
    verdicts = judge(reference, file, selection, options.tolerance)
    failing = {WORSE, OTHER} | (set() if options.allow_better else {BETTER})
    failing |= {MISSING, UNCLEAR} if options.strict else set()
    failed = [v for v in verdicts if v.verdict in failing]
    if options.json:
        common.print_json({"reference": str(file), "profile": reference.profile, "passed": not failed,
                           "cells": [v.to_json() for v in verdicts]})  # fmt: skip
    else:
        _print(file, verdicts, failed)
    if not failed and not any(v.verdict not in (MISSING, NEW) for v in verdicts):
        raise RunError(
            "no cell could be compared",
            expected=f"finished cells of {', '.join(selection.tables)} in {options.runs}",
            found=f"{sum(v.verdict == MISSING for v in verdicts)} missing cells",
            mend=command(
                "repro",
                "run",
                selection.tables[0],
                "--profile",
                reference.profile,
                *same_folders(options.runs, options.data_root),
            ),
        )
    return 1 if failed else 0


def _selection(options: argparse.Namespace, profile: str, tables: Sequence[str]) -> Selection:
    return Selection(
        tables, profile, options.runs, options.data_root, options.methods, options.benchmarks, options.seeds
    )


def _tables(reference: Reference) -> list[str]:
    return list(dict.fromkeys(cell.table for cell in reference.cells))


def _update(options: argparse.Namespace, file: Path) -> int:
    old = Reference.load(file) if file.is_file() else None
    profile = options.profile or (old.profile if old else "mini")
    if old is not None and old.profile != profile:
        raise UsageError(
            f"{file} holds values of profile {old.profile}",
            found=command("--profile", profile),
            mend=f"name another file: {command('--against', Path('results', Path(profile).stem, 'reference.json'))}",
        )
    tables = options.tables or (_tables(old) if old else ["table1"])
    tolerances = Tolerances([Path(folder) for folder in options.repeats], options.tolerance, options.reason)
    selection = _selection(options, profile, tables)
    reference = updated(old, selection, tolerances, file, keep_counts=options.counts)
    reference.save(file)
    before = {cell.id: cell for cell in old.cells} if old else {}
    changed = [c for c in reference.cells if c.id not in before or before[c.id].expected != c.expected]
    if options.json:
        common.print_json({"reference": str(file), "profile": profile, "cells": len(reference.cells),
                           "changed": [list(c.id) for c in changed]})  # fmt: skip
        return 0
    for cell in changed:
        was = f"{before[cell.id].expected:.2f}" if cell.id in before else "new"
        print(f"{_name(cell.id)}: {was} -> {cell.expected:.2f}, tolerance {cell.tolerance:.2f} ({cell.reason})")
    print(f"wrote {file}: {len(reference.cells)} cells, {len(changed)} of them changed or new")
    return 0


def _name(key: tuple[str, str, int, str]) -> str:
    table, row, seed, benchmark = key
    return f"{table} {row} seed {seed} {benchmark}"


def _print(file: Path, verdicts: Sequence[Verdict], failed: Sequence[Verdict]) -> None:
    print(f"Reference {file}; percent, measured - expected in points; p paired over images, corrected by Holm\n")
    width = max([len(_name(v.key)) for v in verdicts], default=0) + 2
    print(f"{'cell':<{width}}{'expected':>10}{'measured':>10}{'diff':>9}{'tolerance':>11}{'p':>8}  verdict")
    for v in verdicts:
        expected = f"{v.reference.expected:.2f}" if v.reference else "-"
        measured = "-" if v.measured is None else f"{v.measured:.2f}"
        off = "-" if v.difference is None else f"{round(v.difference, 3) + 0.0:+.3f}"  # no minus zero
        allowed = f"{v.reference.tolerance:.2f}" if v.reference else "-"
        p = "-" if v.paired is None else f"{v.p_holm:.3f}"
        print(f"{_name(v.key):<{width}}{expected:>10}{measured:>10}{off:>9}{allowed:>11}{p:>8}  {v.verdict}")
    print()
    for verdict, words in WORDS.items():
        count = sum(v.verdict == verdict for v in verdicts)
        if count:
            print(f"{count:>5} {verdict}: {words}")
    for v in failed:
        reason = f" ({v.reference.reason})" if v.reference else ""
        print(f"failed: {_name(v.key)}: {WORDS[v.verdict]}{reason}")
