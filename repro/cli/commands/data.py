"""``repro data synth | prepare | verify | captions``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from repro.cli import common
from repro.cli.commands import captions


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of the subcommands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    synth = commands.add_parser("synth", help="draw the miniature in the benchmarks' own source formats")
    common.declare(synth, "runs")
    synth.add_argument("--out", type=Path, metavar="DIR", help="folder that becomes the data root (default: run store)")
    synth.add_argument("--seed", type=int, help="default: the profile's")
    synth.add_argument("--profile", default="mini", help="profile whose sizes are drawn (default: mini)")
    synth.add_argument(
        "--no-prepare", dest="prepared", action="store_false", help="write the source formats only (with --out)"
    )
    synth.set_defaults(execute=_synth)

    prepare = commands.add_parser("prepare", help="convert a set's labels to the form that is evaluated")
    prepare.add_argument(
        "sets", nargs="+", metavar="SET", help="ids of repro list, or all: the papers' and what is there"
    )
    prepare.add_argument("--data-root", type=Path, required=True, metavar="DIR")
    prepare.add_argument("--split", default=None, help="the split to convert (default: the set's own)")
    prepare.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    prepare.add_argument(
        "--again", action="store_true", help="make all labels anew that this program made; those of others stay"
    )
    common.declare(prepare, "json")
    prepare.set_defaults(execute=_prepare)

    verify = commands.add_parser("verify", help="check prepared data: counts, sizes, types, label values")
    verify.add_argument(
        "sets",
        nargs="*",
        metavar="SET",
        help="ids of repro list (default: the papers' and what is there)",
    )
    verify.add_argument("--data-root", type=Path, required=True, metavar="DIR")
    verify.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    verify.add_argument("--split", default=None, help="the split to check (default: the set's own)")
    verify.add_argument("--expected-count", type=int, metavar="N", help="images a sample has (default: the whole set)")
    verify.add_argument(
        "--against-sources", action="store_true", help="also make every label again, in memory, and compare the pixels"
    )
    verify.add_argument("--out", type=Path, metavar="DIR", help="write SET-SPLIT.json and SET-SPLIT.txt there")
    common.declare(verify, "json")
    verify.set_defaults(execute=_verify)

    captions.add_parser(commands)


def _synth(options: argparse.Namespace) -> int:
    from repro.api.drawing import SynthRequest, draw_data
    from repro.mini.draw import CONTACT_SHEET

    root = draw_data(common.request(SynthRequest, options))
    print(root)
    common.log(f"contact sheet: {root / CONTACT_SHEET}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from repro.datasets.prepare.command import prepare_alone
    from repro.runs.data import set_ids
    from repro.runs.progress import count_progress

    summaries = []
    for set_id in set_ids(options.sets, options.data_root):
        with count_progress(f"preparing {set_id}", "image") as update:
            summary = prepare_alone(set_id, options.data_root, options.jobs, update, options.split, again=options.again)
        summaries.append({**dataclasses.asdict(summary), "folder": str(summary.folder)})
        common.log(str(summary))
    if options.json:
        common.print_json(summaries)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from repro.datasets.verify.verify import verify
    from repro.runs.data import set_ids
    from repro.runs.progress import count_progress

    reports = []
    for set_id in set_ids(options.sets, options.data_root):
        with count_progress(f"verifying {set_id}", "image") as update:
            asked = (options.data_root, options.expected_count, options.jobs, options.split)
            report = verify(set_id, *asked, update, options.against_sources)
        reports.append(report)
        if options.out:
            common.log(f"wrote {' and '.join(map(str, report.write(options.out)))}")
        if not options.json:
            print(report, flush=True)
    if options.json:
        common.print_json([r.to_json() for r in reports])
    return 0 if all(r.ok for r in reports) else 3
