"""Maps of a method over the images of a benchmark, folded background and all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_method import make_method

from repro.datasets.images import read_label
from repro.datasets.protocol import Protocol
from repro.datasets.small import small_benchmark
from repro.evaluation.maps import GROUPS, foreground_figures, measure_maps
from repro.metrics.seen import class_groups
from repro.traces.fixture import write_pairs

PROTOCOL = Protocol(short_side=48, max_long_side=96, canvas=48, window=48)


@pytest.mark.parametrize("folded", [False, True])
def test_groups_follow_the_classes_and_a_folded_background_enters_by_its_kind(folded: bool, tmp_path: Path) -> None:
    benchmark = small_benchmark(folded)  # things and stuff in turn, a background (here a thing) after two classes
    pairs = write_pairs(tmp_path, benchmark.num_classes)
    maps = torch.rand(1, 4, 6, 6, dtype=torch.float64)
    method = make_method().eval()
    method.diagnostics = lambda *_: {"saliency": maps}  # type: ignore[method-assign]
    scores = measure_maps(method, benchmark, pairs, PROTOCOL)
    words = set(class_groups(benchmark))
    assert words == ({"thing seen", "stuff seen", "thing"} if folded else {"thing seen", "stuff seen"})
    looked_at = 2 if folded else 4
    things = [kind == "thing" for kind in benchmark.class_kinds()]
    for number, pair in enumerate(pairs):
        label = read_label(pair.label)
        present = [c for c in np.unique(label).tolist() if c < looked_at]
        for i, group in enumerate(GROUPS):
            assert scores.pairs[number, i] == sum(class_groups(benchmark)[c] == group for c in present)
        expected = foreground_figures({"saliency": maps[0].numpy()}, label, looked_at, things)
        assert scores.scenes is not None
        np.testing.assert_array_equal(scores.scenes[:, number], expected)
    assert 0 < scores.mean("foreground_chance_ap")[0] < 1
    assert scores.mean("saliency_ap", "seen") == scores.mean("saliency_ap")
