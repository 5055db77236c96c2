"""Tiny fixed work: a tower of the family, depth and grid of the real one, drawn images and labels, few classes."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import random
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.clip.spec import TowerSpec
from repro.files import write_json
from repro.traces.watching import is_portable

if TYPE_CHECKING:
    from torch import nn

    from repro.clip.tower import ClipTower
    from repro.datasets.layout import Pair

CLASSES = (
    *("person", "dog", "traffic light", "sky-other", "grass", "wall-brick, wall"),
    *("snow", "car", "horse", "window-other"),
)
"""Words of a training: things and stuff, hyphens, two synonyms, two words."""
SHOWN = 5
"""The first so many label pixels: what is drawn of the others by chance shows."""
SIZES = ((60, 83), (97, 60), (40, 160))
"""Heights and widths of the images: lying, upright, and so long that it is padded."""
WIDTH, HEAD, TEXT_WIDTH = 64, 32, 32
_FAMILIES = {"eva": ("tiny-eva", 8), "convnext": ("tiny-convnext", 32), "resnet": ("tiny-resnet", 32)}


@contextlib.contextmanager
def undisturbed() -> Iterator[Path]:
    """Make a folder that is removed after the block, and leave random generators and threads as they were before it."""
    import torch

    states = random.getstate(), np.random.get_state()  # noqa: NPY002  the work seeds them
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory(prefix="repro-trace-") as folder, torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(1)  # their number decides the order of sums
            yield Path(folder)
        finally:
            torch.set_num_threads(threads)
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def write_pairs(folder: Path, classes: int, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Pair]:
    """Write images (lossless) and labels 0 .. ``classes`` - 1 with an ignored corner, below ``folder``."""
    from PIL import Image

    from repro.datasets.layout import Pair

    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, (height, width) in enumerate(sizes):
        rng = np.random.default_rng((7, number))
        coarse = rng.integers(0, 256, (height // 12 + 1, width // 12 + 1, 3))
        image = coarse.repeat(12, 0).repeat(12, 1)[:height, :width] // 2 + rng.integers(0, 128, (height, width, 3))
        blocks = rng.integers(0, classes, (height // 20 + 1, width // 20 + 1))
        label = blocks.repeat(20, 0).repeat(20, 1)[:height, :width].copy()
        label[:9, :9] = 255
        paths = folder / f"{number}.png", folder / f"{number}-label.png"
        Image.fromarray(image.astype(np.uint8)).save(paths[0])
        Image.fromarray(label.astype(np.uint8)).save(paths[1])
        pairs.append(Pair(str(number), *paths))
    return pairs


def shrinking(architecture: TowerSpec) -> int:
    """Return by how much sides are divided so that a trace takes seconds: the grid becomes twelve places or so."""
    from repro.clip.models import describe_model

    vision = describe_model(dataclasses.replace(architecture, weights=None)).config["vision_cfg"]
    grid = architecture.resolution // _stride(vision)
    return next((f for f in range(grid // 12, 1, -1) if grid % f == 0 and architecture.resolution % f == 0), 1)


def _stride(vision: dict[str, Any]) -> int:
    """Return the pixels per place of the dense map, by the patch in the configuration or the name of timm's model."""
    name = str(vision.get("timm_model_name", ""))
    if _family(vision) in ("convnext", "resnet"):
        return 32
    named = next((s for s in (14, 16, 32) if f"patch{s}" in name), 8)
    return int(vision.get("patch_size", named if name else 16))


def _family(vision: dict[str, Any]) -> str | None:
    """Return the family of a model that has a stand-in; None for plain vision transformers and for what is unknown."""
    if isinstance(vision.get("layers"), (list, tuple)):  # one number a stage: CLIP's ResNets
        return "resnet"
    return next((f for f in _FAMILIES if f in str(vision.get("timm_model_name", ""))), None)


def small_tower(architecture: TowerSpec, folder: Path, shrink: int = 1) -> TowerSpec:
    """Return a narrow tower of the depth, embedding and read-out of ``architecture``, its configuration in ``folder``.

    Its grid is that of ``architecture`` over ``shrink``.

    Vision transformers keep all but widths; EVA, ConvNeXt and ResNet stand in at test size, with as many places.
    """
    config, resolution = small_config(architecture, shrink)
    write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": {}})
    return dataclasses.replace(architecture, model=str(folder), weights=None, resolution=resolution)


def small_config(architecture: TowerSpec, shrink: int = 1) -> tuple[dict[str, Any], int]:
    """Return the open_clip configuration and the resolution of :func:`small_tower`."""
    from repro.clip.models import describe_model
    from repro.clip.names import BUILT_IN

    config = copy.deepcopy(describe_model(dataclasses.replace(architecture, weights=None)).config)
    vision, name = config["vision_cfg"], str(config["vision_cfg"].get("timm_model_name", ""))
    family = _family(vision)
    resolution = architecture.resolution // shrink
    if family is not None:
        built_in, stride = _FAMILIES[family]
        resolution = resolution // _stride(vision) * stride
        config = {**copy.deepcopy(dict(BUILT_IN[built_in])), "embed_dim": config["embed_dim"]}
    elif not name:
        vision.update(width=min(WIDTH, vision["width"]), head_width=HEAD, mlp_ratio=2.0)
    text = config["text_cfg"]
    config["text_cfg"] = {**text, "width": TEXT_WIDTH, "heads": 2, "layers": min(2, text.get("layers", 2))}
    for key in ("hf_tokenizer_name", "tokenizer_kwargs"):
        config["text_cfg"].pop(key, None)
    return config, resolution


def built_tower(architecture: TowerSpec, folder: Path, shrink: int = 1) -> ClipTower:
    """Return :func:`small_tower`, built in float64 with weights that follow from their names."""
    from repro.clip.tower import build_tower

    tower = build_tower(small_tower(architecture, folder, shrink)).double()
    fill(tower, scale=1.0)
    if is_portable():
        _round_bands(tower)
    return tower


def _round_bands(tower: ClipTower) -> None:
    """Round the frequencies of rotary embeddings to five digits: timm computes them in float32, whatever the type."""
    import torch

    for name, bands in tower.named_buffers():
        if name.endswith(".bands"):
            bands.copy_(torch.tensor([float(f"{v:.5g}") for v in bands.tolist()]).view_as(bands))


def fill(module: nn.Module, scale: float) -> None:
    """Add to every parameter numbers that follow from its name, of the size of a trained one's times ``scale``.

    Nothing that is traced may rest on parameters that start at zero.
    """
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            size = scale / max(1.0, float(parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 8.0)
            noise = np.asarray(size * rng.standard_normal(tuple(parameter.shape)))
            parameter.add_(torch.from_numpy(noise).to(parameter.dtype))
