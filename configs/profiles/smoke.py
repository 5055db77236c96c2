"""Plumbing check: random tiny weights, a handful of generated images, seconds a cell. Its numbers mean nothing."""

_base_ = ["./mini.py"]

name = "smoke"
title = "plumbing check with random weights; its numbers mean nothing"
flag_implausible = False
tuned = ""
one_run_per_core = False
data = dict(_delete_=True, kind="synthetic", seed=0, sizes=dict(train=8, ade=2, context=2, voc=2))
_read_out = dict(model="", weights=None, resolution=48, last_block="full", dense_residual="token")
_alignment = dict(
    alignment="densevlm",
    base="base",
    powerful="powerful",
    image_size=48,
    templates=["{}"],
    threshold=0.0,
    accept_weak_teacher=True,  # both are random
    iterations=2,
    batch_size=2,
    lr=1e-4,
    warmup_iterations=1,
    workers=0,
)
towers = {
    "_delete_": True,
    "base": dict(
        kind="random",
        title="random tiny CLIP",
        spec=dict(model="tiny", weights=None, resolution=48, last_block="full", dense_residual="token"),
    ),
    "powerful": dict(
        kind="random",
        title="another random tiny CLIP",
        spec=dict(model="tiny", weights=None, resolution=48, dense_residual="token", seed=1),
    ),
    "powerful-small": dict(
        kind="random",
        title="a third random tiny CLIP",
        spec=dict(model="tiny", weights=None, resolution=48, dense_residual="token", seed=2),
    ),
    "densevlm": dict(kind="aligned", title="DenseVLM, random tiny CLIP", spec=_read_out, recipe=_alignment),
    "resnet-base": dict(
        kind="random",
        title="random tiny ResNet CLIP",
        spec=dict(model="tiny-resnet", weights=None, resolution=64, drop_remainder=True),  # regions are named at 48
    ),
    "densevlm-resnet": dict(
        kind="aligned",
        title="DenseVLM, random tiny ResNet CLIP",
        spec=dict(model="", weights=None, resolution=64, drop_remainder=True),
        recipe=dict(_alignment, base="resnet-base"),
    ),
    "densevlm-clip": dict(kind="aligned", title="DenseVLM, random tiny CLIP", spec=_read_out, recipe=_alignment),
    "densevlm-clip-cls": dict(
        kind="aligned",
        title="DenseVLM, random tiny CLIP, cls residual",
        spec=dict(model="", weights=None, resolution=48, dense_residual="cls"),
        recipe=_alignment,
    ),
}
regions = dict(image_size=48, templates=["{}"])
protocol = dict(short_side=80, max_long_side=320, canvas=80, window=48)
train = dict(
    iterations=4,
    batch_size=2,
    crop=48,
    short_side=48,
    classes_per_step=0,
    checkpoint_every=2,
    log_every=1,
    workers=0,
)
methods = dict(
    _delete_=True,
    catseg=dict(
        base=dict(
            hidden=16,
            heads=2,
            window=3,
            size_divisibility=1,
            appearance_guidance=16,
            text_guidance=16,
            decoder_dims=[16, 16],
            decoder_guidance=[16, 16],
            decoder_guidance_proj=[8, 8],
            guide_blocks=[0, 0],
        )
    ),
    logoseg=dict(
        base=dict(
            hidden=16,
            regions=3,
            heads=2,
            correlation=16,
            decoder_dims=[16, 16],
            decoder_guidance=[16, 16],
            decoder_guidance_proj=[8, 8],
            guide_blocks=[0, 0],
        )
    ),
    synseg=dict(base=dict(width=16, heads=2, mlp_width=32, film_hidden=16)),
    disa=dict(
        base=dict(
            hidden=16,
            heads=2,
            window=3,
            sdm_head_dim=16,
            k_policy="ratio",
            appearance_guidance=16,
            decoder_dims=[16, 16],
            decoder_guidance=[16, 16],
            decoder_guidance_proj=[8, 8],
            guide_blocks=[0, 0],
        )
    ),
)
cost = dict(_delete_=True)
controls = dict(images=2, steps=3)
zero_shot_bar = 0  # random weights know nothing
