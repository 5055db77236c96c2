"""What DiSa's parts cost: ratios in one process, memory in processes of their own. Figures: docs/performance.md.

Run: pytest tests/speed/test_disa_costs.py --benchmark-only.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from disa_costs import STEPS, saliency, training_step
from in_turn import Seconds, least_seconds, times_faster, turn_of
from pytest_benchmark.fixture import BenchmarkFixture

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "disa_costs.py"


def above_start(what: str, classes: int) -> int:
    """MiB that a process takes for ``what`` beyond what it had before."""
    out = subprocess.run([sys.executable, PROGRAM, what, str(classes)], capture_output=True, text=True, check=True)
    found = json.loads(out.stdout)
    return int(found["peak"] - found["before"])


@pytest.mark.parametrize("layer", [0, -1])
def test_the_closed_form_costs_what_one_backward_pass_costs(benchmark: BenchmarkFixture, layer: int) -> None:
    """150 classes on 24 x 24; both include the matching they start from."""
    works = {how: saliency(how, 150, layer) for how in ("closed", "autograd")}
    torch.testing.assert_close(works["closed"](), works["autograd"](), rtol=1e-3, atol=1e-7)
    times_faster(benchmark, works["closed"], works["autograd"], at_least=1 / 2.5)


def test_a_backward_pass_a_class_costs_many_times_as_much(benchmark: BenchmarkFixture) -> None:
    works = {how: saliency(how, 20) for how in ("closed", "by-class")}
    torch.testing.assert_close(works["closed"](), works["by-class"](), rtol=1e-3, atol=1e-7)
    times_faster(benchmark, works["closed"], works["by-class"], at_least=3)


def test_the_closed_form_takes_no_more_memory_than_a_graph(benchmark: BenchmarkFixture) -> None:
    closed, autograd = benchmark.pedantic(lambda: [above_start(w, 847) for w in ("closed", "autograd")], rounds=1)
    benchmark.extra_info.update(closed=closed, autograd=autograd)
    assert closed < 1.1 * autograd


def test_neither_sdm_nor_hrm_is_what_a_training_step_costs_most(benchmark: BenchmarkFixture) -> None:
    """A step of one image with 12 classes at DiSa's published sizes behind a narrow tower."""

    def holds(s: Seconds) -> bool:
        return 0.5 < s["no-sdm"] / s["whole"] < 1.4 and 0.3 < s["no-hrm"] / s["whole"] < 1.2

    turn = turn_of({which: training_step(which, 12) for which in STEPS})
    found = least_seconds(benchmark, turn, holds, rounds=2, at_most=8)
    benchmark.extra_info.update({f"{w} share": round(found[w] / found["whole"], 2) for w in STEPS})


def test_hrm_takes_memory_of_a_training_step_and_sdm_little(benchmark: BenchmarkFixture) -> None:
    found = benchmark.pedantic(lambda: {which: above_start(which, 12) for which in STEPS}, rounds=1)
    benchmark.extra_info.update(found)
    assert found["no-hrm"] < found["whole"]
    assert found["no-sdm"] < 1.1 * found["whole"]
