from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.ss2d import SS2D, cross_merge, cross_scan


def make(dim: int = 6, **options: int | float) -> SS2D:
    torch.manual_seed(0)
    layer = SS2D(dim, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def test_the_four_readings_go_by_rows_by_columns_and_back() -> None:
    x = torch.arange(6.0).view(1, 2, 3, 1)
    assert cross_scan(x)[0, :, :, 0].tolist() == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 1, 4, 2, 5],
        [5, 4, 3, 2, 1, 0],
        [5, 2, 4, 1, 3, 0],
    ]


def test_merging_puts_every_reading_back_in_its_place() -> None:
    x = torch.randn(2, 3, 5, 4)
    y = cross_scan(x)
    torch.testing.assert_close(cross_merge(y, 3, 5), 4 * x)
    for direction in range(4):
        only = torch.zeros_like(y)
        only[:, direction] = y[:, direction]
        assert torch.equal(cross_merge(only, 3, 5), x)


def test_layer_equals_a_loop_over_places_and_directions() -> None:
    layer, x = make(state=2, expansion=2.0), torch.randn(2, 3, 4, 6, dtype=torch.float64)
    u = F.silu(layer.conv(layer.in_proj(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    rows = [(i, j) for i in range(3) for j in range(4)]
    columns = [(i, j) for j in range(4) for i in range(3)]
    total = torch.zeros_like(u)
    for direction, path in enumerate([rows, columns, rows[::-1], columns[::-1]]):
        state: Tensor = torch.zeros(2, 12, 2, dtype=torch.float64)
        for i, j in path:
            token = u[:, i, j]
            low, b, c = (token @ layer.x_proj[direction]).split(layer.split, dim=-1)
            step = F.softplus(low @ layer.step_weight[direction] + layer.step_bias[direction])[..., None]
            decay = torch.exp(step * -torch.exp(layer.a_log[direction]))
            state = decay * state + step * b[:, None] * token[..., None]
            total[:, i, j] += (state * c[:, None]).sum(-1) + layer.skip[direction] * token
    expected = layer.out_proj(layer.norm(total))
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-9)


def test_every_place_reaches_every_other() -> None:
    layer, x = make(), torch.randn(1, 5, 7, 6, dtype=torch.float64, requires_grad=True)
    for place in [(0, 0), (2, 3), (4, 6)]:
        (gradient,) = torch.autograd.grad(layer(x)[0, place[0], place[1]].sum(), x)
        assert (gradient.abs().amax(dim=(0, 3)) > 0).all()


def test_initial_steps_lie_in_the_published_range() -> None:
    steps = F.softplus(SS2D(64).step_bias)
    assert 0.00099 < steps.min() < steps.max() < 0.101


def test_gradients_reach_every_parameter() -> None:
    layer = make()
    layer(torch.randn(1, 3, 3, 6, dtype=torch.float64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    assert {id(p) for p in layer.undecayed()} < {id(p) for p in layer.parameters()}
