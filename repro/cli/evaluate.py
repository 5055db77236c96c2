"""``repro eval METHOD``: one method on benchmarks of the profile, or on a folder of real data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro import ranks
from repro.benchmarks.protocol import protocol_digest
from repro.benchmarks.spec import BENCHMARKS, Benchmark, get_benchmark
from repro.cli import common, launching, speed_options
from repro.cli.backbone import chosen_profile
from repro.cli.train import add_run_options, command_for, single_plan, single_run
from repro.errors import DataError, WeightsError, command
from repro.experiments.assets import Assets
from repro.experiments.plan import Run, evaluation_key
from repro.hashing import file_digest

if TYPE_CHECKING:
    from repro.benchmarks.layout import Pair
    from repro.layers.method import Method

UNTRAINED = "none"


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``eval``."""
    add_run_options(parser)
    parser.add_argument("--benchmarks", type=common.names, metavar="B,..", help="default: all, or all the folder has")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="evaluate on the sets below DIR")
    parser.add_argument("--split", help="another split than the benchmark's own (e.g. train)")
    parser.add_argument(
        "--weights",
        "--checkpoint",
        metavar="FILE",
        help=f"weights of this method; '{UNTRAINED}' for none (default: the run's own). An imported checkpoint brings "
        "its own tower and options",
    )
    common.add_device_option(parser)
    launching.add_options(parser, ("torchrun", "slurm"))
    speed_options.add(parser, shared=True)
    common.add_measures_option(parser)
    common.add_json_option(parser)
    parser.epilog = (
        "Without --weights the run's own are used; in a profile that draws its own data they are trained first where\n"
        "they are missing. Figures on a handful of images, or of untrained weights, mean nothing and are marked so."
    )
    parser.set_defaults(execute=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate and print all aggregate metrics; exit code 3 where a named benchmark has no data."""
    profile = chosen_profile(options)
    external = options.data_root if profile.synthetic else None
    assets = Assets(profile, options.runs, None if profile.synthetic else options.data_root)
    run = single_run(options, profile, assets, options.weights)
    chosen = [get_benchmark(b) for b in options.benchmarks or BENCHMARKS]
    how = launching.chosen(options)
    if how is not None:
        return launching.start(options, how, options.runs, f"eval-{run.id}")
    from repro.engine import processes
    from repro.experiments.execute import joined

    with (
        common.stdout_to_stderr(),
        joined(single_plan(run), common.choose_device(options.device), common.log) as device,
    ):
        data = processes.on_first(lambda: _data(run, chosen, external, options))
        from repro.engine.speedups import speed_up

        speedups = speed_options.chosen(options)
        speedups.check(device)
        method, weights = _method(run, options, device)
        method = speed_up(method, speedups, device).eval()
        rows = [_evaluate(run, method, weights, b, pairs, key, options, device) for b, pairs, key, _ in data]
        rows = [{**row, "labels": labels} for row, (_, _, _, labels) in zip(rows, data, strict=True)]
    if not ranks.is_first():
        return 0
    if options.json:
        common.print_json(rows)
    else:
        _print(rows)
    return 0


def _data(
    run: Run, chosen: list[Benchmark], external: Path | None, options: argparse.Namespace
) -> list[tuple[Benchmark, list[Pair], str, str]]:
    """Of each benchmark that has data its pairs, what their content is known by, and who made the labels."""
    from repro.experiments.external import named_content, not_compared, open_data

    cache = run.assets.store.cache
    found = []
    for benchmark in chosen:
        root = external or run.assets.ensure_data(common.log)
        try:
            pairs, prepared = open_data(benchmark, root, cache, options.split)
        except DataError as error:
            if options.benchmarks or external is None:
                raise
            common.log(f"skipped {benchmark.id}: {error.message}")
            continue
        split = options.split
        drawn = external is None and run.profile.synthetic
        key = run.assets.data_key(benchmark.id) if drawn else named_content(benchmark.id, prepared, cache, split)
        labels = "" if drawn else not_compared(benchmark, prepared, split)
        found.append((benchmark, pairs, f"{key} {split or ''}".strip(), labels))
    if not found:
        raise DataError(
            f"no benchmark has data below {external}",
            expected="the layout of docs/protocol.md",
            mend=command("repro", "data", "prepare", "all", "--data-root", external or "DIR"),
        )
    return found


def _method(run: Run, options: argparse.Namespace, device: str) -> tuple[Method, str]:
    from repro.experiments.execute import ensure_trained

    if options.weights is None:
        if run.train and not run.profile.synthetic and not run.assets.store.weights(run.id).is_file():
            raise WeightsError(
                f"{run.id} is not trained",
                expected=str(run.assets.store.weights(run.id)),
                mend=f"name --weights FILE, or train: {command_for('train', run, options)}",
            )
        placement = launching.placement(options)
        return ensure_trained(single_plan(run), run, device, common.log, placement), "own"
    return load_named(run, options.weights, device)


def load_named(run: Run, weights: str, device: str) -> tuple[Method, str]:
    """The method of ``run`` with the weights in the file ``weights`` and their digest, or untrained for "none".

    Raises WeightsError for a file that is absent, no weights, of another method or of other options.
    """
    from repro.engine.train import load_weights
    from repro.experiments.execute import build_method

    method = build_method(single_plan(run), run, common.log)
    if weights == UNTRAINED:
        return method.to(device).eval(), "untrained"
    path = Path(weights)
    load_weights(method, path, run.entry.name)
    return method.to(device).eval(), file_digest(path, 12)


def _evaluate(
    run: Run,
    method: Method,
    weights: str,
    benchmark: Benchmark,
    pairs: list[Pair],
    data_key: str,
    options: argparse.Namespace,
    device: str,
) -> dict[str, Any]:
    from repro.clip.same_text import read_classes, same_note
    from repro.clip.text_cache import keep_text
    from repro.engine import processes
    from repro.engine.evaluate_many import evaluate_together
    from repro.engine.speedups import float32_products
    from repro.experiments.execute import claim_evaluation, describe_run
    from repro.experiments.judging import evaluation_place

    store, profile, speedups = run.assets.store, run.profile, speed_options.chosen(options)
    keep_text(method, store.cache / "text")
    protocol = protocol_digest(benchmark, profile.protocol)
    key = evaluation_key(run, benchmark, data_key, weights, speedups.facts())
    facts: dict[str, Any] = {
        "benchmark": benchmark.id,
        "protocol": protocol,
        "profile": profile.name,
        "weights": weights,
        "data": data_key,
    }
    facts |= {"speedups": speedups.facts()} if speedups.facts() else {}
    with processes.held_by_first(store.lock(run.id)):
        processes.on_first(lambda: describe_run(run, device))
        place = evaluation_place(run, benchmark.id, key, protocol if weights == "own" and not speedups.facts() else "")
        folder = processes.on_first(lambda: claim_evaluation(run, place.path, key, facts))
        common.log(f"evaluating {run.entry.title} on {benchmark.id}: {len(pairs)} images")
        asked = method.prompts(benchmark.prompt_names(), benchmark.background_index)
        if note := same_note(read_classes(method, asked), asked):
            common.log(f"{benchmark.id}: {note} (as published)")
        measures = common.chosen_measures(options)
        with float32_products(speedups.tf32):
            drawn = profile.synthetic and options.data_root is None
            result = evaluate_together(
                method,
                benchmark,
                pairs,
                profile.protocol,
                folder,
                measures,
                device=device,
                data="" if drawn else data_key,
            )
    return {
        "method": run.entry.name,
        "benchmark": benchmark.id,
        "profile": profile.name,
        "weights": weights,
        "precision": speedups.label(),
        "run": run.id,
        "folder": str(folder),
        "complete": len(pairs) == benchmark.split(options.split).num_images,
        "num_images": len(pairs),
        "protocol": protocol,
        **result.metrics,
        **measured(folder, benchmark, measures),
    }


def measured(folder: Path, benchmark: Benchmark, measures: tuple[str, ...]) -> dict[str, float | None]:
    """The figures of the ``measures`` that lie beside an evaluation."""
    if not measures:
        return {}
    from repro.metrics.counts import Counts
    from repro.metrics.measured import counted_measures, read_measure
    from repro.stats.metrics import seen_metrics

    records = [read_measure(folder, name, benchmark) for name in counted_measures(measures)]
    found = {name: value for record in records if record for name, value in record["values"].items()}
    return found | (seen_metrics(Counts.load(folder / "counts.npz"), benchmark) if "seen" in measures else {})


def _print(rows: list[dict[str, Any]]) -> None:
    metrics = tuple(name for name in rows[0] if name != "labels")
    metrics = metrics[metrics.index("miou_gt") :]
    first = rows[0]
    precision = "" if first["precision"] == "float32" else f", {first['precision']}"
    print(f"{first['method']}, profile {first['profile']}, weights: {first['weights']}{precision}; percent")
    print(f"{'':<10}{'images':>8}" + "".join(f"{m:>{max(12, len(m) + 2)}}" for m in metrics))
    for row in rows:
        values = "".join(
            f"{'-' if row[m] is None else format(100 * row[m], '.1f'):>{max(12, len(m) + 2)}}" for m in metrics
        )
        print(f"{row['benchmark']:<10}{row['num_images']:>8}{values}")
    if first["weights"] == "untrained" or not all(r["complete"] for r in rows) or first["profile"] != "paper":
        print("These figures are no benchmark result: " + _why(rows) + ".")
    for row in rows:
        if row["labels"]:
            print(f"{row['benchmark']}: {row['labels']}.")


def _why(rows: list[dict[str, Any]]) -> str:
    reasons = []
    if rows[0]["weights"] == "untrained":
        reasons.append("the weights are not trained")
    if rows[0]["profile"] != "paper":
        reasons.append(f"the method is that of profile {rows[0]['profile']}")
    partial = [f"{r['benchmark']} ({r['num_images']})" for r in rows if not r["complete"]]
    if partial:
        reasons.append("not all images of the set are there: " + ", ".join(partial))
    return "; ".join(reasons)
