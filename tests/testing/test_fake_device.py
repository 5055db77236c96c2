"""What a host waits for is noted, whoever asks; the rest of a computation has the shapes of a real one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.clip.names import BUILT_IN
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.testing.fake_device import FOUND, KIND, TO_DEVICE, TO_HOST, WITHOUT_CUDA, fake_device, put

ASKING: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "item": (lambda x: x.sum().item(), "aten._local_scalar_dense"),
    "bool": (lambda x: bool((x > 0).any()), "aten._local_scalar_dense"),
    "int": (lambda x: torch.zeros(int(x.max())), "aten._local_scalar_dense"),
    "nonzero": (lambda x: x.nonzero(), "aten.nonzero"),
    "mask": (lambda x: x[x > 0] + 1, "aten.index.Tensor"),
    "masked write": (lambda x: x.index_put_((x > 0,), x.new_zeros(())), "aten.index_put_"),
    "equal": (lambda x: torch.equal(x, x), "aten.equal"),
    "tolist": (lambda x: x.tolist(), TO_HOST),
    "cpu": (lambda x: x.cpu() + 1, TO_HOST),
    "numpy": (lambda x: x.cpu().numpy() + 1, TO_HOST),
}
QUIET: dict[str, Callable[[Tensor], Tensor]] = {
    "fill": lambda x: x.masked_fill(x > 0, 0.0),
    "choose": lambda x: torch.where(x > 0, x, 0.0),
    "index": lambda x: x[torch.zeros(3, dtype=torch.long, device=x.device)],
    "top": lambda x: x.topk(2).values,
    "loss": lambda x: F.cross_entropy(x, torch.zeros(len(x), dtype=torch.long, device=x.device), ignore_index=255),
}


@pytest.mark.parametrize("name", ASKING)
def test_what_the_host_asks_is_noted_and_answered(name: str) -> None:
    ask, expected = ASKING[name]
    with fake_device() as waits:
        ask(torch.rand(4, 5, device=KIND))
    assert [wait.what for wait in waits] == [expected]
    assert waits[0].where.startswith(f"{__name__}:")


@pytest.mark.parametrize("name", QUIET)
def test_the_device_works_without_the_host(name: str) -> None:
    with fake_device() as waits:
        assert QUIET[name](torch.rand(4, 5, device=KIND)).device.type == KIND
    assert waits == []


def test_a_search_has_a_few_hits_per_row() -> None:
    with fake_device():
        assert torch.empty(4, 3, device=KIND).nonzero().shape == (12, 2)
        assert torch.empty(4, 100, device=KIND).nonzero().shape == (4 * FOUND, 2)


def test_a_bool_is_answered_as_told() -> None:
    for answer in (False, True):
        with fake_device(answer=answer):
            assert bool(torch.empty(3, device=KIND).isnan().any()) is answer


def test_shared_parameters_stay_one_and_train_as_before() -> None:
    layer = torch.nn.Linear(3, 3)
    both = torch.nn.ModuleList([layer, torch.nn.Linear(3, 3)])
    both[1].weight = layer.weight
    layer.bias.requires_grad_(False)
    with fake_device():
        put(both)
        assert both[0].weight is both[1].weight
        assert [p.requires_grad for p in both.parameters()] == [True, False, True]
        assert {p.device.type for p in both.parameters()} == {KIND}


@pytest.mark.parametrize("model", BUILT_IN)
def test_towers_encode_on_the_device_and_only_the_length_of_a_text_is_read_on_the_host(model: str) -> None:
    tower = build_tower(TowerSpec(model=model, weights=None, resolution=96))
    with fake_device() as waits, torch.no_grad():
        put(tower)
        found = tower.dense(torch.empty(2, 3, 60, 72, device=KIND)).map
        text = tower.text(["sea", "traffic light"], "a photo of a {}")
    assert (tuple(found.shape), found.device.type) == ((2, tower.embed_dim, tower.grid, tower.grid), KIND)
    assert (tuple(text.shape), text.device.type) == ((2, tower.embed_dim), KIND)
    assert waits == []


@pytest.mark.skipif(KIND != "cuda", reason=WITHOUT_CUDA)
def test_tensors_of_two_devices_do_not_meet_and_copies_are_noted() -> None:
    with fake_device() as waits:
        x = torch.empty(3, device="cuda")
        with pytest.raises(RuntimeError, match="device"):
            x + torch.empty(3)
        assert waits == []
        torch.tensor([1.0, 2.0], device="cuda")
        x.to("cpu")
    assert [wait.what for wait in waits] == [TO_DEVICE, TO_HOST]
