"""Label maps of images: in memory by a model that is kept, or as files beside one another."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.api.outputs import Target, find_targets, image_digest, make_folder, name_too_long
from repro.api.running import load_named
from repro.console import Log, duration, log, stdout_to_stderr
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.protocol import protocol_digest
from repro.datasets.vocabulary import first_synonym
from repro.errors import ReproError, WeightsError, command
from repro.files import write_atomic, write_json
from repro.hardware import choose_device
from repro.hashing import digest, file_digest
from repro.requests import UNTRAINED, PredictRequest, RunRequest
from repro.runs.addresses.judging import prediction_subject
from repro.runs.plan import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repro.evaluation.predict import ClassList, Predictor
    from repro.methods.interface import Method

FORMAT = 1
ZERO_SHOT = "zero-shot"


def predict_files(request: PredictRequest, *, log: Log = log) -> dict[str, Any]:
    """Write label map, overlay and JSON of every image that is not finished (docs/json.md).

    Returns what all share and, under ``images``, a record for each with ``status`` written, finished or failed.
    Raises an image's error where it is the only one; first of all UsageError where files of another call lie.
    """
    request = dataclasses.replace(request, weights=request.run.own(request.weights, log))
    run = request.run.run(request.weights, data="none")
    benchmark = get_benchmark(request.benchmark) if request.benchmark is not None else None
    classes = class_list(request.classes, benchmark)
    weights = _weights(run, request.run, request.weights)
    device = choose_device(request.device)
    targets = find_targets(request.images, request.out)
    make_folder(request.out)
    with stdout_to_stderr():
        job = _Job(run, request, classes, benchmark, weights, device, log)
        records = job.work_off(targets)
    return {**job.facts, "out": str(request.out), "images": records}


def class_list(names: Sequence[str] | None, benchmark: Benchmark | None) -> ClassList:
    """Make the classes of a prediction from the user's names, or from those of ``benchmark``."""
    from repro.evaluation.predict import ClassList

    return ClassList.of_names(names or ()) if benchmark is None else ClassList.of_benchmark(benchmark)


def _weights(run: Run, request: RunRequest, weights: Path | str | None) -> str:
    """Name the weights as outputs do: a digest, "untrained" or "zero-shot"."""
    own = run.assets.store.weights(run.id)
    there = command("--checkpoint", own)
    training = request.command("train", run)
    train = there if own.is_file() else f"train first, then name its weights with {there}: {training}"
    if weights is None:
        if run.train is None:
            return ZERO_SHOT
        raise WeightsError(
            f"{run.entry.name} needs trained weights",
            expected="--checkpoint FILE",
            found="no --checkpoint",
            mend=train,
        )
    if weights == UNTRAINED:
        return ZERO_SHOT if run.train is None else "untrained"
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path}",
            expected=f"a weights file of {run.entry.name}, or '{UNTRAINED}'",
            found="a folder" if path.is_dir() else "nothing",
            mend="leave --checkpoint out" if run.train is None else train,
        )
    return file_digest(path, 12)


def make_predictor(
    run: Run, method: Method, classes: ClassList, *, own_names: bool, keep: bool = False, log: Log = log
) -> Predictor:
    """Make what predicts ``classes`` under the protocol of ``run``; its texts are kept in the store.

    ``own_names``: they are the user's, so that names that the method reads alike are refused (UsageError); of a
    benchmark's they are said. With ``keep`` scores can be written.
    """
    from repro.clip.same_text import cut_note, read_classes, refuse_same, same_note
    from repro.clip.tower import keep_text
    from repro.evaluation.predict import Predictor

    asked = method.prompts(classes.prompts, classes.background_index)
    reading = read_classes(method, asked)
    if own_names:
        refuse_same(reading, asked)
    for note in filter(None, (same_note(reading, asked), cut_note(reading, asked))):
        log(note)
    keep_text(method, run.assets.store.cache / "text")
    return Predictor(method, classes, run.profile.protocol, keep_logits=keep)


@dataclasses.dataclass(frozen=True)
class _Job:
    """One call: what all its images share, and the loop over them."""

    run: Run
    request: PredictRequest
    classes: ClassList
    benchmark: Benchmark | None
    weights: str
    device: str
    log: Log

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the JSON file of every image says of the call."""
        run, weights, benchmark, prompts = self.run, self.weights, self.benchmark, self.classes.prompts
        protocol = run.profile.protocol
        return {
            "format": FORMAT,
            "method": run.entry.name,
            "title": run.entry.title,
            "options": run.facts["options"],
            "profile": run.profile.name,
            "tower": run.tower.title,
            "seed": run.seed,
            "checkpoint": None if weights in (ZERO_SHOT, "untrained") else str(self.request.weights),
            "weights": weights,
            "notes": _notes(run, weights),
            "benchmark_vocab": benchmark.id if benchmark else None,
            "prompts": prompts,
            "protocol": dataclasses.asdict(protocol),
            "protocol_digest": protocol_digest(benchmark, protocol) if benchmark else protocol.digest(prompts),
        }

    def work_off(self, targets: list[Target]) -> list[dict[str, Any]]:
        """Return a record for each image, ``status`` among written, finished and failed."""
        code = self.run.assets.code.token(prediction_subject(self.run))
        address = [self.run.id, self.weights, self.facts["protocol_digest"], code]
        keys = [digest([*address, image_digest(t.image)]) for t in targets]
        save = self.request.save_probs
        done = [None if self.request.overwrite else t.finished(k, save) for t, k in zip(targets, keys, strict=True)]
        predictor = colours = None
        records: list[dict[str, Any]] = []
        seconds: list[float] = []
        for number, (target, key, record) in enumerate(zip(targets, keys, done, strict=True), start=1):
            if record is not None:
                self.log(f"{number}/{len(targets)} {target.image}: finished before, skipped")
                records.append({**_outputs(target, save), "status": "finished", "classes": record["classes"]})
                continue
            if predictor is None or colours is None:
                predictor, colours = self._prepare()
            try:
                record = self._one(predictor, colours, target, key)
            except ReproError as error:
                if len(targets) == 1:
                    raise
                self.log(f"{number}/{len(targets)} {target.image}: {error}")
                records.append({"image": str(target.image), "status": "failed", "error": str(error)})
                continue
            records.append({**_outputs(target, save), "status": "written", "classes": record["classes"]})
            seconds.append(record["seconds"])
            left = sum(d is None for d in done[number:]) * sum(seconds) / len(seconds)
            after = f", about {duration(left)} left" if number < len(targets) else ""
            self.log(f"{number}/{len(targets)} {target.image}: {record['seconds']:.1f} s{after}")
        return records

    def _prepare(self) -> tuple[Predictor, NDArray[np.uint8]]:
        from repro.reports.figures.colours import class_colours

        method, _ = load_named(self.run, self.request.weights or UNTRAINED, self.device, self.log)
        predictor = make_predictor(
            self.run, method, self.classes, own_names=self.benchmark is None, keep=self.request.save_probs, log=self.log
        )
        self.log(f"{self.run.entry.title}, {len(self.classes)} classes, on {self.device}")
        return predictor, class_colours(self.classes.names)

    def _one(self, predictor: Predictor, colours: NDArray[np.uint8], target: Target, key: str) -> dict[str, Any]:
        """Predict and write one image, the sidecar last; returns it."""
        from repro.evaluation.predict import class_pixels, read_photo, write_label
        from repro.reports.figures.overlay import draw_overlay

        begin, save = time.monotonic(), self.request.save_probs
        target.check_names(save)
        image = read_photo(target.image)
        labels = predictor(image)
        pixels = class_pixels(labels, self.classes)
        target.sidecar.unlink(missing_ok=True)  # from here on the old files are not a whole
        if not name_too_long(target.probabilities):
            target.probabilities.unlink(missing_ok=True)
        if save:  # first: when the disk is full, nothing is left that would block the next call
            predictor.write_probabilities(target.probabilities)
        write_label(target.label, labels)
        # A legend has room for one synonym; the JSON file has them all.
        short = [first_synonym(name) if self.benchmark else name for name in self.classes.names]
        page = draw_overlay(image, labels, pixels, short, colours, self._caption())
        write_atomic(target.overlay, lambda stream: page.save(stream, format="PNG"))
        record = {
            **self.facts,
            "key": key,
            "image": str(target.image),
            "height": labels.shape[0],
            "width": labels.shape[1],
            "files": {k: v and Path(v).name for k, v in _outputs(target, save).items() if k != "image"},
            "seconds": round(time.monotonic() - begin, 3),
            "classes": [
                {"index": i, "name": name, "pixels": int(n), "share": round(int(n) / labels.size, 6)}
                for i, (name, n) in enumerate(zip(self.classes.names, pixels, strict=True))
            ],
        }
        write_json(target.sidecar, record)
        return record

    def _caption(self) -> str:
        facts = self.facts
        words = [facts["title"], facts["tower"], f"profile {facts['profile']}", f"weights: {facts['weights']}"]
        return ", ".join(words) + "".join(f"; {note}" for note in facts["notes"])


def _notes(run: Run, weights: str) -> list[str]:
    """Say why the outputs mean nothing, or little on a photograph, if they do."""
    assets, notes = run.assets, []
    if weights == "untrained":
        notes.append("the weights are not trained: this picture means nothing")
    elif assets.kind_of(run.row.tower).random:
        notes.append("the CLIP tower is random: this picture means nothing")
    elif any(assets.kind_of(key).drawn for key in assets.tower_chain(run.row.tower)):
        notes.append("the CLIP tower knows drawn scenes only: on a photograph this picture means little")
    return notes


def _outputs(target: Target, save_probs: bool) -> dict[str, Any]:
    return {
        "image": str(target.image),
        "label": str(target.label),
        "overlay": str(target.overlay),
        "probabilities": str(target.probabilities) if save_probs else None,
        "json": str(target.sidecar),
    }
