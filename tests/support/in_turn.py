"""Seconds of two ways to one result on a machine that others use: in turn, the least of each, again while in doubt.

What else a machine does only adds to a time, so the least of more turns comes nearer to what the work takes. A claim
that fails after a few turns gets more of them, ``AT_MOST`` or ten seconds' worth; one that is false stays false.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS, AT_MOST = 2, 15
PATIENCE_S = 10
"""Works of milliseconds get as many turns as go into this time: all of fifteen may fall into one busy moment."""

Seconds = Mapping[str, float]


def turn_of(
    works: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.process_time
) -> Callable[[], Seconds]:
    """What does each of ``works`` once and returns its seconds: those of the processor, or of another ``clock``."""

    def turn() -> Seconds:
        found = {}
        for name, work in works.items():
            begin = clock()
            work()
            found[name] = clock() - begin
        return found

    return turn


def least_seconds(
    benchmark: BenchmarkFixture,
    turn: Callable[[], Seconds],
    holds: Callable[[Seconds], bool],
    rounds: int = ROUNDS,
    at_most: int = AT_MOST,
) -> Seconds:
    """The least seconds of each part of ``turn``; asserts that the claim ``holds`` of them.

    The fixture times ``rounds`` whole turns; the parts' seconds are stored beside. None is a warm-up: of one that takes
    longer than the others nothing is left in the least.
    """
    taken: list[Seconds] = []

    def once() -> None:
        taken.append(turn())

    benchmark.pedantic(once, rounds=rounds)
    begun = time.monotonic()
    while True:
        least = {name: float(np.min([seconds[name] for seconds in taken])) for name in taken[0]}
        if holds(least) or (len(taken) >= at_most and time.monotonic() - begun > PATIENCE_S):
            break
        once()
    benchmark.extra_info.update({f"seconds_{name}": round(value, 5) for name, value in least.items()}, turns=len(taken))
    assert holds(least), {"least seconds": least, "turns": len(taken)}
    return least


def times_faster(
    benchmark: BenchmarkFixture,
    fast: Callable[[], object],
    slow: Callable[[], object],
    at_least: float,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Seconds of ``slow`` over those of ``fast``, stored as ``times_faster``; asserts that it is ``at_least`` that."""
    turn = turn_of({"fast": fast, "slow": slow}, clock)
    found = least_seconds(benchmark, turn, lambda s: s["slow"] > at_least * s["fast"], rounds)
    ratio = found["slow"] / found["fast"]
    benchmark.extra_info["times_faster"] = round(ratio, 2)
    return ratio
