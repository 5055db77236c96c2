"""Precision of losses and rankings: half precision ends there, wider types stay."""

from __future__ import annotations

import pytest
import torch

from repro.layers.precision import full_precision, widened


@pytest.mark.parametrize(
    ("given", "wide"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_widened_and_nothing_is_narrowed(given: torch.dtype, wide: torch.dtype) -> None:
    values = torch.tensor([1 / 3, 2.0], dtype=given, requires_grad=True)
    found = widened(values)
    assert found.dtype == wide
    assert torch.equal(found, values.to(wide))
    found.sum().backward()
    assert values.grad is not None


def test_autocast_does_not_reach_what_asks_for_full_precision() -> None:
    a = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        with full_precision("cpu"):
            assert (a @ a).dtype == torch.float32
