"""``repro data synth | prepare | verify | captions``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from repro.cli import common
from repro.cli.commands import captions
from repro.errors import UsageError, unknown_name
from repro.files import write_json


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of the subcommands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    synth = commands.add_parser("synth", help="draw the miniature in the benchmarks' own source formats")
    common.add_store_options(synth)
    synth.add_argument("--out", type=Path, metavar="DIR", help="folder that becomes the data root (default: run store)")
    synth.add_argument("--seed", type=int, help="default: the profile's")
    synth.add_argument("--profile", default="mini", help="profile whose sizes are drawn (default: mini)")
    synth.add_argument("--no-prepare", action="store_true", help="write the source formats only (with --out)")
    synth.set_defaults(execute=_synth)

    prepare = commands.add_parser("prepare", help="convert a set's labels to the form that is evaluated")
    prepare.add_argument("sets", nargs="+", metavar="SET", help="ids of repro list, or all")
    prepare.add_argument("--data-root", type=Path, required=True, metavar="DIR")
    prepare.add_argument("--split", default=None, help="the split to convert (default: the set's own)")
    prepare.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    prepare.add_argument(
        "--again", action="store_true", help="make all labels anew that this program made; those of others stay"
    )
    common.add_json_option(prepare)
    prepare.set_defaults(execute=_prepare)

    verify = commands.add_parser("verify", help="check prepared data: counts, sizes, types, label values")
    verify.add_argument("sets", nargs="*", metavar="SET", help="ids of repro list (default: all)")
    verify.add_argument("--data-root", type=Path, required=True, metavar="DIR")
    verify.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    verify.add_argument("--split", default=None, help="the split to check (default: the set's own)")
    verify.add_argument("--expected-count", type=int, metavar="N", help="images a sample has (default: the whole set)")
    verify.add_argument(
        "--against-sources", action="store_true", help="also make every label again, in memory, and compare the pixels"
    )
    verify.add_argument("--out", type=Path, metavar="DIR", help="write SET-SPLIT.json and SET-SPLIT.txt there")
    common.add_json_option(verify)
    verify.set_defaults(execute=_verify)

    captions.add_parser(commands)


def _set_ids(words: list[str]) -> list[str]:
    from repro.runs.assets import all_sets

    known = all_sets()
    if words in ([], ["all"]):
        return list(known)
    by_case = {k.casefold(): k for k in known}
    for word in words:
        if word.casefold() not in by_case:
            raise unknown_name("data set", word, known)
    return [by_case[w.casefold()] for w in words]


def _synth(options: argparse.Namespace) -> int:
    from repro.configuration.profiles import load_profile
    from repro.mini.draw import CONTACT_SHEET
    from repro.runs.assets import Assets

    profile = load_profile(options.profile)
    if not profile.synthetic:
        raise UsageError(
            f"profile {profile.name} has no generated data",
            expected="a profile that draws its own",
            mend="--profile mini",
        )
    seed = profile.data["seed"] if options.seed is None else options.seed
    if options.out is None:
        profile = dataclasses.replace(profile, data={**profile.data, "seed": seed})
        root = Assets(profile, options.runs, None).ensure_data(common.log)
    else:
        root = options.out
        _synth_into(root, {**profile.data, "seed": seed}, prepared=not options.no_prepare)
    print(root)
    common.log(f"contact sheet: {root / CONTACT_SHEET}")
    return 0


def _synth_into(root: Path, data: dict[str, Any], *, prepared: bool) -> None:
    """Draw the miniature ``data`` describes into a folder the user named; anew where other code drew what is there."""
    from repro.mini.draw import draw_miniature
    from repro.mini.synth import MANIFEST
    from repro.runs.addresses.code import FILE, Code
    from repro.runs.addresses.judging import miniature_subject
    from repro.runs.progress import count_progress

    code, subject = Code(None), miniature_subject(data)
    if (root / MANIFEST).is_file() and not (verdict := code.judge(root / FILE, subject, {})).fits:
        common.log(f"drawing anew: {verdict.reason}")
        (root / MANIFEST).unlink()
    draw_miniature(root, data["seed"], data.get("sizes", {}), common.log, prepared=prepared, progress=count_progress)
    if not (root / FILE).is_file() or not code.judge(root / FILE, subject, {}).fits:
        write_json(root / FILE, code.record(subject, {}))


def _prepare(options: argparse.Namespace) -> int:
    from repro.datasets.prepare.command import prepare_alone
    from repro.runs.progress import count_progress

    summaries = []
    for set_id in _set_ids(options.sets):
        with count_progress(f"preparing {set_id}", "image") as update:
            summary = prepare_alone(set_id, options.data_root, options.jobs, update, options.split, again=options.again)
        summaries.append({**dataclasses.asdict(summary), "folder": str(summary.folder)})
        common.log(str(summary))
    if options.json:
        common.print_json(summaries)
    return 0


def _verify(options: argparse.Namespace) -> int:
    from repro.datasets.verify.verify import verify
    from repro.runs.progress import count_progress

    reports = []
    for set_id in _set_ids(options.sets):
        with count_progress(f"verifying {set_id}", "image") as update:
            report = verify(
                set_id,
                options.data_root,
                options.expected_count,
                options.jobs,
                options.split,
                update,
                options.against_sources,
            )
        reports.append(report)
        if options.out:
            common.log(f"wrote {' and '.join(map(str, report.write(options.out)))}")
        if not options.json:
            print(report, flush=True)
    if options.json:
        common.print_json([r.to_json() for r in reports])
    return 0 if all(r.ok for r in reports) else 3
