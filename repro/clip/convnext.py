"""Dense features of open_clip's ConvNeXt towers as CLIPSelf, FC-CLIP and SED use them.

Its "blocks" are the four stages, with outputs at strides 4, 8, 16 and 32 and channels of their own. There is no
attention to split: the names that may train end with, for instance, ``conv_dw.weight`` or ``mlp.fc1.weight``. In
training mode open_clip's models drop residual paths at random (rate 0.1), here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from repro.clip.backbone import Backbone, DenseFeatures, DenseOptions, unsupported


def convnext_backbone(visual: Any, name: str) -> Backbone:
    """Return an open_clip ``TimmModel`` around timm's ``ConvNeXt`` as a backbone.

    Raises UsageError where features are pooled by attention or normalised before they are pooled.
    """
    from timm.layers import NormMlpClassifierHead

    trunk = visual.trunk
    if not isinstance(trunk.head, NormMlpClassifierHead) or trunk.head.use_conv:
        raise unsupported(name, f"ConvNeXt with a {type(trunk.head).__name__}")
    if hasattr(visual.head, "pool"):
        raise unsupported(name, "ConvNeXt with attention pooling")
    linear = [m for part in (trunk.head, visual.head) for m in part.modules() if isinstance(m, nn.Linear)]
    return Backbone(
        blocks=trunk.stages,
        channels=tuple(stage["num_chs"] for stage in trunk.feature_info),
        strides=tuple(stage["reduction"] for stage in trunk.feature_info),
        embed_dim=linear[-1].out_features if linear else trunk.num_features,
        residual=None,
        features=dense_features,
    )


def dense_features(visual: Any, images: Tensor, guides: Sequence[int], options: DenseOptions) -> DenseFeatures:
    """Compute dense features of normalised ``images`` (B, 3, H, W): map (B, C, H / 32, W / 32).

    Each place of the last stage's map takes the way the pooled vector was trained to take: the head's LayerNorm over
    channels, then open_clip's projection. On a map of one place that is the model's own image feature; on larger ones
    it is not linear in the pooling, so that the mean of the map is not. ``guides`` are indices of stages (0 to 3) whose
    outputs (B, channels, H / stride, W / stride) are returned, before the head. ``options`` concern transformers.
    """
    trunk = visual.trunk
    x = trunk.stem(images)
    outputs: dict[int, Tensor] = {}
    for index, stage in enumerate(trunk.stages):
        x = stage(x)
        if index in guides:
            outputs[index] = x
    head = trunk.head
    x = head.norm(trunk.norm_pre(x)).permute(0, 2, 3, 1)
    x = visual.head(head.fc(head.drop(head.pre_logits(x))))
    return DenseFeatures(x.permute(0, 3, 1, 2), tuple(outputs[i] for i in guides))
