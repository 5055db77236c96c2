"""An evaluation that was killed between its last image and its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_method import make_method
from tiny_set import TinyBenchmark, write_pairs

from repro.datasets.protocol import Protocol
from repro.evaluation.evaluate import EvalResult, evaluate
from repro.evaluation.loop import EvaluationLoop

PROTOCOL = Protocol(short_side=48, max_long_side=200, canvas=48, window=32, overlap=0.5)


def test_an_evaluation_with_all_images_counted_only_writes_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs: Any = write_pairs(tmp_path / "pairs", 3)
    benchmark: Any = TinyBenchmark()

    def run(folder: str) -> EvalResult:
        return evaluate(make_method(), benchmark, pairs, PROTOCOL, tmp_path / folder, progress=False, save_every=0)

    def killed(_self: object) -> EvalResult:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EvaluationLoop, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run("ended")
    resumed, whole = run("ended"), run("whole")
    assert resumed.metrics == whole.metrics
    assert resumed.counts().keys == whole.counts().keys
