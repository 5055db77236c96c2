"""Activations computed again give the same gradients and are really not kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repro.training.activations import checkpoint_activations


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.dropout = nn.Linear(16, 64), nn.Linear(64, 16), nn.Dropout(0.3)
        self.calls = 0

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        self.calls += 1
        return x + scale * self.down(self.dropout(torch.tanh(self.up(x))))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(4))
        self.guides = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, scale=0.5)
        return self.head(x + self.guides[0](x)).square().mean()


def model(checkpointed: bool) -> Model:
    torch.manual_seed(0)
    made = Model()
    if checkpointed:
        assert checkpoint_activations(made) == 4
    return made


def gradients(made: Model) -> dict[str, Tensor]:
    torch.manual_seed(1)
    made(torch.randn(8, 16)).backward()
    return {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


def test_gradients_are_the_same_bits_also_with_dropout():
    kept, again = gradients(model(False)), gradients(model(True))
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_every_block_runs_twice_in_training_and_once_in_evaluation():
    made = model(True)
    gradients(made)
    assert [b.calls for b in made.blocks] == [2] * 4
    with torch.no_grad():
        made(torch.randn(8, 16))
    assert [b.calls for b in made.blocks] == [3] * 4


def test_fewer_activations_are_kept():
    def kept(made: Model) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            made(torch.randn(8, 16))
        return sum(sizes)

    assert kept(model(True)) < 0.5 * kept(model(False))


def test_names_and_a_second_call_are_left_alone():
    made = model(True)
    assert made.state_dict().keys() == model(False).state_dict().keys()
    assert checkpoint_activations(made) == 4
    gradients(made)
    assert [b.calls for b in made.blocks] == [2] * 4
