"""A CAT-Seg and a CLIP small enough to write to disk, offered as released variants beside the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from catseg_official import to_official
from torch import Tensor

import repro.checkpoints.clip as clip
from baselines.catseg.checkpoint import OFFICIAL
from baselines.catseg.model import CatSeg
from repro.checkpoints.official import OfficialVariant
from repro.checkpoints.reading import ForeignFile
from repro.clip.names import TINY, TINY_EVA
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.methods import get_method
from repro.runtime import import_torchvision

SMALL = {
    "hidden": 16,
    "heads": 2,
    "window": 3,
    "appearance_guidance": 16,
    "text_guidance": 16,
    "decoder_dims": [16, 16],
    "decoder_guidance": [16, 16],
    "decoder_guidance_proj": [8, 8],
    "guide_blocks": [0, 0],
}
TOWER = TowerSpec(model="tiny", weights=None, resolution=48, dense_residual="cls")


@pytest.fixture
def small_variant(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a small CAT-Seg that counts as released."""
    variants = {**OFFICIAL.variants, "catseg-small": OfficialVariant("CAT-Seg (small)", TOWER, SMALL)}
    monkeypatch.setattr(type(OFFICIAL), "variants", variants)
    return "catseg-small"


def small_method(seed: int = 0) -> CatSeg:
    torch.manual_seed(seed)
    entry = get_method("catseg")
    method = entry.create(build_tower(TOWER), entry.make_options(SMALL))
    assert isinstance(method, CatSeg)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return method.eval()


@pytest.fixture(scope="session")
def small() -> CatSeg:
    return small_method()


@pytest.fixture
def official(small: CatSeg) -> dict[str, Tensor]:
    """The small CAT-Seg as its authors' code would store it."""
    return {n: t.detach().clone() for n, t in to_official(small).items()}


@pytest.fixture
def tiny_clips(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Only small open_clip models are known: one with both activations, and an EVA."""
    import_torchvision()
    from repro.clip.eva import register_tiny

    register_tiny()
    configs = {"tiny": dict(TINY), "tiny-quickgelu": {**TINY, "quick_gelu": True}, "EVA-tiny": dict(TINY_EVA)}
    monkeypatch.setattr(clip, "_configs", lambda: configs)
    clip.model_shapes.cache_clear()
    yield configs
    clip.model_shapes.cache_clear()


def meta_file(shapes: dict[str, tuple[int, ...]], form: str = "torch file", **tensors: Tensor) -> ForeignFile:
    """A file with these entries and no memory."""
    state = {n: torch.empty(s, device="meta") for n, s in shapes.items()}
    return ForeignFile(Path("file.pth"), form, {**state, **tensors}, {}, ())
