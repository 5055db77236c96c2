"""Dense features of CLIP's ResNets (RN50, RN50x4, ..) as RegionCLIP, CLIPSelf and MaskCLIP use them.

Its "blocks" are the four stages, with outputs at strides 4, 8, 16 and 32. Batch normalisation stays as it was trained
while the tower is in evaluation mode, which is how it is built and aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from repro.clip.backbone import Backbone, DenseFeatures, DenseOptions

STRIDES = (4, 8, 16, 32)


def resnet_backbone(visual: Any) -> Backbone:
    """Return an open_clip ``ModifiedResNet`` as a backbone."""
    stages = _stages(visual)
    return Backbone(
        blocks=stages,
        channels=tuple(stage[-1].conv3.out_channels for stage in stages),
        strides=STRIDES,
        embed_dim=visual.attnpool.c_proj.out_features,
        residual=None,
        features=dense_features,
    )


def dense_features(visual: Any, images: Tensor, guides: Sequence[int], options: DenseOptions) -> DenseFeatures:
    """Compute dense features of normalised ``images`` (B, 3, H, W): map (B, C, H / 32, W / 32).

    The attention pool's value path on each place of the last stage: value and output projection, without query, key,
    mean token and positional embedding (docs/specs/densevlm.md, section 1). On a map of one place it is what the pool
    gives without its positional embedding. ``guides`` are indices of stages (0 to 3) whose outputs (B, channels,
    H / stride, W / stride) are returned. ``options`` concern transformers.
    """
    x = visual.stem(images)
    outputs: dict[int, Tensor] = {}
    for index, stage in enumerate(_stages(visual)):
        x = stage(x)
        if index in guides:
            outputs[index] = x
    pool = visual.attnpool
    x = pool.c_proj(pool.v_proj(x.permute(0, 2, 3, 1)))
    return DenseFeatures(x.permute(0, 3, 1, 2), tuple(outputs[i] for i in guides))


def _stages(visual: Any) -> tuple[Any, ...]:
    return visual.layer1, visual.layer2, visual.layer3, visual.layer4
