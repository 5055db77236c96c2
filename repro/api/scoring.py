"""Score predictions of other code: the figures an evaluation of the same label maps would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repro.api.running import measured
from repro.api.sets import open_sets
from repro.configuration.profiles import load_profile
from repro.console import Log, log, stdout_to_stderr
from repro.datasets.benchmarks import get_benchmark
from repro.hashing import digest
from repro.requests import ScoreRequest
from repro.runs.assets import Assets
from repro.runs.scored import METHOD, describe_scored, scored_id

if TYPE_CHECKING:
    from repro.interop.predictions import Predictions


def score(request: ScoreRequest, *, log: Log = log) -> dict[str, Any]:
    """Score the predictions and return a row: what was scored on what, and all figures (docs/json.md).

    The counts become a run of the store. Predictions that were scored before are read, others (by the content of their
    files) become another run. Raises DataError for predictions that are absent, do not belong to the images, or are no
    class indices of the benchmark.
    """
    from repro.evaluation.scoring import score_predictions, scored_digest
    from repro.interop.opening import open_predictions, read_numbers

    profile, benchmark = load_profile(request.profile), get_benchmark(request.benchmark)
    numbers = read_numbers(benchmark, request.first_class, request.category_ids)
    predictions = open_predictions(request.predictions, benchmark, numbers)
    assets = Assets(profile, request.runs, None if profile.synthetic else request.data_root)
    external = request.data_root if profile.synthetic else None
    with stdout_to_stderr():
        (opened,) = open_sets(assets, [benchmark], external, log, split=request.split, limit=request.limit)
        predictions.check_keys([p.key for p in opened.pairs], opened.keys)
        facts = {
            "method": METHOD,
            "name": request.name or _name(predictions),
            "format": predictions.format,
            "numbers": predictions.numbers.facts(),
            "content": predictions.content(),
            "seed": 0,
        }
        run_id, store = scored_id(facts), assets.store
        protocol = scored_digest(benchmark)
        key = digest([protocol, opened.key])
        with store.lock(run_id):
            describe_scored(store.run(run_id), facts)
            folder = store.evaluation(run_id, benchmark.id, key, part=bool(opened.part))
            cell = {"benchmark": benchmark.id, "protocol": protocol, "profile": profile.name, "data": opened.key}
            store.claim(folder, key, cell | ({"part": opened.part} if opened.part else {}))
            log(f"scoring {facts['name']} on {benchmark.id}: {opened.part or f'{len(opened.pairs)} images'}")
            content = f"{run_id} {'' if opened.drawn else opened.key}"
            result = score_predictions(predictions, benchmark, opened.pairs, folder, content, measures=request.measures)
    return {
        "method": METHOD,
        "name": facts["name"],
        "format": predictions.format,
        "benchmark": benchmark.id,
        "profile": profile.name,
        "run": run_id,
        "folder": str(folder),
        "complete": not opened.part and len(opened.pairs) == benchmark.split(request.split).num_images,
        "num_images": len(opened.pairs),
        "part": opened.part,
        "protocol": protocol,
        **result.metrics,
        **measured(folder, benchmark, tuple(request.measures)),
        "labels": opened.labels,
    }


def _name(predictions: Predictions) -> str:
    """Return the name of the folder that holds the predictions."""
    source = predictions.source.resolve()
    return (source.parent if source.suffix == ".json" else source).name
