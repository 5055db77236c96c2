"""Choices are made on training scenes that the training did not see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repro.api.held_out import held_out
from repro.errors import UsageError
from repro.metrics.counts import Counts
from repro.requests import RunRequest
from repro.training import train as module


def request(folder: Path, method: str = "disa", **options: object) -> RunRequest:
    return RunRequest(method=method, profile="smoke", runs=folder, options=options, training={"iterations": 2})


def test_a_method_is_trained_without_the_scenes_it_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    real = module.train

    def noted(method: Any, settings: Any, pairs: Any, *rest: Any, **words: Any) -> Any:
        seen.append({p.key for p in pairs})
        return real(method, settings, pairs, *rest, **words)

    monkeypatch.setattr(module, "train", noted)
    found = held_out(request(tmp_path), 3, device="cpu")
    assert set(found) >= {"miou_gt", "pacc", "saliency_ap", "attention_ap", "correlation_ap", "chance_ap"}
    assert all(0 <= v <= 1 for v in found.values())
    (folder,) = (tmp_path / "cache" / "held_out").iterdir()
    own = set(Counts.load(folder / "scenes" / "counts.npz").keys)
    assert len(own) == 3
    assert not own & seen[0]
    # What is finished is read: the same figures, and no step is taken.
    monkeypatch.setattr("repro.training.train.run", lambda *a, **k: pytest.fail("trained again"))
    assert held_out(request(tmp_path), 3, device="cpu") == found


def test_another_option_or_number_of_scenes_is_another_training(tmp_path: Path) -> None:
    held_out(request(tmp_path), 3, device="cpu")
    held_out(request(tmp_path, saliency_layer=0), 3, device="cpu")
    held_out(request(tmp_path), 2, device="cpu")
    assert len(list((tmp_path / "cache" / "held_out").iterdir())) == 3


def test_nothing_to_choose_or_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to choose"):
        held_out(RunRequest(method="clip", profile="smoke", runs=tmp_path), 2, device="cpu")
    with pytest.raises(UsageError, match="nothing is left"):
        held_out(request(tmp_path), 500, device="cpu")
