"""The same draws and the same budget for every method: closed forms of successive halving."""

from __future__ import annotations

import itertools
import math

import pytest

from repro.training.search import Rung, Score, Space, factors, promoted, ranked, rungs, times

TRIALS = range(1, 65)


@pytest.mark.parametrize(
    ("trials", "iterations", "expected"),
    [
        (8, 1600, [(400, 8), (800, 4), (1600, 2)]),
        (12, 1600, [(400, 12), (800, 6), (1600, 3)]),
        (5, 10, [(3, 5), (5, 3), (10, 2)]),
        (3, 1600, [(400, 3), (1600, 2)]),  # a half would drop nobody
        (2, 1600, [(1600, 2)]),
        (1, 1600, [(1600, 1)]),
        (8, 2, [(1, 8), (2, 2)]),  # a quarter and a half are the same
        (8, 1, [(1, 8)]),
    ],
)
def test_trials_are_halved_while_iterations_double(
    trials: int, iterations: int, expected: list[tuple[int, int]]
) -> None:
    assert rungs(trials, iterations) == tuple(Rung(*each) for each in expected)


@pytest.mark.parametrize(("trials", "iterations"), itertools.product(range(1, 20), (1, 2, 3, 4, 7, 1600)))
def test_every_budget_starts_with_all_ends_with_a_whole_training_and_grows(trials: int, iterations: int) -> None:
    found = rungs(trials, iterations)
    assert found[0].trials == trials
    assert found[-1].iterations == iterations
    for before, after in itertools.pairwise(found):
        assert before.iterations < after.iterations
        assert before.trials > after.trials >= 2


def test_no_budget_is_no_search() -> None:
    for trials, iterations in ((0, 4), (4, 0)):
        with pytest.raises(ValueError, match="0"):
            rungs(trials, iterations)


def test_the_present_trial_changes_nothing() -> None:
    assert factors(Space(), 3, 0, ("a",)) == {"lr": 1.0, "weight_decay": 1.0, "a": 1.0}


def test_rates_and_decay_are_the_same_whatever_losses_a_method_has() -> None:
    for trial in TRIALS:
        alone, beside = factors(Space(), 0, trial), factors(Space(), 0, trial, ("a", "b"))
        assert alone == {name: beside[name] for name in alone}
        assert beside["a"] == factors(Space(), 0, trial, ("c", "a"))["a"]


def test_draws_lie_within_bounds_and_reach_both_ends() -> None:
    space = Space(lr=(0.1, 10), weight_decay=(1, 100), loss_weights=(0.5, 2))
    drawn = [factors(space, 0, trial, ("a",)) for trial in TRIALS]
    for name, (low, high) in {"lr": space.lr, "weight_decay": space.weight_decay, "a": space.loss_weights}.items():
        places = [math.log(d[name] / low) / math.log(high / low) for d in drawn]
        assert all(0 <= p < 1 for p in places)
        assert min(places) < 0.1
        assert max(places) > 0.9


def test_draws_follow_from_seed_and_number() -> None:
    assert factors(Space(), 0, 5, ("a",)) == factors(Space(), 0, 5, ("a",))
    distinct = {tuple(factors(Space(), seed, trial, ("a",)).values()) for seed in range(5) for trial in TRIALS}
    assert len(distinct) == 5 * len(TRIALS)
    # Recorded: a search is found again by anybody.
    assert factors(Space(), 0, 1)["lr"] == pytest.approx(RECORDED[0], rel=1e-12)
    assert factors(Space(), 0, 1)["weight_decay"] == pytest.approx(RECORDED[1], rel=1e-12)


RECORDED = (0.5961281180674729, 0.2546415584492371)


@pytest.mark.parametrize("count", [3, 7, 11])
def test_few_rates_are_spread_evenly(count: int) -> None:
    for seed in range(20):
        places = sorted(math.log(factors(Space(), seed, t)["lr"] * 16) / math.log(32) for t in range(1, count + 1))
        gaps = [b - a for a, b in itertools.pairwise([*places, places[0] + 1])]
        assert max(gaps) < 2 / count  # at random the largest gap is about log(count) / count times one


def test_three_digits_are_run_and_printed() -> None:
    assert times(4e-3, 1 / 3) == 0.00133
    assert times(0.12345, 1) == 0.12345


@pytest.mark.parametrize("bounds", [(0, 1), (2, 1), (1, math.inf), (1,), (-1, 1)])
def test_bounds_without_a_logarithm_are_refused(bounds: tuple[float, ...]) -> None:
    with pytest.raises(TypeError, match="bounds of lr"):
        Space(lr=bounds)  # type: ignore[arg-type]


def test_the_best_go_on_and_the_present_one_always() -> None:
    scores = {0: Score(0.1, 1.0), 1: Score(0.4, 1.0), 2: Score(0.3, 1.0), 3: Score(0.2, 1.0)}
    assert ranked(scores) == [1, 2, 3, 0]
    assert promoted(scores, 2) == [0, 1]
    assert promoted(scores, 3) == [0, 1, 2]
    assert promoted({k: v for k, v in scores.items() if k}, 2) == [1, 2]  # the present one was lost


def test_of_equals_the_lower_rate_is_chosen() -> None:
    assert ranked({0: Score(0.5, 3e-3), 1: Score(0.5, 1e-3), 2: Score(0.5, 2e-3)}) == [1, 2, 0]
