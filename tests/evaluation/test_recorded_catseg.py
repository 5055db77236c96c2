"""The whole of inference with the real CAT-Seg under name-keyed weights, against the official code's recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from catseg_official import from_official
from recordings import fill, manifest, recorded, sample

from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("memory")]


@pytest.fixture(scope="module")
def catseg():
    from baselines.catseg.checkpoint import official_name
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


def test_sliding_window_over_voc20_equals_the_official_scores_and_classes(catseg):
    from repro.datasets.benchmarks import get_benchmark

    expected, facts = recorded("voc20_slide"), manifest()["voc20_slide"]["sem_seg"]
    window, image = SlidingWindow(Protocol(), view_batch=1), fill.image(505, 375, 500)
    scores = window.scores(catseg, image, get_benchmark("PAS-20").prompt_names())

    np.testing.assert_allclose(sample(scores, "voc20_slide", "sem_seg"), expected["sem_seg"], rtol=0, atol=1e-4)
    assert float(scores.double().norm()) == pytest.approx(facts["l2"], rel=1e-5)
    clear = expected["clear"]
    assert clear.mean() > 0.8
    assert np.array_equal(scores.argmax(0).numpy()[clear], expected["argmax"][clear])
