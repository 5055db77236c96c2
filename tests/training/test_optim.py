from __future__ import annotations

import math

import pytest
import torch
from fake_method import make_method

from repro.training.optim import AutocastOptimWrapper, build_optimizer, build_schedulers
from repro.training.settings import TrainSettings


def rates(settings):
    """The learning rates that iterations 0.. use, a list a group."""
    optimizer = build_optimizer(make_method(), settings)
    wrapper = AutocastOptimWrapper(optimizer, "off", torch.device("cpu"), 1.0)
    schedulers = build_schedulers(wrapper, settings)
    seen = []
    for _ in range(settings.iterations):
        seen.append([g["lr"] for g in optimizer.param_groups])
        for scheduler in schedulers:
            scheduler.step()
    return [list(group) for group in zip(*seen, strict=True)]


def test_cosine_follows_the_closed_form_in_every_group():
    head, slow = rates(TrainSettings(iterations=50, lr=0.2))
    expected = [0.5 * (1 + math.cos(math.pi * i / 50)) for i in range(50)]
    assert head == pytest.approx([0.2 * e for e in expected], rel=1e-9)
    assert slow == pytest.approx([0.002 * e for e in expected], rel=1e-9)


def test_warm_up_is_linear_and_the_cosine_takes_over_at_its_end():
    head, slow = rates(TrainSettings(iterations=50, lr=0.2, warmup_iterations=10))
    ramp = [1e-3 + (1 - 1e-3) * i / 9 for i in range(10)]
    cosine = [0.5 * (1 + math.cos(math.pi * i / 40)) for i in range(40)]
    assert head == pytest.approx([0.2 * e for e in ramp + cosine], rel=1e-6)
    assert [s / h for s, h in zip(slow, head, strict=True)] == pytest.approx([0.01] * 50)


def test_groups_must_cover_exactly_what_trains():
    method = make_method()
    method.frozen.requires_grad_(True)
    with pytest.raises(ValueError, match=r"frozen\.weight"):
        build_optimizer(method, TrainSettings())


def step(amp, loss_scale=1.0, max_norm=0.01):
    method = make_method(dropout=0.0)
    optimizer = build_optimizer(method, TrainSettings(lr=0.1, weight_decay=0.0))
    wrapper = AutocastOptimWrapper(optimizer, amp, torch.device("cpu"), max_norm)
    images = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    with wrapper.optim_context(method):
        dtype = method.head(torch.zeros(1, 16, 1, 1)).dtype
        losses = method.loss(images, torch.zeros(2, 16, 16, dtype=torch.int64), ("a", "b"))
    before = method.head.weight.detach().clone()
    wrapper.backward(losses["loss_ce"] * loss_scale)
    return method, wrapper, before, dtype


def test_the_norm_of_all_gradients_together_is_clipped():
    method, wrapper, _, _ = step("off", max_norm=1e-3)
    gradients = [p.grad.clone() for p in method.parameters() if p.grad is not None]
    whole = torch.cat([g.flatten() for g in gradients]).norm()
    wrapper.step()
    assert wrapper.grad_norm == pytest.approx(float(whole), rel=1e-5)
    clipped = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]).norm()
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(("amp", "dtype"), [("off", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_autocast_computes_in_the_asked_type_and_keeps_float32_parameters(amp, dtype):
    method, wrapper, before, seen = step(amp)
    wrapper.step()
    assert seen == dtype
    assert method.head.weight.dtype == torch.float32
    assert not torch.equal(method.head.weight, before)


def test_fp16_gradients_are_unscaled_before_they_are_clipped():
    _, plain, _, _ = step("off")
    _, scaled, _, _ = step("fp16")
    plain.step()
    scaled.step()
    assert scaled.grad_norm == pytest.approx(plain.grad_norm, rel=0.05)


def test_a_gradient_that_is_not_finite_stops_before_anything_changes():
    method, wrapper, before, _ = step("off", loss_scale=math.inf)
    with pytest.raises(FloatingPointError, match="gradient norm"):
        wrapper.step()
    assert torch.equal(method.head.weight, before)


def test_the_loss_scale_survives_save_and_load():
    _, wrapper, _, _ = step("fp16")
    wrapper.scaler.update(1234.0)
    _, other, _, _ = step("fp16")
    other.load_state_dict(wrapper.state_dict())
    assert other.scaler.get_scale() == 1234.0
