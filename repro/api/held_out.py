"""Choose on held-out training scenes: train a method on the others, read it on these; no benchmark is looked at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from repro.api.running import single_plan
from repro.console import Log, log, stdout_to_stderr
from repro.errors import UsageError
from repro.hardware import choose_device
from repro.hashing import digest
from repro.locks import folder_lock
from repro.preemption import deferred
from repro.requests import RunRequest
from repro.runs.addresses.judging import evaluation_subject, training_subject
from repro.runs.plan import Run, train_set

SCENES = 100


def held_out(
    request: RunRequest, scenes: int = SCENES, *, maps: bool = True, device: str = "auto", log: Log = log
) -> dict[str, float]:
    """Train the run without the last ``scenes`` images of the training set and return figures on them, fractions.

    ``miou_gt``, ``pacc``: all classes of the set, one view of each whole image. With ``maps`` also ``<map>_ap``:
    average precision of the maps a method offers (:func:`repro.evaluation.maps.measure_maps`), with ``chance_ap`` that
    of a random ranking. The weights lie in :func:`held_out_folder`; a finished training is read, one that was ended
    goes on. Raises UsageError for a method that is not trained and where no image would be left to train on.
    """
    from repro.errors import RunError
    from repro.evaluation.evaluate import evaluate
    from repro.evaluation.maps import measure_maps
    from repro.runs.execute import build_method
    from repro.training.train import train

    run = request.run()
    sets = train_set(run.profile)
    if run.train is None:
        raise UsageError(f"{run.entry.name} is not trained: there is nothing to choose", found="a zero-shot method")
    with stdout_to_stderr():
        place = choose_device(device)
        pairs = run.assets.ensure_pairs(sets, "train", log)
        if not 0 < scenes < len(pairs):
            raise UsageError("nothing is left to train on", expected=f"1 to {len(pairs) - 1} scenes", found=scenes)
        rest, own = pairs[:-scenes], pairs[-scenes:]
        method = build_method(single_plan(run), run, log)
        folder = held_out_folder(run, scenes)
        whole = dataclasses.replace(run.profile.protocol, canvas=run.profile.protocol.window, overlap=0.0)
        single = dataclasses.replace(whole, whole_image=False)
        with folder_lock(folder, wait=True), deferred():
            log(f"training {run.row.title} on {len(rest)} scenes, {scenes} are held out")
            train(
                method, run.train, rest, sets.prompt_names(), folder, run.seed, device=place, method_name=run.entry.name
            )
            found = evaluate(method, sets, own, single, folder / "scenes", device=place, progress=False).metrics
        figures = {name: float(found[name] or 0.0) for name in ("miou_gt", "pacc")}
        if not maps:
            return figures
        try:
            scores = measure_maps(method, sets, own, run.profile.protocol)
        except RunError:  # a method without maps
            return figures
    return figures | {name: float(scores.mean(name)[0]) for name in scores.names}


def held_out_folder(run: Run, scenes: int) -> Path:
    """Return where ``run`` trained without ``scenes`` of its images lies: the run, its data and tower, and what the
    code makes of them decide.
    """
    assets = run.assets
    code = [assets.code.token(subject) for subject in (training_subject(run), evaluation_subject(run))]
    return assets.store.cache / "held_out" / digest([run.facts, assets.inputs(run.row.tower), scenes, code], 12)
