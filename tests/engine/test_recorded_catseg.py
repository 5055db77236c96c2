"""The whole of inference with the real CAT-Seg under name-keyed weights, against the official code's recording."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch

from repro.benchmarks.protocol import Protocol
from repro.engine.infer import SlidingWindow

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("memory")]


@pytest.fixture(scope="module")
def fill(shared):
    spec = importlib.util.spec_from_file_location("golden_fill", shared / "golden" / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def catseg(fill):
    from baselines.catseg.checkpoint import from_official, official_name
    from repro.clip.spec import TowerSpec
    from repro.clip.tower import build_tower
    from repro.methods import get_method

    entry = get_method("catseg")
    method = entry.create(build_tower(TowerSpec(weights=None)), entry.make_options())
    state = {}
    for name, tensor in method.state_dict().items():
        value = fill.value(official_name(name), tuple(tensor.shape))
        state[official_name(name)] = tensor if value is None else torch.from_numpy(value)
    from_official(method, state)
    return method.eval()


def test_sliding_window_over_voc20_equals_the_official_scores_and_classes(shared, fill, catseg):
    from repro.benchmarks.spec import get_benchmark

    manifest = json.loads((shared / "golden" / "manifest.json").read_text())["voc20_slide"]
    with np.load(shared / "golden" / "voc20_slide.npz") as stored:
        recorded = {name: stored[name] for name in ("sem_seg", "argmax", "margin_top1_top2")}
    window, image = SlidingWindow(Protocol(), view_batch=1), fill.image(505, 375, 500)
    scores = window.scores(catseg, image, get_benchmark("PAS-20").prompt_names())

    facts = manifest["sem_seg"]
    assert list(scores.shape) == facts["full_shape"]
    sample = scores.numpy()[tuple(slice(None, None, s) for s in facts["strides"])]
    np.testing.assert_allclose(sample, recorded["sem_seg"], rtol=0, atol=1e-4)
    assert float(scores.double().norm()) == pytest.approx(facts["l2"], rel=1e-5)
    clear = recorded["margin_top1_top2"] > 1e-3
    assert clear.mean() > 0.8
    assert np.array_equal(scores.argmax(0).numpy()[clear], recorded["argmax"][clear])
