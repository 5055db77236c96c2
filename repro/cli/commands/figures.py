"""``repro figures``: pictures of what trained runs find salient, predict and correlate, image by image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from repro.cli import common
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.errors import UsageError, WeightsError
from repro.runs.plan import Run, make_plan

if TYPE_CHECKING:
    from repro.measuring.figures import ImageData


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``figures``."""
    parser.add_argument(
        "kind", nargs="?", choices=("maps", "qualitative"), default="maps",
        help="maps (default): what each run sees; qualitative: runs side by side on images chosen by their counts",
    )  # fmt: skip
    common.add_store_options(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--run", metavar="ID,..", type=common.names, help="runs of the store (repro list names them); A against B"
    )
    which.add_argument("--table", help="every trained run of a table, e.g. table1")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    parser.add_argument(
        "--profile", default="mini", help="profile of --table: smoke, mini (default), paper, or a .py file"
    )
    parser.add_argument("--methods", type=common.names, metavar="M,..", help="of --table, only these methods")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the real data sets (paper profile)")
    parser.add_argument("--benchmark", default="PC-59", help="whose images and classes (default: PC-59)")
    parser.add_argument("--images", type=common.names, metavar="KEY,..", help="file names without ending")
    parser.add_argument("--count", type=int, default=4, help="how many images where none is named (default: 4)")
    parser.add_argument(
        "--classes", metavar="NAME;..", help="class names, separated by semicolons (default: the largest of each image)"
    )
    parser.add_argument("--rows", type=int, default=3, help="how many classes where none is named (default: 3)")
    common.add_device_option(parser)
    common.add_json_option(parser)
    parser.epilog = (
        "For every image and run: image, saliency, foreground, prediction, ground truth (what the method offers), and\n"
        "for every image the correlation maps of all runs side by side. Nothing is trained for it.\n\n"
        "repro figures qualitative --run A,B[,..] --benchmark PC-59 --count 4 --out DIR: image, ground truth and runs\n"
        "side by side: the largest wins and losses of A against B, and where both fail, by mIoU of the single images.\n"
        "A and B: run ids, unique prefixes of them, or table:row of --profile."
    )
    parser.set_defaults(execute=figures)


def figures(options: argparse.Namespace) -> int:
    """Draw the figures; WeightsError where none of the runs is trained."""
    if options.count < 1 or options.rows < 1:
        raise UsageError("a figure needs an image and a class", expected="--count and --rows of 1 or more")
    if options.kind == "qualitative":
        from repro.cli.commands.qualitative import qualitative

        return qualitative(options)
    benchmark = get_benchmark(options.benchmark)
    with common.stdout_to_stderr():
        device = common.choose_device(options.device)
        written = _draw(_runs(options), benchmark, device, options)
    if options.json:
        common.print_json([str(path) for path in written])
    else:
        print("\n".join(map(str, written)))
    return 0


def _runs(options: argparse.Namespace) -> list[tuple[str, Run]]:
    """Ids in the store and the runs they were made from."""
    from repro.runs.addresses.stored import stored_run

    if options.run:
        return [(name, stored_run(name, options.runs, options.data_root)) for name in options.run]
    profile = load_profile(options.profile)
    plan = make_plan(
        load_table(options.table), profile, options.runs, data_root=options.data_root, methods=options.methods
    )
    return [(run.id, run) for run in plan.runs]


def _draw(runs: list[tuple[str, Run]], benchmark: Benchmark, device: str, options: argparse.Namespace) -> list[Path]:
    from repro.datasets.layout import prepared_pairs
    from repro.measuring.figures import choose_pairs, class_titles, image_data, load_trained
    from repro.reports.figures.maps import CORRELATION, correlation_figure, explain_figure

    names = class_titles(benchmark)
    wanted = [name.strip() for name in options.classes.split(";")] if options.classes else None
    correlations: dict[str, list[tuple[str, ImageData]]] = {}
    written: list[Path] = []
    untrained: list[WeightsError] = []
    for run_id, run in runs:
        try:
            method = load_trained(run, run_id, device)
        except WeightsError as error:
            common.log(f"left out: {error.message}")
            untrained.append(error)
            continue
        pairs = prepared_pairs(benchmark, run.assets.ensure_set(benchmark, common.log))
        for pair in choose_pairs(pairs, options.images, options.count):
            data = image_data(run, method, benchmark, pair, wanted, options.rows)
            title = f"{run.row.title} ({run.tower.title})"
            place = f"profile {run.profile.name} | {benchmark.id} | {pair.key}"
            path = options.out / f"{benchmark.id}_{pair.key}_{run_id}.png"
            explain_figure(data, names, f"{title} | {run_id} | {place}", path)
            written.append(path)
            if CORRELATION in data.maps:
                correlations.setdefault(pair.key, []).append((f"{title}\n{run_id}", data))
    if not written:
        raise untrained[0]
    for key, columns in correlations.items():
        path = options.out / f"{benchmark.id}_{key}_correlation.png"
        place = f"correlation of image and text | profile {runs[0][1].profile.name} | {benchmark.id} | {key}"
        correlation_figure(columns, names, place, path)
        written.append(path)
    for path in written:
        common.log(f"wrote {path}")
    return written
