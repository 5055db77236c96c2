"""A timing says what it measured, how often and on what."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from fake_method import make_method

from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.cost.timing import Timing, default_runs, drawn_text, time_inference
from repro.datasets.protocol import Protocol
from repro.methods import get_method

PROTOCOL = Protocol(short_side=20, max_long_side=80, canvas=20, window=12)
CLASSES = ["sky", "dog", "grass"]


def timing_of(seconds):
    return Timing(seconds, 1, "perf_counter", "a machine", 1, "2", None, "")


def test_median_and_ninetieth_percentile_are_of_the_kept_runs():
    found = timing_of(tuple(float(n) for n in range(11)))
    assert found.median == 5
    assert found.p10 == 1
    assert found.p90 == 9


def test_warm_up_runs_are_made_and_not_kept(monkeypatch):
    method = make_method()
    calls = []
    monkeypatch.setattr(
        "repro.evaluation.infer.SlidingWindow.logits",
        lambda self, m, images, classes: calls.append([i.shape for i in images]) or [],
    )
    found = time_inference(method, PROTOCOL, CLASSES, "cpu", repeat=4, warmup=2, batch=3, stages=False)
    assert len(found.seconds) == 4
    assert calls == [[(20, 20, 3)] * 3] * 6


def test_a_cpu_timing_names_clock_threads_torch_and_memory():
    found = time_inference(make_method(), PROTOCOL, CLASSES, "cpu", repeat=2, warmup=1)
    assert min(found.seconds) > 0
    assert found.clock == "perf_counter"
    assert found.threads == torch.get_num_threads()
    assert found.torch == torch.__version__
    assert found.peak_memory_mib is None or found.peak_memory_mib > 50
    assert found.machine["kind"] == "CPU"
    assert found.machine["driver"] is None
    assert "load" in found.clocks


def test_fifty_runs_on_a_gpu_are_a_timing_and_fewer_a_trial():
    enough = timing_of((1.0,) * 50)
    assert not dataclasses.replace(enough, clock="CUDA events", warmup=10).trial
    assert dataclasses.replace(enough, clock="CUDA events", warmup=9).trial
    assert dataclasses.replace(enough, clock="CUDA events", warmup=10, seconds=(1.0,) * 49).trial
    assert default_runs("cuda") == (10, 50)


def test_text_is_drawn_once_and_the_tower_is_as_before_afterwards():
    entry = get_method("clip")
    method = entry.create(build_tower(TowerSpec("tiny", None, 48)), entry.make_options()).eval()
    plain = method.clip.text(("a", "b"), "{}")
    with drawn_text(method):
        drawn = method.clip.text(("a", "b"), "{}")
        assert drawn is method.clip.text(("c", "d"), "a {}")
        torch.testing.assert_close(drawn.norm(dim=1), torch.ones(2))
    assert torch.equal(method.clip.text(("a", "b"), "{}"), plain)


def test_peak_memory_is_of_the_timed_runs_not_of_what_came_before():
    if timing_memory() is None:
        pytest.skip("this system does not tell the peak of resident memory")
    block = torch.ones(64 << 20)  # 256 MiB, then given back
    peak = timing_memory()
    del block
    assert peak is not None
    assert timing_memory() <= peak


def timing_memory():
    return time_inference(make_method(), PROTOCOL, CLASSES, "cpu", repeat=1, warmup=1).peak_memory_mib


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_timing_is_by_events_and_knows_what_was_allocated():
    found = time_inference(make_method(), PROTOCOL, CLASSES, "cuda", repeat=2, warmup=1)
    assert found.clock == "CUDA events"
    assert found.peak_memory_mib < 100
