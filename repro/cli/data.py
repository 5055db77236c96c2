"""``repro data synth | prepare | verify``."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import common
from repro.errors import UsageError, unknown_name


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of the three subcommands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    synth = commands.add_parser("synth", help="draw the miniature in the benchmarks' own source formats")
    synth.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder that becomes the data root")
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--profile", default="mini", help="profile whose sizes are drawn (default: mini)")
    synth.add_argument("--no-prepare", action="store_true", help="write the source formats only")
    synth.set_defaults(execute=_synth)

    prepare = commands.add_parser("prepare", help="convert a set's labels to the form that is evaluated")
    prepare.add_argument("sets", nargs="+", metavar="SET", help="ids of repro list, or all")
    prepare.add_argument("--data-root", type=Path, required=True, metavar="DIR")
    prepare.add_argument("--split", default=None, help="the split to convert (default: the set's own)")
    prepare.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    common.add_json_option(prepare)
    prepare.set_defaults(execute=_prepare)

    verify = commands.add_parser("verify", help="check prepared data: counts, sizes, types, label values")
    verify.add_argument("sets", nargs="*", metavar="SET", help="ids of repro list (default: all)")
    verify.add_argument("--data-root", type=Path, required=True, metavar="DIR")
    verify.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    verify.add_argument("--report", type=Path, metavar="FILE", help="also write the report as JSON")
    common.add_json_option(verify)
    verify.set_defaults(execute=_verify)


def _set_ids(words: list[str]) -> list[str]:
    from repro.experiments.assets import all_sets

    known = all_sets()
    if words in ([], ["all"]):
        return list(known)
    by_case = {k.casefold(): k for k in known}
    for word in words:
        if word.casefold() not in by_case:
            raise unknown_name("data set", word, known)
    return [by_case[w.casefold()] for w in words]


def _synth(options: argparse.Namespace) -> int:
    from repro.benchmarks.prepare import prepare
    from repro.data.mini.contact_sheet import write_contact_sheet
    from repro.data.mini.synth import MiniSizes, synth
    from repro.experiments.profiles import load_profile

    profile = load_profile(options.profile)
    if not profile.synthetic:
        raise UsageError(
            f"profile {profile.name} has no generated data",
            expected="a profile that draws its own",
            mend="--profile mini",
        )
    synth(options.out, seed=options.seed, sizes=MiniSizes(**profile.data.get("sizes", {})))
    common.log(f"wrote the source formats below {options.out}")
    if not options.no_prepare:
        for set_id in _set_ids([]):
            prepare(set_id, options.out)
            common.log(f"prepared {set_id}")
    common.log(f"wrote {write_contact_sheet(options.out / 'contact_sheet.png', seed=options.seed)}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from repro.benchmarks.prepare import prepare

    summaries = []
    for set_id in _set_ids(options.sets):
        summary = prepare(set_id, options.data_root, jobs=options.jobs, split=options.split)
        summaries.append(summary)
        common.log(str(summary))
    if options.json:
        import dataclasses

        common.print_json(
            [{k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(s).items()} for s in summaries]
        )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from repro.benchmarks.verify import verify
    from repro.files import write_json

    reports = [verify(set_id, options.data_root, jobs=options.jobs) for set_id in _set_ids(options.sets)]
    document = [r.to_json() for r in reports]
    if options.report:
        write_json(options.report, document)
    if options.json:
        common.print_json(document)
    else:
        for r in reports:
            print(r)
    return 0 if all(r.ok for r in reports) else 3
