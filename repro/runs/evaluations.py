"""Finished evaluations by name: a run (id, unique prefix, folder) or a table's row; and which may be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from repro.configuration.profiles import load_profile
from repro.configuration.tables import facts_of, load_table
from repro.datasets.benchmarks import BENCHMARKS, Benchmark, all_sets
from repro.datasets.listed import of_record
from repro.errors import RunError, UsageError, check_known, command, unknown_name
from repro.files import read_json
from repro.mends import same_folders
from repro.metrics.counts import Counts
from repro.runs.addresses.stored import matching_run
from repro.runs.plan import make_plan
from repro.runs.scored import METHOD as PREDICTIONS
from repro.runs.status import flag_of
from repro.runs.store import COMPLETE, RunStore, part_of

COUNTS_FILE = "counts.npz"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One finished evaluation: of run ``run`` (trained from ``seed``), what ``metrics.json`` holds, and where.

    ``title`` is that of the table's row it was named by, empty where it was named by its run: a row of another table
    may have trained it under a title of its own.
    """

    run: str
    seed: int
    folder: Path
    record: Mapping[str, Any]
    title: str = ""

    @property
    def benchmark(self) -> Benchmark:
        name = self.record["benchmark"]
        return all_sets()[name] if name in all_sets() else of_record(self.record)

    @cached_property
    def counts(self) -> Counts:
        """The per-image counts."""
        return Counts.load(self.folder / COUNTS_FILE)

    @property
    def of_other_code(self) -> bool:
        """Whether it is the score of predictions of other code, which have no protocol of ours."""
        return "predictions" in self.record["protocol"]

    @property
    def part(self) -> str:
        """Which part of the images it is of; "" where it is of all."""
        return part_of(self.folder)

    def source(self, name: str) -> Counts:
        """Return the counts called ``name``: ``counts``, or a part of a measure (RunError if not measured)."""
        if name == "counts":
            return self.counts
        from repro.metrics.measured import part_counts

        return part_counts(self.folder, name, self.benchmark)


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a comparison: ``title``, and by benchmark and seed the evaluations there are (usually one).

    ``left_out`` says of each evaluation of a table's row that is flagged (:mod:`repro.runs.gates.plausible`) which it
    is and why; evaluations that were named by their run are never left out.
    """

    title: str
    evaluations: Mapping[str, Mapping[int, Sequence[Evaluation]]]
    left_out: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Where:
    """Where the words of a selection are looked up: the run store, and the profile of ``table:row``."""

    runs: Path
    profile: str = "mini"
    data_root: Path | None = None
    seeds: Sequence[int] | None = None

    def evaluating(self, *words: object) -> str:
        """Return the commands that evaluate a table or a method there; ``words`` are further ones of both."""
        asked = (*words, "--profile", self.profile, *same_folders(self.runs, self.data_root))
        return f"{command('repro', 'run', 'TABLE', *asked)}, or {command('repro', 'eval', 'METHOD', *asked)}"


def find_side(text: str, where: Where) -> Side:
    """Find what ``text`` names: ``table:row``, or runs separated by commas that differ in nothing but their seed.

    Raises UsageError for unknown and ambiguous names, RunError where nothing is evaluated.
    """
    head, colon, row = text.partition(":")
    left_out: list[str] = []
    of_row = colon and "/" not in head
    evaluations = _of_row(head, row, where, left_out) if of_row else _of_runs(text, where)
    if not evaluations and left_out:
        raise RunError(
            f"all evaluations of {text} are flagged as implausible",
            expected="a number that can be a working method's",
            found="; ".join(left_out),
            mend="name the run itself to compare it all the same: "
            + command("repro", "runs", "list", *same_folders(where.runs)),
        )
    if not evaluations:
        asked = ("--profile", where.profile, *same_folders(where.runs, where.data_root))
        raise RunError(
            f"{text} has no finished evaluation",
            expected=f"eval/<benchmark>/{COMPLETE} in its run folder below {where.runs}",
            found="none",
            mend=command("repro", "run", head, *asked) if colon else where.evaluating(),
        )
    by_benchmark: dict[str, dict[int, list[Evaluation]]] = {}
    for e in evaluations:
        by_benchmark.setdefault(e.benchmark.id, {}).setdefault(e.seed, []).append(e)
    ordered = {b: by_benchmark[b] for b in [*BENCHMARKS, *by_benchmark] if b in by_benchmark}
    return Side(text, ordered, left_out)


def _of_row(table_name: str, row: str, where: Where, left_out: list[str]) -> list[Evaluation]:
    table = load_table(table_name)
    kind = facts_of(table)
    if not kind.evaluates:
        raise UsageError(
            f"{table_name} holds {kind.keeps}, not evaluations", mend="name a row of another table (repro list)"
        )
    profile = load_profile(where.profile)
    plan = make_plan(table, profile, where.runs, data_root=where.data_root, seeds=where.seeds)
    ids = dict.fromkeys(run.row.id for run in plan.runs)
    mend = command("repro", "describe", table_name)
    check_known(f"row of {table_name} in profile {profile.name}", [row], ids, mend=mend)
    found = []
    for cell in plan.cells:
        record = RunStore.result(cell.place.path) if cell.run.row.id == row else None
        if record is not None and (flag := flag_of(plan, record)) is not None:
            left_out.append(f"seed {cell.run.seed} on {cell.benchmark.id}: {flag}")
        elif record is not None:
            found.append(Evaluation(cell.run.id, cell.run.seed, cell.place.path, record, cell.run.row.title))
    return found


def _of_runs(text: str, where: Where) -> list[Evaluation]:
    folders = [_run_folder(word.strip(), where.runs) for word in text.split(",") if word.strip()]
    facts = [_facts(folder) for folder in folders]
    seeds = [int(f.get("seed", 0)) for f in facts]
    others = [{k: v for k, v in f.items() if k != "seed"} for f in facts]
    differing = sorted({k for f in others for k in f if f.get(k) != others[0].get(k)})
    if facts and all(f.get("method") == PREDICTIONS for f in facts):
        return _of_predictions(text, folders, facts)
    if differing or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"{text}: these are not runs of several seeds",
            expected="runs that differ in their seed only",
            found=f"they differ in {', '.join(differing) or 'nothing, not even the seed'}",
            mend="name one run, or the row of a table: repro compare table1:ROW ..",
        )
    return [e for folder, seed in zip(folders, seeds, strict=True) for e in _finished(folder, seed)]


def _of_predictions(text: str, folders: Sequence[Path], facts: Sequence[Mapping[str, Any]]) -> list[Evaluation]:
    """Return the evaluations of runs of predictions of one name, which complement each other: a folder per benchmark.

    Raises UsageError for several names, and for a benchmark that several of them were scored on.
    """
    found = [e for folder in dict.fromkeys(folders) for e in _finished(folder, 0)]
    names = sorted({str(f["name"]) for f in facts})
    runs: dict[str, set[str]] = {}
    for e in found:
        runs.setdefault(e.benchmark.id, set()).add(e.run)
    twice = [b for b, own in runs.items() if len(own) > 1]
    if len(names) > 1 or twice:
        raise UsageError(
            f"{text}: these are not predictions of one model",
            expected="runs of one name, each benchmark in one of them",
            found=f"the names {', '.join(names)}" if len(names) > 1 else f"several on {', '.join(twice)}",
            mend="name one run on each side",
        )
    return found


def _finished(folder: Path, seed: int) -> list[Evaluation]:
    return [
        Evaluation(folder.name, seed, path.parent, read_json(path))
        for path in sorted(folder.glob(f"eval/*/{COMPLETE}"))
        if (path.parent / COUNTS_FILE).is_file()
    ]


def _run_folder(word: str, runs: Path) -> Path:
    path = Path(word)
    if (path / "eval").is_dir():
        return path.resolve()
    known = sorted(p.parent.name for p in RunStore(runs).root.glob("*/eval"))
    found = matching_run(word, known, runs)
    if found is None:
        mend = command("repro", "list", *same_folders(runs))
        raise unknown_name(f"run in {runs}", word, known or ["none"], mend=mend)
    return runs / found


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    facts: dict[str, Any] = read_json(path).get("facts", {}) if path.is_file() else {}
    return facts


def matching(
    a: Mapping[int, Sequence[Evaluation]], b: Mapping[int, Sequence[Evaluation]]
) -> list[dict[int, Evaluation]]:
    """Return of both sides one evaluation per seed, such that all may be compared: same images, labels and protocol.

    Raises UsageError that says what differs where there are none.
    """
    runs = [*a.values(), *b.values()]
    reasons: list[str] = []
    for first in runs[0]:
        chosen = [next((e for e in candidates if not differences(first, e)), None) for candidates in runs]
        if all(chosen):
            found = [e for e in chosen if e is not None]
            return [dict(zip(a, found[: len(a)], strict=True)), dict(zip(b, found[len(a) :], strict=True))]
        stuck = runs[chosen.index(None)]
        reasons += [f"{first.run} and {e.run}: {text}" for e in stuck for text in differences(first, e)]
    raise UsageError(
        f"these evaluations on {runs[0][0].benchmark.id} cannot be compared",
        expected="the same images, labels, ignore label and protocol",
        found="; ".join(dict.fromkeys(reasons)),
        mend="evaluate both again under one profile and code: repro run TABLE",
    )


def differences(a: Evaluation, b: Evaluation) -> list[str]:
    """Say in words in what ``a`` and ``b`` differ that forbids comparing them; empty where they may be compared.

    The protocol of predictions of other code is not known: of them images, labels and classes must be the same.
    """
    if a.folder == b.folder:
        return []
    found = []
    protocols = [{} if a.of_other_code or b.of_other_code else e.record["protocol"] for e in (a, b)]
    ours, theirs = protocols
    changed = [f"{k} {ours.get(k)} and {theirs.get(k)}" for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
    if changed:
        found.append("the protocol differs (" + ", ".join(changed) + ")")
    classes = [[row["name"] for row in e.record["per_class"]] for e in (a, b)]
    if classes[0] != classes[1]:
        return [*found, f"the classes differ ({len(classes[0])} and {len(classes[1])})"]
    digests = {e.record["protocol_digest"] for e in (a, b)}
    if len(digests) > 1 and not changed and a.of_other_code == b.of_other_code:
        found.append("the prompts, the ignore label or the fold of the background differ")
    return found + _image_differences(a.counts, b.counts, classes[0])


def _image_differences(a: Counts, b: Counts, names: Sequence[str]) -> list[str]:
    if a.keys != b.keys:
        only = [sorted(set(x.keys) - set(y.keys)) for x, y in ((a, b), (b, a))]
        if not any(only):
            return ["the images are in another order"]
        words = [f"{len(k)} only in {side} ({', '.join(k[:3])}{', ..' if len(k) > 3 else ''})"
                 for side, k in zip(("the first", "the second"), only, strict=True) if k]  # fmt: skip
        return ["the images differ: " + ", ".join(words)]
    for i, key in enumerate(a.keys):
        truth = [np.zeros(a.num_classes, np.int64) for _ in range(2)]
        for out, counts in zip(truth, (a, b), strict=True):
            own = slice(counts.offsets[i], counts.offsets[i + 1])
            out[counts.classes[own]] = counts.ground_truth[own]
        wrong = np.flatnonzero(truth[0] != truth[1])
        if wrong.size:
            c = int(wrong[0])
            pixels = f"image {key} has {truth[0][c]} and {truth[1][c]} pixels of {names[c]!r}"
            return [f"the labels or the ignore label differ: {pixels}"]
    return []
