"""Kills `repro run` again and again, lets it go on, and compares what it ends with to an uninterrupted run.

A program of its own (``python survive.py FOLDER --kills N --seed S``), because it forks: everything is imported once,
each attempt is a child that costs only its work. A child is killed (SIGKILL) either after a random time in a stage or
before a random operation on a file of the store. Prints one JSON object; exit code 1 where anything differed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STAGES = ("preparation", "training", "evaluation", "report")
BENCHMARKS = ("A-150", "PAS-20")
ITERATIONS = 8
_OPERATIONS = {"preparation": 60, "training": 25, "evaluation": 25, "report": 10}
"""About as many files a process writes, renames or removes in a stage."""
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate")


def words(folder: Path) -> list[str]:
    own = ["--runs", str(folder / "runs"), "--results", str(folder / "results"), "--device", "cpu"]
    few = ["--methods", "catseg", "--benchmarks", ",".join(BENCHMARKS), "--iterations", str(ITERATIONS)]
    return ["run", "table1", "--profile", str(folder.parent / "profile.py"), *own, *few]


def write_profile(folder: Path) -> None:
    """The smoke profile, trained whatever its random towers know."""
    from repro.paths import CONFIGS

    text = f"_base_ = [{str(CONFIGS / 'profiles' / 'smoke.py')!r}]\nzero_shot_bar = 0.0\n"
    (folder / "profile.py").write_text(text)


def stage(folder: Path) -> str:
    """What is made next in ``folder``."""
    runs = folder / "runs"
    if not any(runs.glob("cache/data/*/ready.json")):
        return "preparation"
    if not any(runs.glob("catseg-*/weights.pth")):
        return "training"
    return "evaluation" if len(list(runs.glob("catseg-*/eval/*/metrics.json"))) < len(BENCHMARKS) else "report"


def start(folder: Path, before: Callable[[], None] = lambda: None) -> int:
    """The process id of a child that runs the command; ``before`` is called in it first."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        before()
        from repro.cli.main import main

        code = main(words(folder))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def finish(pid: int) -> int:
    """The exit code of a child, minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dies_at(folder: Path, count: int) -> Callable[[], None]:
    """A preparation of the child: before its ``count``-th operation on a file below ``folder`` it is killed."""
    root, left = str(folder), [count]

    def hook(event: str, values: tuple[Any, ...]) -> None:
        if event in _EVENTS and values and str(values[0]).startswith(root):
            if event == "open" and isinstance(values[1], str) and values[1].startswith("r") and "+" not in values[1]:
                return
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(hook)


def killed_in_time(folder: Path, wanted: str, delay: float) -> str:
    """Kill a child ``delay`` seconds after it has begun ``wanted``; the stage it died in, empty if it ended first."""
    pid = start(folder)
    begun = None
    while True:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return ""
        now = time.monotonic()
        if begun is None and STAGES.index(stage(folder)) >= STAGES.index(wanted):
            begun = now
        if begun is not None and now >= begun + delay:
            os.kill(pid, signal.SIGKILL)
            died = stage(folder)
            os.waitpid(pid, 0)
            return died
        time.sleep(0.002)


def whole_files(folder: Path) -> None:
    """Every file under its final name can be read: nothing half-written looks finished."""
    import torch

    for path in folder.rglob("[!.]*"):
        if path.suffix == ".json" and path.is_file():
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                for name in stored.files:
                    stored[name]
        elif path.suffix == ".pth":
            torch.load(path, weights_only=True)


def outcome(folder: Path) -> dict[str, Any]:
    """What a finished run ended with: weights, counts, the curve, the table."""
    import torch

    (run,) = (folder / "runs").glob("catseg-*")
    weights = torch.load(run / "weights.pth", weights_only=True)["state_dict"]
    counts = {}
    for path in sorted(run.glob("eval/*/counts.npz")):
        with np.load(path) as stored:
            counts[path.parent.name] = {name: stored[name] for name in stored.files}
    curve = [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]
    curve = [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in curve]
    table = (folder / "results" / "table1.csv").read_text()
    return {"weights": weights, "counts": counts, "curve": curve, "table": table}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """In what two outcomes differ, to the bit."""
    import torch

    found = [k for k in ("curve", "table") if one[k] != other[k]]
    if one["weights"].keys() != other["weights"].keys() or not all(
        torch.equal(t, other["weights"][n]) for n, t in one["weights"].items()
    ):
        found.append("weights")
    for benchmark in BENCHMARKS:
        a, b = one["counts"][benchmark], other["counts"][benchmark]
        if a.keys() != b.keys() or not all(np.array_equal(a[k], b[k]) for k in a):
            found.append(f"counts of {benchmark}")
    return found


def uninterrupted(folder: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """The outcome to compare with, and the seconds of each stage."""
    pid, seconds, last = start(folder), dict.fromkeys(STAGES, 0.0), time.monotonic()
    while not (done := os.waitpid(pid, os.WNOHANG))[0]:
        now, at = time.monotonic(), stage(folder)
        seconds[at] += now - last
        last = now
        time.sleep(0.002)
    assert done[1] == 0, (folder / "log.txt").read_text()[-3000:]
    return outcome(folder), seconds


def preload() -> None:
    """Import what a run imports, so that children begin with their work."""
    import importlib

    for name in (
        "repro.cli.commands.run", "repro.runs.execute", "repro.training.train", "repro.evaluation.evaluate",
        "repro.training.pipeline", "repro.mini.synth", "repro.mini.panoptic", "repro.mini.contact_sheet",
        "repro.datasets.prepare.formats", "repro.clip.tower", "repro.clip.text_cache", "repro.reports.tables.writers",
        "baselines.catseg.model",
    ):  # fmt: skip
        importlib.import_module(name)
    from repro.training.pipeline import build_pipeline
    from repro.training.settings import TrainSettings

    build_pipeline(TrainSettings())
    importlib.import_module("torch.utils.tensorboard")


def kill_test(root: Path, kills: int, seed: int, expected: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    """Several lives of one run, each killed up to twelve times in the order of its stages, until ``kills`` kills.

    ``expected`` and ``seconds`` are those of an uninterrupted run. An attempt that ends before its kill counts nowhere.
    """
    rng = np.random.default_rng(seed)
    by_stage: Counter[str] = Counter()
    by_manner: Counter[str] = Counter()
    faults: list[str] = []
    lives = 0
    while sum(by_stage.values()) < kills:
        folder = root / f"life{lives}"
        lives += 1
        each = min(3, -(-kills // len(STAGES)))
        for number, wanted in enumerate(stage for stage in STAGES for _ in range(each)):
            manner = ("time", "file operation")[(number + lives) % 2]
            if manner == "file operation":
                pid = start(folder, dies_at(folder, int(rng.integers(1, _OPERATIONS[wanted]))))
                died = stage(folder) if finish(pid) == -signal.SIGKILL else ""
            else:
                died = killed_in_time(folder, wanted, float(rng.uniform(0, max(seconds[wanted], 0.05))))
            if died:
                by_stage[died] += 1
                by_manner[manner] += 1
            whole_files(folder)
        code = finish(start(folder))
        if code:
            faults.append(f"life {lives} ended with exit code {code}: {(folder / 'log.txt').read_text()[-1000:]}")
        else:
            faults += [f"life {lives}: other {what}" for what in differences(expected, outcome(folder))]
    return {
        "kills": sum(by_stage.values()),
        "by stage": dict(by_stage),
        "by manner": dict(by_manner),
        "lives": lives,
        "seconds of an uninterrupted run": {k: round(v, 2) for k, v in seconds.items()},
        "faults": faults,
    }


def pair_test(root: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Two processes at once on one store: one works, the other says who does; nothing is spoilt."""
    folder = root / "pair"
    codes = sorted(finish(pid) for pid in [start(folder), start(folder)])
    told = "is in use by another process" in (folder / "log.txt").read_text()
    last = finish(start(folder))
    return {"codes": codes, "told": told, "last": last, "differences": differences(expected, outcome(folder))}


def full_test(root: Path, expected: dict[str, Any], limit: int = 300_000) -> dict[str, Any]:
    """No file may grow beyond ``limit`` bytes, as on a full disk; afterwards there is room again."""
    folder = root / "full"
    code = finish(start(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
    text = (folder / "log.txt").read_text()
    whole_files(folder)
    last = finish(start(folder))
    return {
        "code": code,
        "said": "the disk is full" in text,
        "traceback": "Traceback" in text,
        "last": last,
        "differences": differences(expected, outcome(folder)),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from repro.runtime import prepare

    prepare()
    preload()
    write_profile(options.folder)
    from repro.evaluation import evaluate

    evaluate.evaluate.__kwdefaults__["save_every"] = 0.0  # counts are saved after each image
    expected, seconds = uninterrupted(options.folder / "whole")
    result = {"kill": kill_test(options.folder, options.kills, options.seed, expected, seconds)}
    result["pair"] = pair_test(options.folder, expected)
    result["full disk"] = full_test(options.folder, expected)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
