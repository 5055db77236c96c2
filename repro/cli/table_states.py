"""What the commands of all kinds of tables say of their states."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Protocol

from repro.cli import common
from repro.experiments.plan import Plan, make_plan
from repro.experiments.profiles import load_profile
from repro.experiments.status import BLOCKED, DONE, FAILED, MISSING, STALE, plan_steps
from repro.experiments.tables import Table


class HasStatus(Protocol):
    """One state of a table."""

    status: str


def tally(states: Sequence[HasStatus], what: str = "cells") -> str:
    """How many states there are of each status."""
    counts = {s: sum(state.status == s for state in states) for s in (DONE, MISSING, STALE, BLOCKED, FAILED)}
    return ", ".join(f"{n} {s}" for s, n in counts.items() if n) + f" of {len(states)} {what}"


def exit_code(states: Sequence[HasStatus]) -> int:
    """1 where a state failed, 3 where one waits for data or weights, else 0."""
    if any(s.status == FAILED for s in states):
        return 1
    return 3 if any(s.status == BLOCKED for s in states) else 0


def chosen_plan(options: argparse.Namespace, table: Table) -> Plan:
    """The plan of ``table`` under the profile of the call, narrowed to its methods, benchmarks and seeds."""
    iterations = getattr(options, "iterations", None)
    return make_plan(
        table,
        load_profile(options.profile),
        options.runs,
        data_root=options.data_root,
        methods=options.methods,
        benchmarks=options.benchmarks,
        seeds=options.seeds,
        overrides={"iterations": iterations} if iterations else None,
    )


def print_steps(plan: Plan) -> None:
    """Title, profile and the shared steps of a plan."""
    print(f"{plan.table.title}: {plan.table.caption}\nProfile {plan.profile.name}: {plan.profile.title}\n\nSteps")
    for step in plan_steps(plan):
        print(f"  {'done' if step.done else 'missing':<8} {step.what:<60} {common.duration(step.seconds)}")
