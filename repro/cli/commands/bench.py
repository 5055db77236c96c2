"""``repro bench``: time and memory of inference over methods, towers, vocabularies, image sizes and batches."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from repro.cli import common, speed_options
from repro.configuration.profiles import Profile, load_profile
from repro.cost import bench
from repro.errors import ResourceError, UsageError, command, unknown_name
from repro.methods import get_method, registry
from repro.runs.assets import Assets

TOWERS = ("base", "large")


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``bench``."""
    common.add_store_options(parser)
    parser.add_argument("--profile", default="mini", help="smoke, mini (default), paper, or a .py file")
    parser.add_argument("--methods", type=common.names, metavar="M,..", help="default: all")
    parser.add_argument(
        "--towers", type=common.names, metavar="T,..", help="default: base, and large where there is one"
    )
    parser.add_argument("--classes", type=common.integers, default=[150], metavar="N,..", help="default: 150")
    parser.add_argument("--sizes", type=common.integers, metavar="PX,..", help="image sides (default: the canvas)")
    parser.add_argument(
        "--batches", type=common.integers, default=[1], metavar="B,..", help="images at once (default: 1)"
    )
    parser.add_argument(
        "--curves",
        action="store_true",
        help="scaling: 20 to 847 classes, 1 to 16 windows, 1 to 8 images; one at a time",
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="measured runs (default: 50 on a GPU, 10 on a CPU)")
    parser.add_argument("--warmup", type=int, metavar="N", help="runs before them (default: 10 on a GPU, 3 on a CPU)")
    parser.add_argument("--no-count", action="store_true", help="do not count GFLOPs")
    parser.add_argument("--no-stages", action="store_true", help="do not tell stages apart (saves runs)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where files go (default: ./results/<profile>)")
    parser.add_argument("--name", default="bench", help="name of the files (default: bench)")
    common.add_device_option(parser)
    speed_options.add(parser)
    group = parser.add_argument_group("a visit to a GPU (docs/gpu-visit.md)")
    group.add_argument("--visit", action="store_true", help="all of a fixed list, into ./results/<device>")
    group.add_argument("--sections", type=common.names, metavar="S,..", help="only these of the list")
    group.add_argument("--budget", type=float, default=540, metavar="S", help="seconds (default: 540)")
    group.add_argument("--quick", action="store_true", help="tiny models, one run each: checks the way, no more")
    common.add_json_option(parser)
    parser.epilog = (
        "Needs neither data nor weights. Writes <name>.json, .csv, .md and, where an axis has several points,\n"
        "<name>_scaling.pdf and .svg. Every combination of the lists is measured, with --curves one axis at a time.\n\n"
        "examples:\n"
        "  repro bench --profile paper --methods catseg,disa --towers base\n"
        "  repro bench --curves --methods disa --repeat 5\n"
        "  repro bench --profile paper --amp bf16 --compile --name bench-bf16\n"
        "  repro bench --visit"
    )
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Measure and write; exit code 1 where a point failed, or a GPU is not right."""
    if options.visit:
        return _visit(options)
    profile = load_profile(options.profile)
    with common.stdout_to_stderr():
        from repro.cost.timing import default_runs

        device = common.choose_device(options.device)
        speedups = speed_options.chosen(options)
        speedups.check(device)
        warmup, repeat = default_runs(device)
        runs = bench.Runs(
            repeat if options.repeat is None else options.repeat,
            warmup if options.warmup is None else options.warmup,
            count=not options.no_count,
            stages=not options.no_stages,
        )
        if runs.repeat < 1 or runs.warmup < 0:
            raise UsageError("a timing needs at least one run", expected="--repeat 1 or more, --warmup 0 or more")
        points = _points(options, profile, speedups)
    records: list[dict[str, Any]] = []
    try:
        with common.stdout_to_stderr():
            for record in bench.measure(points, device, runs, common.log):
                records.append({"profile": profile.name, **record})  # noqa: PERF401 (kept one by one)
    finally:  # also Ctrl-C: what was measured is kept
        if records:
            _write(records, options)
    if options.json:
        common.print_json(records)
    else:
        from repro.reports.bench import bench_sheet

        print(bench_sheet(records).markdown())
    return 1 if any(r["status"] == bench.FAILED for r in records) else 0


def _visit(options: argparse.Namespace) -> int:
    from repro.visit.running import VisitRequest, visit

    chosen = {"sections": options.sections} if options.sections else {}
    device = "cuda" if options.device == "auto" else options.device
    request = VisitRequest(device, options.quick, budget_s=options.budget, results=options.results, **chosen)
    return 0 if visit(request) else 1


def _points(options: argparse.Namespace, profile: Profile, speedups: Any) -> list[bench.Point]:
    assets = Assets(profile, options.runs, None)
    towers = options.towers or [t for t in TOWERS if t in profile.towers]
    for tower in towers:
        if tower not in profile.towers:
            mend = command("repro", "describe", profile.name)
            raise unknown_name(f"tower of profile {profile.name}", tower, profile.towers, mend=mend)
    for count in options.classes:
        bench.class_names(count)
    subjects = []
    for tower in towers:
        for name in options.methods or registry():
            entry = get_method(name)
            values = profile.methods.get(name, {}).get(tower, {})
            spec = assets.untrained_tower(tower)
            subjects.append(bench.Subject(entry, profile.towers[tower].title, spec, entry.make_options(values)))
    if options.curves:
        return bench.curves(subjects, profile.protocol, classes=options.classes[0], speedups=[speedups])
    sizes = options.sizes or [profile.protocol.canvas]
    return bench.grid(
        subjects, profile.protocol, classes=options.classes, sizes=sizes, batches=options.batches, speedups=[speedups]
    )


def _write(records: list[dict[str, Any]], options: argparse.Namespace) -> None:
    from repro.reports.bench import write_bench, write_scaling

    folder = common.results_folder(options.profile, options.results)
    paths = write_bench(records, folder, options.name, title=f"Timings (profile {records[0]['profile']})")
    try:
        paths += write_scaling(records, folder, f"{options.name}_scaling")
    except ImportError as error:
        raise ResourceError(
            "the figure needs matplotlib; the tables are written",
            mend="pip install 'repro-ovseg[train]' -c constraints.txt",
        ) from error
    for path in paths:
        common.log(f"wrote {path}")
