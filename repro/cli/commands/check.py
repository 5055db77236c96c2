"""``repro check``: a table against its reference values, the numbers of the code itself (``--numeric``), or what packed
weights reach (``--weights``); the exit code tells a script what came of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import common
from repro.errors import UsageError, command
from repro.runs.gates.check import Checked, Updated, check_reference, update_reference
from repro.runs.gates.comparison import BETTER, MISSING, NEW, OK, OTHER, UNCLEAR, WORSE
from repro.runs.gates.numeric import NEW as NEW_PIECE
from repro.runs.gates.numeric import (
    SAME,
    Judged,
    NumericChecked,
    NumericRequest,
    NumericUpdated,
    check_numeric,
    update_numeric,
)
from repro.runs.gates.packing import WeightsUpdated, update_weights
from repro.runs.gates.reference import CheckRequest
from repro.runs.gates.weights import TOLERANCE as POINTS
from repro.runs.gates.weights import WeightsChecked, WeightsRequest, check_weights
from repro.runs.progress import count_progress
from repro.sources.trace import TOLERANCE

WORDS = {
    OK: "within tolerance",
    WORSE: "worse than the reference",
    BETTER: "better than the reference: look why, then --update",
    UNCLEAR: "beyond tolerance, but no more than the choice of images explains",
    OTHER: "another protocol or other images: not the same quantity, --update",
    MISSING: "in the reference, but not computed",
    NEW: "computed, but not in the reference",
}

OF_TABLES = ("profile", "data_root", "benchmarks", "seeds", "tolerance", "allow_better", "strict", "repeats", "counts")
"""Options that the checks of numbers and of packed weights have no use for."""


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``check``."""
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="default: all tables of the reference")
    common.declare(parser, *common.PLAN)
    parser.set_defaults(profile="")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="reference (default: ./results/<profile>/reference.json, else the project's)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--numeric", action="store_true",
        help="instead of a table: what the code computes of fixed inputs, to 1e-9 (no training, half a minute; takes "
        "--against, --methods, --update, --json)",
    )  # fmt: skip
    instead.add_argument(
        "--weights", action="store_true",
        help="instead of a table: packed weights of every method on the first images of all benchmarks, to 0.05 points "
        "(no training, a minute; takes --against, --methods, --runs, --json, --update and with that --profile)",
    )  # fmt: skip
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
    common.declare(parser, "json")
    parser.epilog = (
        "examples:\n  repro run table1 && repro check\n"
        "  repro check table1 --against reference.json --update --repeats runs-again,runs-one-thread\n"
        "  repro check --numeric                 # after any change of code: which tensor is the first that differs\n"
        "  repro check --weights                 # and does it still reach the mIoU it reached?\n"
        "  repro run table1 && repro check --weights --update    # pack the weights of these runs, seed 0\n\n"
        "exit codes: 0 all that was compared is within its tolerance; 1 something is not; 2 and above: nothing was "
        "compared"
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
    """Judge or update, and print."""
    if options.weights:
        return _weights(options)
    if options.numeric:
        return _numeric(options)
    request = common.request(CheckRequest, options)
    if options.update:
        updated = update_reference(request)
        common.answer(options, updated.to_json, lambda: _print_updated(updated))
        return 0
    found = check_reference(request)
    common.answer(options, found.to_json, lambda: _print(found))
    found.refuse_empty()
    return 1 if found.failed else 0


def _print_updated(found: Updated) -> None:
    for cell in found.changed:
        was = f"{found.before[cell.id].expected:.2f}" if cell.id in found.before else "new"
        print(f"{_name(cell.id)}: {was} -> {cell.expected:.2f}, tolerance {cell.tolerance:.2f} ({cell.reason})")
    print(f"wrote {found.file}: {len(found.reference.cells)} cells, {len(found.changed)} of them changed or new")


def _refuse_others(options: argparse.Namespace, gate: str, taken: str, own: tuple[str, ...] = ()) -> None:
    """Raise UsageError for options of tables beside those of the check called ``gate``."""
    names = [name for name in OF_TABLES if name not in own and getattr(options, name)]
    others = [*options.tables, *(f"--{name.replace('_', '-')}" for name in names)]
    if others:
        raise UsageError(
            f"{gate} takes no table and no option of one",
            expected=taken,
            found=" ".join(others),
            mend=command("repro", "check", "--weights" if options.weights else "--numeric"),
        )


def _weights(options: argparse.Namespace) -> int:
    own = ("profile",) if options.update else ()
    taken = "--against, --methods, --runs, --update (with --profile) or --json beside --weights"
    _refuse_others(options, "the check of packed weights", taken, own)
    request = common.request(WeightsRequest, options)
    with count_progress("packed weights", "method") as progress, common.stdout_to_stderr():
        found = (update_weights if options.update else check_weights)(request, progress)
    common.answer(options, found.to_json, lambda: _print_weights(found))
    return 1 if isinstance(found, WeightsChecked) and found.failed else 0


def _print_weights(found: WeightsChecked | WeightsUpdated) -> None:
    if isinstance(found, WeightsUpdated):
        for name, cells in found.reference.cells.items():
            print(f"{name}: " + ", ".join(f"{c.benchmark} {c.miou:.2f} ({c.images})" for c in cells))
        total = sum(found.sizes.values()) / 1e6
        print(f"wrote {found.file} and {len(found.sizes)} packed files beside it, {total:.2f} MB")
        return
    print(f"Packed weights of {found.request.file}; mIoU in percent over the first images, tolerance {POINTS} points\n")
    print(
        f"{'method':<10}{'benchmark':<11}{'images':>6}{'expected':>10}{'measured':>10}{'diff':>9}  {'pixels':<9}verdict"
    )
    for cell in found.cells:
        pixels = "same" if cell.same_counts else "changed"
        print(
            f"{cell.method:<10}{cell.expected.benchmark:<11}{cell.measured.images:>6}{cell.expected.miou:>10.3f}"
            f"{cell.measured.miou:>10.3f}{round(cell.difference, 3) + 0.0:>+9.3f}  {pixels:<9}{cell.verdict}"
        )
    if found.without:
        print(f"\nno packed weights: {', '.join(found.without)}")
    if not found.failed:
        return
    print(f"\n{len(found.failed)} of {len(found.cells)} cells differ")
    for name, (then, now) in found.packages.items():
        print(f"another version of {name}: {then} then, {now} now")
    print(f"fix:      undo the change, or, where it is meant, train and pack again: {found.request.renewing()}")


def _numeric(options: argparse.Namespace) -> int:
    taken = "--against, --methods, --update or --json beside --numeric"
    _refuse_others(options, "the check of numbers", taken)
    request = common.request(NumericRequest, options)
    with count_progress("numbers of fixed inputs", "piece") as progress, common.stdout_to_stderr():
        found = (update_numeric if options.update else check_numeric)(request, progress)
    common.answer(options, found.to_json, lambda: _print_numbers(found))
    return 1 if isinstance(found, NumericChecked) and found.failed else 0


def _print_numbers(found: NumericChecked | NumericUpdated) -> None:
    if isinstance(found, NumericUpdated):
        for piece in found.changed:
            print(_line(piece))
        print(f"wrote {found.file}: {found.pieces} pieces, {len(found.changed)} of them changed or new")
        return
    same = [j for j in found.judged if j.verdict == SAME]
    tensors = sum(j.tensors for j in same)
    print(f"{tensors} tensors of {len(same)} pieces are as in {found.request.file} (to {TOLERANCE:.0e} of their size)")
    if new := [j.name for j in found.judged if j.verdict == NEW_PIECE]:
        print(f"no committed values: {', '.join(new)}")
    if not found.failed:
        return
    print(f"\nfirst difference: {found.failed[0].first}\n")
    for piece in found.failed:
        print(_line(piece))
    for name, (then, now) in found.packages.items():
        print(f"another version of {name}: {then} then, {now} now")
    print(f"fix:      undo the change, or, where it is meant, write it down: {found.request.command('--update')}")


def _line(piece: Judged) -> str:
    if not piece.gaps:
        return f"{piece.name}: {piece.verdict}" + (f" ({piece.error})" if piece.error else "")
    return f"{piece.name}: {len(piece.gaps)} of {piece.tensors} tensors differ, first {piece.gaps[0].name}"


def _name(key: tuple[str, str, int, str]) -> str:
    table, row, seed, benchmark = key
    return f"{table} {row} seed {seed} {benchmark}"


def _print(found: Checked) -> None:
    verdicts = found.verdicts
    file = found.request.file
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
    for v in found.failed:
        reason = f" ({v.reference.reason})" if v.reference else ""
        print(f"failed: {_name(v.key)}: {WORDS[v.verdict]}{reason}")
