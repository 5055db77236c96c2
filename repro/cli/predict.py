"""``repro predict``: label maps, overlays and scores of the user's own images, by the code evaluations use."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.benchmarks.protocol import protocol_digest
from repro.benchmarks.spec import Benchmark, get_benchmark
from repro.cli import common
from repro.cli.backbone import chosen_profile
from repro.cli.class_lists import class_names
from repro.cli.evaluate import UNTRAINED, load_named
from repro.cli.predict_files import Target, find_targets, image_digest, make_folder, name_too_long
from repro.cli.train import add_variant_options, command_for, single_run
from repro.errors import ReproError, WeightsError, command
from repro.experiments.assets import Assets
from repro.experiments.judging import prediction_subject
from repro.experiments.plan import Run
from repro.files import write_atomic, write_json
from repro.hashing import digest, file_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repro.engine.predict import ClassList, Predictor

FORMAT = 1
ZERO_SHOT = "zero-shot"


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``predict``."""
    parser.add_argument("--method", required=True, metavar="M", help="a method of repro list")
    parser.add_argument(
        "--image", nargs="+", action="extend", required=True, metavar="I", help="files, folders, quoted patterns"
    )
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument("--classes", metavar="A,B,..", help="class names, or @FILE: a name a line, .json or .csv")
    classes.add_argument("--benchmark-vocab", metavar="ID", help="the classes of a benchmark, e.g. A-150")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the outputs")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help=f"weights of this method, as repro eval takes them; '{UNTRAINED}' for none"
    )
    parser.add_argument("--save-probs", action="store_true", help="also write the scores (classes, H, W) as npz")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    add_variant_options(parser)
    common.add_device_option(parser)
    common.add_json_option(parser)
    parser.epilog = (
        'example:\n  repro predict --method catseg --checkpoint weights.pth --image photo.jpg --classes "cat,dog,sky" '
        "--out out\n\n"
        "Give the profile, tower and options the weights were trained with; an imported checkpoint brings its own. "
        "Outputs of an image photo.jpg:\n"
        "photo_label.png, photo_overlay.png, photo.json and, with --save-probs, photo_probabilities.npz."
    )
    parser.set_defaults(execute=predict)


def predict(options: argparse.Namespace) -> int:
    """Predict every image that is not finished; exit code 1 where some images failed and others did not."""
    profile = chosen_profile(options)
    run = single_run(options, profile, Assets(profile, options.runs, None), options.checkpoint)
    benchmark = get_benchmark(options.benchmark_vocab) if options.benchmark_vocab is not None else None
    classes = _classes(options, benchmark)
    weights = _weights(run, options)
    device = common.choose_device(options.device)
    targets = find_targets(options.image, options.out)
    make_folder(options.out)
    with common.stdout_to_stderr():
        job = _Job(run, options, classes, benchmark, weights, device)
        records = job.work_off(targets)
    failed = [r for r in records if r["status"] == "failed"]
    if options.json:
        common.print_json({**job.facts, "out": str(options.out), "images": records})
    else:
        _print(job.facts, records)
    return 1 if failed else 0


def _classes(options: argparse.Namespace, benchmark: Benchmark | None) -> ClassList:
    from repro.engine.predict import ClassList

    if benchmark is not None:
        return ClassList.of_benchmark(benchmark)
    return ClassList.of_names(class_names(options.classes))


def _weights(run: Run, options: argparse.Namespace) -> str:
    """What the weights are called in outputs: a digest, "untrained" or "zero-shot"."""
    checkpoint: str | None = options.checkpoint
    own = run.assets.store.weights(run.id)
    there = command("--checkpoint", own)
    training = command_for("train", run, options)
    train = there if own.is_file() else f"train first, then name its weights with {there}: {training}"
    if checkpoint is None:
        if run.train is None:
            return ZERO_SHOT
        raise WeightsError(
            f"{run.entry.name} needs trained weights",
            expected="--checkpoint FILE",
            found="no --checkpoint",
            mend=train,
        )
    if checkpoint == UNTRAINED:
        return ZERO_SHOT if run.train is None else "untrained"
    path = Path(checkpoint)
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path}",
            expected=f"a weights file of {run.entry.name}, or '{UNTRAINED}'",
            found="a folder" if path.is_dir() else "nothing",
            mend="leave --checkpoint out" if run.train is None else train,
        )
    return file_digest(path, 12)


class _Job:
    """One call: what all its images share, and the loop over them."""

    def __init__(
        self,
        run: Run,
        options: argparse.Namespace,
        classes: ClassList,
        benchmark: Benchmark | None,
        weights: str,
        device: str,
    ) -> None:
        self.run, self.options, self.classes, self.benchmark, self.device = run, options, classes, benchmark, device
        protocol = run.profile.protocol
        self.facts: dict[str, Any] = {
            "format": FORMAT,
            "method": run.entry.name,
            "title": run.entry.title,
            "options": run.facts["options"],
            "profile": run.profile.name,
            "tower": run.tower.title,
            "seed": run.seed,
            "checkpoint": None if weights in (ZERO_SHOT, "untrained") else str(options.checkpoint),
            "weights": weights,
            "notes": _notes(run, weights),
            "benchmark_vocab": benchmark.id if benchmark else None,
            "prompts": classes.prompts,
            "protocol": dataclasses.asdict(protocol),
            "protocol_digest": protocol_digest(benchmark, protocol) if benchmark else protocol.digest(classes.prompts),
        }
        code = run.assets.code.token(prediction_subject(run))
        self._address = [run.id, weights, self.facts["protocol_digest"], code]

    def work_off(self, targets: list[Target]) -> list[dict[str, Any]]:
        """A record an image, ``status`` among written, finished and failed.

        Raises what the image did where there is but one, and UsageError before anything is computed where outputs of
        another call are in the way.
        """
        keys = [digest([*self._address, image_digest(t.image)]) for t in targets]
        save = self.options.save_probs
        done = [None if self.options.overwrite else t.finished(k, save) for t, k in zip(targets, keys, strict=True)]
        predictor = colours = None
        records: list[dict[str, Any]] = []
        seconds: list[float] = []
        for number, (target, key, record) in enumerate(zip(targets, keys, done, strict=True), start=1):
            if record is not None:
                common.log(f"{number}/{len(targets)} {target.image}: finished before, skipped")
                records.append({**_outputs(target, save), "status": "finished", "classes": record["classes"]})
                continue
            if predictor is None or colours is None:
                predictor, colours = self._prepare()
            try:
                record = self._one(predictor, colours, target, key)
            except ReproError as error:
                if len(targets) == 1:
                    raise
                common.log(f"{number}/{len(targets)} {target.image}: {error}")
                records.append({"image": str(target.image), "status": "failed", "error": str(error)})
                continue
            records.append({**_outputs(target, save), "status": "written", "classes": record["classes"]})
            seconds.append(record["seconds"])
            left = sum(d is None for d in done[number:]) * sum(seconds) / len(seconds)
            after = f", about {common.duration(left)} left" if number < len(targets) else ""
            common.log(f"{number}/{len(targets)} {target.image}: {record['seconds']:.1f} s{after}")
        return records

    def _prepare(self) -> tuple[Predictor, NDArray[np.uint8]]:
        from repro.clip.same_text import cut_note, read_classes, refuse_same, same_note
        from repro.clip.text_cache import keep_text
        from repro.engine.predict import Predictor
        from repro.reports.colours import class_colours

        method, _ = load_named(self.run, self.options.checkpoint or UNTRAINED, self.device)
        asked = method.prompts(self.classes.prompts, self.classes.background_index)
        reading = read_classes(method, asked)
        if self.benchmark is None:
            refuse_same(reading, asked)
        for note in filter(None, (same_note(reading, asked), cut_note(reading, asked))):
            common.log(note)
        keep_text(method, self.run.assets.store.cache / "text")
        common.log(f"{self.run.entry.title}, {len(self.classes)} classes, on {self.device}")
        predictor = Predictor(method, self.classes, self.run.profile.protocol, keep_logits=self.options.save_probs)
        return predictor, class_colours(self.classes.names)

    def _one(self, predictor: Predictor, colours: NDArray[np.uint8], target: Target, key: str) -> dict[str, Any]:
        """Predict and write one image, the sidecar last; returns it."""
        from repro.engine.predict import class_pixels, read_photo, write_label
        from repro.reports.overlay import draw_overlay

        begin, save = time.monotonic(), self.options.save_probs
        target.check_names(save)
        image = read_photo(target.image)
        labels = predictor(image)
        pixels = class_pixels(labels, self.classes)
        target.sidecar.unlink(missing_ok=True)  # from here on the old files are not a whole
        if not name_too_long(target.probabilities):
            target.probabilities.unlink(missing_ok=True)
        if save:  # first: for want of room nothing is left that would be in the way of the next call
            predictor.write_probabilities(target.probabilities)
        write_label(target.label, labels)
        # A legend has room for one synonym; the JSON file has them all.
        short = [name.split(", ")[0] if self.benchmark else name for name in self.classes.names]
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
    """Why the outputs mean nothing, if they do."""
    notes = []
    if weights == "untrained":
        notes.append("the weights are not trained: this picture means nothing")
    elif run.tower.kind == "random":
        notes.append("the CLIP tower is random: this picture means nothing")
    return notes


def _outputs(target: Target, save_probs: bool) -> dict[str, Any]:
    return {
        "image": str(target.image),
        "label": str(target.label),
        "overlay": str(target.overlay),
        "probabilities": str(target.probabilities) if save_probs else None,
        "json": str(target.sidecar),
    }


def _print(facts: dict[str, Any], records: list[dict[str, Any]]) -> None:
    print(f"{facts['title']}, profile {facts['profile']}, weights: {facts['weights']}")
    for record in records:
        if record["status"] == "failed":
            print(f"{record['image']}: failed: {record['error'].splitlines()[0]}")
            continue
        largest = sorted((c for c in record["classes"] if c["pixels"]), key=lambda c: -c["pixels"])
        shares = ", ".join(f"{c['name']} {100 * c['share']:.1f} %" for c in largest[:5])
        print(f"{record['image']}: {shares}{', ..' if len(largest) > 5 else ''}  -> {record['overlay']}")
    for note in facts["notes"]:
        print(f"Note: {note}.")
