"""The decoupled alignment against the recorded loss of the official class, and each of its rules on its own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.densevlm.loss import Alignment, decoupled_alignment, region_logits

THINGS = torch.tensor([True] * 3 + [False] * 4)


def pattern(n: int, d: int, a: float, b: float, c: float, amplitude: Tensor | None = None) -> Tensor:
    """Rows of cos(j / 2) + c sin(a (i + 1) (j + 1) + b), as the fact sheet writes the vector."""
    i, j = torch.arange(1.0, n + 1)[:, None], torch.arange(1.0, d + 1)
    wave = c * torch.sin(a * i * j + b)
    return torch.cos(0.5 * (j - 1)) + (wave if amplitude is None else amplitude[:, None] * wave)


def recorded(things: Tensor = THINGS, unit: bool = False, **changes: object) -> Alignment:
    """The recorded case: 9 regions, 7 categories."""
    length_p, length_u = (1.0, 1.0) if unit else (0.90, 0.95)
    text_p = length_p * F.normalize(pattern(7, 6, 0.9, 0.3, 0.20), dim=-1)
    text_u = length_u * F.normalize(pattern(7, 5, 1.3, 0.1, 0.20), dim=-1)
    amplitude = torch.tensor([1, 1, 0.05, 1, 0.9, 1, 0.1, 0.8, 1])
    f_u, f_p = pattern(9, 5, 0.6, 0.7, 0.18)[None], pattern(9, 6, 0.9, 0.5, 0.22, amplitude)[None]
    rules = {
        "thing_classes": "things",
        "stuff_classes": "all",
        "reduction": "group",
        "threshold": 0.3,
        **changes,
    }
    z_u, z_p = region_logits(f_u, text_u, 0.01), region_logits(f_p, text_p, 0.01)
    return decoupled_alignment(z_u, z_p, torch.ones(1, 9, dtype=torch.bool), things=things, **rules)  # type: ignore[arg-type]


def test_recorded_loss_of_the_official_class() -> None:
    outcome = recorded()
    assert (int(outcome.thing), int(outcome.stuff)) == (4, 3)
    assert float(outcome.loss) == pytest.approx(4.281233, abs=2e-4)


def test_recorded_losses_of_other_readings() -> None:
    one_more = torch.tensor([True] * 4 + [False] * 3)
    assert float(recorded(one_more).loss) == pytest.approx(4.6889, abs=2e-4)
    assert float(recorded(reduction="image").loss) == pytest.approx(2.1049, abs=2e-4)


def test_recorded_loss_with_unit_text_for_the_trained_model() -> None:
    # The sheet's "unit text" brings both sets of embeddings to unit length.
    assert float(recorded(unit=True).loss) == pytest.approx(4.2980, abs=2e-4)


def random_case(images: int = 3, regions: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    valid = torch.ones(images, regions, dtype=torch.bool)
    valid[0, 3:] = False
    return 3 * torch.randn(images, regions, 7), 4 * torch.randn(images, regions, 7), valid


def looped(trained: Tensor, powerful: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Eqs. 2 to 5, one region after the other, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for own, wanted, real in zip(trained.double(), powerful.double(), valid, strict=True):
        losses = []
        for u, p, counted in zip(own, wanted, real, strict=True):
            probability = p.exp() / p.exp().sum()
            if not counted or probability.max() <= threshold:
                continue
            chosen = THINGS if THINGS[probability.argmax()] else torch.ones(7, dtype=torch.bool)
            target, ours = p[chosen].exp() / p[chosen].exp().sum(), u[chosen].exp() / u[chosen].exp().sum()
            losses.append((target * (target / ours).log()).sum())
        if losses:
            total += torch.stack(losses).mean()
    return total / len(trained)


def paper(trained: Tensor, powerful: Tensor, valid: Tensor, threshold: float = 0.5) -> Alignment:
    return decoupled_alignment(
        trained,
        powerful,
        valid,
        thing_classes="things",
        stuff_classes="all",
        reduction="image",
        things=THINGS,
        threshold=threshold,
    )


def test_paper_reading_equals_a_loop_over_regions() -> None:
    case = random_case()
    torch.testing.assert_close(paper(*case).loss.double(), looped(*case, 0.5), atol=1e-5, rtol=1e-5)


def test_padding_and_dropped_regions_have_no_gradient() -> None:
    trained, powerful, valid = random_case()
    trained.requires_grad_(True)
    paper(trained, powerful, valid).loss.backward()
    kept = valid & (powerful.softmax(-1).amax(-1) > 0.5)
    assert trained.grad is not None
    assert 0 < kept.sum() < valid.sum()
    assert ((trained.grad.abs().sum(-1) > 1e-9) == kept).all()


def test_a_thing_region_leaves_the_logits_of_stuff_alone() -> None:
    trained, powerful, valid = random_case(1, 1)
    powerful[0, 0, 1], valid[:] = 20.0, True
    trained.requires_grad_(True)
    paper(trained, powerful, valid).loss.backward()
    assert trained.grad is not None
    assert (trained.grad[..., 3:] == 0).all()
    assert (trained.grad[..., :3] != 0).all()


@pytest.mark.parametrize("reduction", ["image", "group"])
def test_without_any_region_the_loss_is_zero_and_so_is_the_gradient(reduction: str) -> None:
    trained, powerful, valid = random_case()
    trained.requires_grad_(True)
    outcome = decoupled_alignment(
        trained,
        0 * powerful,
        valid,
        thing_classes="things",
        stuff_classes="all",
        reduction=reduction,  # type: ignore[arg-type]
        things=THINGS,
        threshold=0.3,
    )
    outcome.loss.backward()
    assert outcome.loss == 0
    assert trained.grad is not None
    assert (trained.grad == 0).all()


def test_equal_models_have_no_loss() -> None:
    _, powerful, valid = random_case()
    assert float(paper(powerful, powerful, valid).loss) == pytest.approx(0, abs=1e-6)
