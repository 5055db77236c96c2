"""Choose on held-out training scenes: train a method on the others, read it on these; no benchmark is looked at."""

from __future__ import annotations

import dataclasses

from repro.api.running import single_plan
from repro.console import Log, log, stdout_to_stderr
from repro.errors import UsageError
from repro.hardware import choose_device
from repro.hashing import digest
from repro.requests import RunRequest
from repro.runs.plan import train_set


def held_out(request: RunRequest, scenes: int = 100, *, device: str = "auto", log: Log = log) -> dict[str, float]:
    """Train the run without the last ``scenes`` images of the training set and return figures on them, fractions.

    ``miou_gt``, ``pacc``: all classes of the set, one view of each whole image. ``<map>_ap``: average precision of the
    maps a method offers (:func:`repro.evaluation.maps.measure_maps`), with ``chance_ap`` that of a random ranking. The
    weights lie in the store's cache under the address of the run and the number of scenes; a finished training is read.
    Raises UsageError for a method that is not trained and where no image would be left to train on.
    """
    from repro.datasets.layout import prepared_pairs
    from repro.errors import RunError
    from repro.evaluation.evaluate import evaluate
    from repro.evaluation.maps import measure_maps
    from repro.runs.execute import build_method
    from repro.training.train import train

    run, sets = request.run(), train_set()
    if run.train is None:
        raise UsageError(f"{run.entry.name} is not trained: there is nothing to choose", found="a zero-shot method")
    with stdout_to_stderr():
        place = choose_device(device)
        pairs = prepared_pairs(sets, run.assets.ensure_data(log), split="train")
        if not 0 < scenes < len(pairs):
            raise UsageError("nothing is left to train on", expected=f"1 to {len(pairs) - 1} scenes", found=scenes)
        rest, own = pairs[:-scenes], pairs[-scenes:]
        folder = run.assets.store.cache / "held_out" / digest([run.facts, run.assets.inputs(run.row.tower), scenes], 12)
        method = build_method(single_plan(run), run, log)
        log(f"training {run.row.title} on {len(rest)} scenes, {scenes} are held out")
        train(method, run.train, rest, sets.prompt_names(), folder, run.seed, device=place, method_name=run.entry.name)
        whole = dataclasses.replace(run.profile.protocol, canvas=run.profile.protocol.window, overlap=0.0)
        single = dataclasses.replace(whole, whole_image=False)
        found = evaluate(method, sets, own, single, folder / "scenes", device=place, progress=False).metrics
        figures = {name: float(found[name] or 0.0) for name in ("miou_gt", "pacc")}
        try:
            scores = measure_maps(method, sets, own, run.profile.protocol)
        except RunError:  # a method without maps
            return figures
    return figures | {name: float(scores.mean(name)[0]) for name in scores.names}
