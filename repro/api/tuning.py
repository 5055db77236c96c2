"""The same search of training settings for every method, on held-out training scenes: what ``repro tune`` does.

Successive halving over the draws of :mod:`repro.training.search`: every method gets the same number of trials, the
same draws and the same iterations. No benchmark is looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from repro.api.trials import Search, Trial, open_searches
from repro.console import Log, duration, log
from repro.errors import ReproError, UsageError
from repro.launch import local
from repro.launch.job import Job, Launch, Outcome
from repro.reports.tuning import CHOSEN, DONE, FAILED, NOT_CHOSEN, Tuning
from repro.requests import TuneRequest
from repro.runs.status import train_seconds
from repro.training.search import Rung, Score, promoted, ranked

Work = Sequence[tuple[Trial, Rung]]


def tune(request: TuneRequest, *, how: Launch | None = None, log: Log = log) -> Tuning:
    """Search all methods of the request and return every trial and what was chosen; nothing is written but into the
    store.

    The trials of a rung are done one after the other, or by ``how`` side by side, each in a process of its own. A trial
    that diverges is lost, with its reason. One that ends for another reason ends the search of its method, which the
    next call continues: going on without it would give the others its place.
    """
    searches = open_searches(request)
    alive = {s.method: list(s.trials) for s in searches}
    rows: dict[str, list[dict[str, Any]]] = {s.method: [] for s in searches}
    for step in range(max(len(s.rungs) for s in searches)):
        open_here = [s for s in searches if step < len(s.rungs) and alive[s.method]]
        work = [(trial, s.rungs[step]) for s in open_here for trial in alive[s.method]]
        found = _compute(work, how, log)
        for search in open_here:
            own = {t.number: found[t.search.method, t.number] for t in alive[search.method]}
            rows[search.method] += [_row(search.trials[n], step, record) for n, record in own.items()]
            alive[search.method] = _next(search, step, own, log)
    for method, (winner, *_) in ((m, left) for m, left in alive.items() if left):
        final = [row for row in rows[method] if row["trial"] == winner.number][-1]
        final["chosen"] = CHOSEN
    return Tuning(request, [row for own in rows.values() for row in own])


def _next(search: Search, step: int, own: Mapping[int, Mapping[str, Any]], log: Log) -> list[Trial]:
    """Return the trials of the next rung, or the chosen one after the last; none where the search cannot go on."""
    failed = [n for n, record in own.items() if record["status"] == FAILED]
    scores = {n: Score(r["miou_gt"], search.trials[n].values["lr"]) for n, r in own.items() if r["status"] == DONE}
    if failed or not scores:
        why = f"trials {', '.join(map(str, failed))} failed" if failed else "all its trials diverged"
        log(f"{search.method}: {why}; its search ends here")
        return []
    last = step + 1 == len(search.rungs)
    chosen = ranked(scores)[:1] if last else promoted(scores, search.rungs[step + 1].trials)
    log(f"{search.method}, {search.rungs[step].iterations} iterations: best {ranked(scores)[0]}")
    return [search.trials[number] for number in chosen]


def _row(trial: Trial, step: int, record: Mapping[str, Any]) -> dict[str, Any]:
    rung = trial.search.rungs[step]
    values = {"trial": trial.number, "rung": step + 1, "iterations": rung.iterations, **trial.values}
    weights = {"loss_weights": dict(trial.weights)}
    return {**trial.search.facts(), **values, **weights, **record, "chosen": NOT_CHOSEN}


def _compute(work: Work, how: Launch | None, log: Log) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what each trial reached, computing what is missing; ``status`` says how it ended."""
    found = {(t.search.method, t.number): t.record(rung) for t, rung in work}
    left = [(t, rung) for t, rung in work if found[t.search.method, t.number] is None]
    if left:
        log(f"{len(left)} of {len(work)} trials are left of this rung")
    reasons: dict[tuple[str, int], str] = {}

    def failed(trial: Trial, reason: str) -> None:
        log(f"failed: {trial.search.method}, trial {trial.number}: {reason}")
        reasons[trial.search.method, trial.number] = reason

    if left and how is not None:
        _side_by_side(left, how, failed, log)
    else:
        for trial, rung in left:
            try:
                _say(trial, rung, trial.run(rung, log), log)
            except UsageError:
                raise  # the same of every trial
            except ReproError as error:
                failed(trial, str(error))
    states = {}
    for trial, rung in work:
        key = trial.search.method, trial.number
        record = found[key] or trial.record(rung)
        states[key] = record or {"status": FAILED, "error": reasons.get(key, "its job ended without an error message")}
    return states


def _side_by_side(work: Work, how: Launch, failed: Callable[[Trial, str], None], log: Log) -> None:
    asked = work[0][0].search.request
    folder = asked.runs / "cache" / "launch" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    jobs = {
        Job(f"{t.search.method}-{t.number}-{rung.iterations}", tuple(job_words(t, rung))): (t, rung) for t, rung in work
    }
    log(f"{len(jobs)} jobs; logs in {folder}")

    def ended(job: Job, outcome: Outcome) -> None:
        trial, rung = jobs[job]
        record = trial.record(rung)
        if outcome.code == UsageError.exit_code:
            raise UsageError(outcome.reason)  # the same of every trial
        if record is None:
            failed(trial, outcome.reason or "its job ended without an error message")
        else:
            _say(trial, rung, record, log)

    local.run(list(jobs), local.slots(how), folder, lambda job, place: log(f"started {job.name} ({place})"), ended)


def _say(trial: Trial, rung: Rung, record: Mapping[str, Any], log: Log) -> None:
    reached = f"mIoU {100 * record['miou_gt']:.2f} %" if record["status"] == DONE else record["error"]
    log(f"{trial.search.method}, trial {trial.number}, {rung.iterations} iterations: {reached}")


def job_words(trial: Trial, rung: Rung) -> Iterator[str]:
    """Yield the words of the command that does one trial on one rung; UsageError where no word says what is asked."""
    asked = trial.search.request
    if unsaid := sorted(asked.training.keys() - {"iterations", "amp"}):
        raise UsageError(
            "trials side by side are commands, which cannot say all that is asked of the training",
            expected="iterations and amp only",
            found=", ".join(unsaid),
            mend="set it in a profile, or do the trials one after the other",
        )
    yield from ("tune", trial.search.method, "--only", f"{trial.number}@{rung.iterations}", "--json")
    named: dict[str, Any] = {**vars(asked), **asked.training}
    for name in ("profile", "tower", "backbone", "dense_residual", "zero_shot_bar", "runs", "data_root", "trials",
                 "scenes", "seed", "device", "iterations", "amp"):  # fmt: skip
        if named.get(name) is not None:
            yield from (f"--{name.replace('_', '-')}", str(named[name]))
    for name, value in asked.changes.items():
        yield from ("--set", f"{name}={value!r}")


def run_one(request: TuneRequest, only: str, *, log: Log = log) -> dict[str, Any]:
    """Do one trial on one rung, ``TRIAL@ITERATIONS``, of the one method of the request; UsageError for another."""
    searches = open_searches(request)
    wanted = {f"{t.number}@{rung.iterations}": (t, rung) for s in searches for t in s.trials for rung in s.rungs}
    if len(searches) != 1 or only not in wanted:
        raise UsageError(
            "--only names one trial of one method", expected="TRIAL@ITERATIONS of its plan (--dry-run)", found=only
        )
    trial, rung = wanted[only]
    return trial.run(rung, log)


def preview(request: TuneRequest) -> Iterator[str]:
    """Yield the lines of ``--dry-run``: the values of every trial, the budget, and its expected time on one device."""
    total: float | None = 0.0
    for search in open_searches(request):
        facts = search.facts()
        yield f"{search.present.entry.title} on {facts['tower']}, profile {facts['profile']}: {facts['space']}"
        for trial in search.trials:
            weights = "".join(f", {name} {value:g}" for name, value in trial.weights.items())
            rates = f"lr {trial.values['lr']:g}, weight decay {trial.values['weight_decay']:g}"
            yield f"  trial {trial.number}: {rates}{weights}"
        for number, rung in enumerate(search.rungs, 1):
            yield f"  rung {number}: {rung.trials} trials of {rung.iterations} iterations"
        steps = sum(rung.trials * rung.iterations for rung in search.rungs)
        whole = train_seconds(search.present, request.device)
        seconds = None if whole is None else whole * steps / search.rungs[-1].iterations
        total = None if seconds is None or total is None else total + seconds
        yield f"  {steps:,} iterations in all; trainings one after the other: {duration(seconds)}"
    yield f"\nall trainings one after the other: {duration(total)}; {request.scenes} training scenes are held out"
