"""CAT-Seg against the spelled-out reference (tests/support/catseg_reference.py), where no recording of the official
code is at hand: a tower built like ViT-L/14@336, more classes than slots, few classes, batches, windows, gradients.

The reference itself is held against the recordings in test_catseg_golden.py.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from catseg_official import to_official
from catseg_reference import CatSegReference, Shape
from torch import Tensor, nn

from baselines.catseg.checkpoint import official_name
from baselines.catseg.model import CatSeg
from baselines.catseg.options import CatSegOptions
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow
from repro.runtime import import_torchvision
from repro.training.optim import AutocastOptimWrapper, build_optimizer
from repro.training.settings import TrainSettings

SLOTS = 8
OPTIONS = CatSegOptions(
    hidden=16,
    heads=2,
    pad_len=SLOTS,
    appearance_guidance=12,
    text_guidance=10,
    decoder_dims=(16, 16),
    decoder_guidance=(16, 8),
    decoder_guidance_proj=(6, 4),
)
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3}
TOWERS = {
    # 24 blocks, a positional embedding for the 24x24 map, patch * 24 pixels: as in ViT-L/14@336, all widths small
    "L": {"image_size": 48, "layers": 24, "width": 32, "head_width": 8, "patch_size": 2},
    # 12 blocks, a positional embedding for 14x14 that is resized: as in ViT-B/16
    "B": {"image_size": 28, "layers": 12, "width": 32, "head_width": 16, "patch_size": 2},
}
WORDS = ("sky", "grass", "traffic light", "polar bear", "wall, brick wall", "sea", "cat", "tall building, tower")


def names(count: int) -> list[str]:
    """Names whose first synonyms differ: equal prompts are ties, which rounding decides when classes are pruned."""
    numbers = [f" {i}" if i >= len(WORDS) else "" for i in range(count)]
    parts = [WORDS[i % len(WORDS)].partition(", ") for i in range(count)]
    return [f"{first}{number}{comma}{rest}" for (first, comma, rest), number in zip(parts, numbers, strict=True)]


def tokens(classes: list[str], template: str = "A photo of a {} in the scene") -> Tensor:
    """(T, 1, 16): the first synonym of every class in the prompt, without the padding nothing can attend to."""
    import_torchvision()
    import open_clip

    return open_clip.tokenize([template.replace("{}", c.split(", ")[0]) for c in classes])[:, None, :16]


def build(folder: Path, size: str, options: CatSegOptions = OPTIONS, dtype: torch.dtype = torch.float64) -> CatSeg:
    """A method with random weights of sensible size everywhere, padding tokens included."""
    config = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": TOWERS[size], "text_cfg": TEXT}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    method = CatSeg(build_tower(TowerSpec(model=str(folder), weights=None, resolution=48)), options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(1.5 * noise / max(1, parameter[0].numel()) ** 0.5)
    return method.to(dtype).eval()


def reference(method: CatSeg, state: dict[str, Tensor] | None = None) -> CatSegReference:
    tower = TOWERS[{12: "B", 24: "L"}[method.clip.depth]]
    shape = Shape(
        resolution=method.clip.resolution,
        vision_heads=tower["width"] // tower["head_width"],
        text_heads=TEXT["heads"],
        guide_blocks={12: (3, 7), 24: (7, 15)}[method.clip.depth],
        heads=method.options.heads,
        window=method.options.window,
        pooling=method.options.pooling if method.training else (1, 1),
        pad_len=method.options.pad_len,
    )
    return CatSegReference(state or to_official(method), shape)


def images(count: int, height: int = 64, width: int = 96, dtype: torch.dtype = torch.float64) -> Tensor:
    coarse = torch.rand(count, 3, 6, 8, generator=torch.Generator().manual_seed(3))
    return (255 * nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)).to(dtype)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest magnitude."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("size", "classes", "training"),
    [
        ("L", 1, False),
        ("L", 3, True),
        ("L", SLOTS, False),
        ("L", SLOTS + 1, True),
        ("L", 20, False),
        ("L", 20, True),
        ("B", 3, True),
        ("B", 20, False),
    ],
)
def test_logits_equal_the_reference(tmp_path: Path, size: str, classes: int, training: bool) -> None:
    method = build(tmp_path, size).train(training)
    with torch.no_grad():
        theirs = reference(method)(images(2), tokens(names(classes)))
        assert difference(method(images(2), names(classes)), theirs) < 1e-10
        assert difference(method.float()(images(2).float(), names(classes)).double(), theirs) < 5e-5
    pruned = (theirs == -100).flatten(2).all(dim=2)
    assert pruned.sum(dim=1).tolist() == [max(0, classes - SLOTS)] * 2
    assert (pruned[0] != pruned[1]).any() == (classes == 20)  # each image keeps its own


@pytest.mark.parametrize("classes", [3, 20])
def test_loss_and_gradients_equal_the_reference(tmp_path: Path, classes: int) -> None:
    method = build(tmp_path, "L").train()
    labels = torch.randint(0, classes, (2, 64, 64), generator=torch.Generator().manual_seed(1))
    labels[:, 20:31] = 255
    pixels = images(2, 64, 64)
    loss = method.loss(pixels, labels, names(classes))["loss_bce"]
    loss.backward()
    state = {n: t.detach().clone() for n, t in to_official(method).items()}
    trained = {official_name(n): p for n, p in method.named_parameters() if p.requires_grad}
    for name in trained:
        state[name].requires_grad_()
    theirs = reference(method, state).loss(pixels, labels, tokens(names(classes)))
    theirs.backward()
    torch.testing.assert_close(loss, theirs, rtol=1e-12, atol=0)
    assert len(trained) == 186
    for name, parameter in trained.items():
        ours, expected = parameter.grad, state[name].grad
        if classes >= SLOTS and "padding" in name:  # no slot is empty
            assert ours is None
            assert expected is None
            continue
        assert ours is not None
        assert expected is not None
        # Key biases of softmax attention have no gradient but rounding; the last query weight has none at all.
        assert (ours - expected).abs().max() <= 1e-9 * expected.abs().max() + 1e-17, name


def test_one_step_of_the_optimiser_is_adamw_with_the_released_groups(tmp_path: Path) -> None:
    """AdamW by its equations on the reference's gradients, one group a tensor, chosen by official names."""
    method = build(tmp_path, "L").train()
    labels = torch.randint(0, 3, (1, 64, 64), generator=torch.Generator().manual_seed(1))
    state = {n: t.detach().clone() for n, t in to_official(method).items()}
    trained = [official_name(n) for n, p in method.named_parameters() if p.requires_grad]
    for name in trained:
        state[name].requires_grad_()
    reference(method, state).loss(images(1, 64, 64), labels, tokens(names(3))).backward()
    norm = torch.stack([state[n].grad.norm() for n in trained]).norm()  # type: ignore[union-attr]
    assert norm > 0.01

    settings = TrainSettings(iterations=10, lr=2e-4, weight_decay=1e-4, clip_grad_norm=0.01)
    wrapper = AutocastOptimWrapper(build_optimizer(method, settings), "off", torch.device("cpu"), 0.01)
    wrapper.update_params(method.loss(images(1, 64, 64), labels, names(3))["loss_bce"])
    assert wrapper.grad_norm == pytest.approx(float(norm), rel=1e-10)
    after = to_official(method)
    rates, decays = set(), set()
    for name in trained:
        rate = 2e-4 * (0.01 if "clip_model" in name else 1.0)
        decay = 0.0 if "norm" in name or "double_conv.1" in name or "double_conv.4" in name else 1e-4
        gradient = state[name].grad * (0.01 / (norm + 1e-6))  # type: ignore[operator]
        before = state[name].detach()
        expected = before * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8)
        # A gradient that is nothing but rounding has no direction.
        sure = gradient.abs() > 1e-14
        change, theirs = (after[name] - before)[sure], (expected - before)[sure]
        torch.testing.assert_close(change, theirs, rtol=1e-6, atol=1e-15, msg=name)
        rates.add(rate)
        decays.add(decay)
    assert (len(rates), len(decays)) == (2, 2)


def test_every_window_keeps_its_own_classes(tmp_path: Path) -> None:
    method = build(tmp_path, "B", dtype=torch.float32)
    classes = names(20)
    window = SlidingWindow(Protocol(short_side=96, max_long_side=400, canvas=106, window=64))
    picture = images(1, 96, 130)[0].round().to(torch.uint8)
    with torch.inference_mode():
        ours = window.scores(method, picture.permute(1, 2, 0).numpy(), classes)
        against = reference(method)
        against.trace = {}
        theirs = against.sliding_window(picture.float(), tokens(classes), (96, 130), kernel=64, canvas=106)
    kept = (against.trace["logits"] != -100).flatten(2).any(dim=2)
    assert kept.sum(dim=1).tolist() == [SLOTS] * 5
    assert len({tuple(row) for row in kept.tolist()}) > 1
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 70), (33, 32)])
def test_images_given_whole_are_padded_as_released_unless_told_otherwise(
    tmp_path: Path, height: int, width: int
) -> None:
    method, plain = (build(tmp_path, "B", dataclasses.replace(OPTIONS, size_divisibility=step)) for step in (32, 1))
    picture = images(1, height, width)
    with torch.no_grad():
        theirs = reference(method)(picture, tokens(names(3)))
        assert difference(method(picture, names(3)), theirs) < 1e-10
        unpadded = reference(plain)(picture, tokens(names(3)), pad=False)
        assert difference(plain(picture, names(3)), unpadded) < 1e-10
    assert (difference(unpadded, theirs) > 1e-3) == (height % 32 > 0 or width % 32 > 0)


@pytest.mark.slow
@pytest.mark.xdist_group("memory")
def test_published_sizes_with_847_classes_equal_the_reference(tmp_path: Path) -> None:
    """The aggregator at its published widths, 256 of 847 classes, in float32."""
    method, image = build(tmp_path, "L", CatSegOptions(), torch.float32), images(1).float()
    with torch.inference_mode():
        ours, theirs = method(image, names(847)), reference(method)(image, tokens(names(847)))
    assert torch.equal(ours == -100, theirs == -100)
    assert (theirs != -100).flatten(2).any(dim=2).sum() == 256
    assert difference(ours, theirs) < 5e-5
