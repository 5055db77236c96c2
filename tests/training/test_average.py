"""Weights that are the mean over the last iterations: against the weights of every step, resumed, and left out."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from fake_method import make_method
from tiny_set import NAMES, write_pairs
from torch import nn

from repro.methods.weights import read_header
from repro.training.average import TailAverage
from repro.training.loop import Observer
from repro.training.settings import TrainSettings
from repro.training.train import train

SETTINGS = TrainSettings(
    iterations=8, batch_size=2, lr=1e-2, clip_grad_norm=1.0, short_side=32, crop=32, workers=0, checkpoint_every=3
)
AVERAGED = dataclasses.replace(SETTINGS, average_from=0.5)


class Watching(Observer):
    """Keeps the weights after every step; ends the training after ``last`` of them."""

    def __init__(self, method, last=None):
        self.method, self.last, self.seen = method, last, []

    def after(self, done, figures):
        self.seen.append([p.detach().clone() for p in self.method.parameters()])
        if done == self.last:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def trained(pairs, folder, settings, last=None):
    method = make_method()
    watching = Watching(method, last)
    train(method, settings, pairs, NAMES, folder, 3, method_name="pixel", observers=[watching])
    return method, watching.seen


def test_the_weights_are_the_mean_over_the_iterations_of_the_second_half(pairs, tmp_path):
    method, seen = trained(pairs, tmp_path / "averaged", AVERAGED)
    _, plain = trained(pairs, tmp_path / "plain", SETTINGS)
    assert len(seen) == len(plain) == 8
    for found, *steps in zip(method.parameters(), *seen[4:], strict=True):
        torch.testing.assert_close(found, torch.stack(steps).double().mean(0).float())
    for one, other in zip(seen[-1], plain[-1], strict=True):  # the training itself is the same
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert any(not torch.equal(p, last) for p, last in zip(method.parameters(), seen[-1], strict=True))


@pytest.mark.parametrize("last", [4, 7])
def test_an_interrupted_training_ends_with_the_same_mean(pairs, tmp_path, last):
    whole, _ = trained(pairs, tmp_path / "whole", AVERAGED)
    with pytest.raises(KeyboardInterrupt):
        trained(pairs, tmp_path / "resumed", AVERAGED, last)
    resumed, seen = trained(pairs, tmp_path / "resumed", AVERAGED)
    assert len(seen) == {4: 5, 7: 2}[last]
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_without_it_the_address_is_that_of_before_it_existed(pairs, tmp_path):
    assert "average_from" not in SETTINGS.facts()
    assert SETTINGS.facts() == {k: v for k, v in dataclasses.asdict(SETTINGS).items() if k != "average_from"}
    assert AVERAGED.facts()["average_from"] == 0.5
    marks = []
    for name, settings in {"a": SETTINGS, "b": AVERAGED}.items():
        trained(pairs, tmp_path / name, settings)
        marks.append(read_header(tmp_path / name / "weights.pth")["fingerprint"])
    assert marks[0] != marks[1]


def test_frozen_parameters_and_what_never_counted_stay_as_they_are():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    average, before = TailAverage(model.parameters(), 5), [p.detach().clone() for p in model.parameters()]
    average.add(5)
    average.put()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    average.add(6)
    assert len(average.means) == 1
