"""The embedded miniature: generated scenes, a tiny CLIP, a CPU; the paper's sizes over six."""

name = "mini"
title = "embedded miniature (generated scenes, tiny CLIP)"
comparable = False
data = dict(kind="synthetic", seed=0, sizes=dict(train=1500, ade=96, context=144, voc=240))
# Of the three read-outs of the dense last block this one carries most (scores.json of the tower).
_read_out = dict(model="", weights=None, resolution=64, last_block="value", dense_residual="token")
_alignment = dict(
    alignment="densevlm",
    base="base",
    powerful="powerful",
    image_size=128,
    temperature="tower",  # the tiny CLIP's own is about 1/16: at the paper's 1/100 every region passes the threshold
    iterations=600,
    batch_size=8,
    lr=3e-4,
    warmup_iterations=30,
    workers=0,
    checkpoint_every=100,
)
# Parts of pictures first, four times the pairs for the time; then whole views. Some of the captions there list all that
# is there: every patch is one of their words. The others name things, as people do: that is where the foreground bias
# comes from. (A quarter of them with weight 0.7: 74.9 % of patches named, but a bias of 1.1 only; none: 48.7 %, 9.2.)
_parts = dict(steps=1840, batch=128, side=32, crops_first=1.0, crops_last=0.8, crop_scale=[0.6, 1.3])
_views = dict(
    steps=2200,
    batch=64,
    side=64,
    crops_first=0.75,
    crops_last=0.75,
    crop_scale=[0.5, 1.1],
    grain=[0.8, 2.2],
    listed=0.15,
    patch_weight=0.15,
    word_weight=1.0,
    list_weight=0.5,
)
# A strong dense model was told of regions: what each thing, its box and each stretch of stuff is, on scenes of its own,
# at last at the size at which regions are named.
_regions = dict(patch_weight=0.0, word_weight=0.0, list_weight=0.0, region_weight=1.0, listed=0.5)
_large = dict(steps=600, batch=16, side=128, crops_first=0.5, crops_last=0.3, windows=2, zoom=[0.55, 1.0], **_regions)
_told_parts = {**_parts, **_regions, "steps": 800}
_told_views = {**_views, **_regions, "steps": 800, "crops_last": 0.3}
towers = {
    "base": dict(kind="tiny", title="tiny CLIP", spec=_read_out, recipe=dict(phases=[_parts, _views], threads=1)),
    "powerful": dict(
        kind="tiny",
        title="tiny CLIP, trained on regions",
        spec=_read_out,
        recipe=dict(seed=1, phases=[_told_parts, _told_views, _large], threads=1),
    ),
    # All towers have one size: a weaker teacher is one that was trained for half the steps.
    "powerful-small": dict(
        kind="tiny",
        title="tiny CLIP, half as long on regions",
        spec=_read_out,
        recipe=dict(
            seed=1,
            phases=[{**_told_parts, "steps": 400}, {**_told_views, "steps": 400}, {**_large, "steps": 300}],
            threads=1,
        ),
    ),
    "densevlm": dict(kind="aligned", title="DenseVLM, tiny CLIP", spec=_read_out, recipe=_alignment),
    # Under a segmentation method: the residual the alignment trained with, or that of CAT-Seg's code.
    "densevlm-clip": dict(kind="aligned", title="DenseVLM, tiny CLIP", spec=_read_out, recipe=_alignment),
    "densevlm-clip-cls": dict(
        kind="aligned",
        title="DenseVLM, tiny CLIP, cls residual",
        spec=dict(model="", weights=None, resolution=64, last_block="value", dense_residual="cls"),
        recipe=_alignment,
    ),
}
regions = dict(image_size=128)
protocol = dict(short_side=106, max_long_side=424, canvas=106, window=64, overlap=0.333)
train = dict(
    # A thousand steps and the mean of the second half: all rows of Table 1 in a quarter of an hour, with less noise.
    iterations=1000,
    average_from=0.5,
    batch_size=4,
    lr=4e-3,
    weight_decay=1e-4,
    warmup_iterations=10,
    clip_grad_norm=1.0,
    short_side=64,
    crop=64,
    # The published loss is over all 171 classes; a part of them makes four times as many steps affordable.
    classes_per_step=40,
    workers=0,
    checkpoint_every=100,
    log_every=20,
)
# Chosen by repro tune (results/measured/mini/tuning.csv): nothing was better than what was there but for LoGoSeg.
train_overrides = dict(disa=dict(lr=2e-3), logoseg=dict(lr=3.26e-3, weight_decay=5.08e-3), synseg=dict(lr=5e-4))
tuned = (
    "learning rate, weight decay and weights of losses chosen by repro tune, 8 trials a method on 100 held-out "
    "training scenes (results/measured/mini/tuning.csv)"
)
methods = dict(
    catseg=dict(
        base=dict(
            hidden=32,
            layers=1,
            heads=1,
            mlp_ratio=2,
            window=4,
            appearance_guidance=32,
            text_guidance=32,
            decoder_dims=[16],
            decoder_guidance=[32],
            decoder_guidance_proj=[8],
            clip_lr_factor=0.02,
        )
    ),
    logoseg=dict(
        base=dict(
            negative_prior="zero",  # the tiny CLIP's cosines lie around zero, OpenAI's are positive
            hidden=32,
            regions=4,
            heads=1,
            mlp_ratio=2,
            adapter_ratio=1,
            correlation=32,
            decoder_dims=[16],
            decoder_guidance=[32],
            decoder_guidance_proj=[8],
            clip_lr_factor=0.02,
        )
    ),
    synseg=dict(base=dict(width=32, heads=2, mlp_width=64, film_hidden=32)),
    disa=dict(
        base=dict(
            hidden=32,
            aggregation_layers=1,
            heads=1,
            mlp_ratio=2,
            window=4,
            sdm_head_dim=32,
            k_policy="ratio",  # the share 96 of 576: 11 of 64 tokens
            appearance_guidance=32,
            decoder_dims=[16],
            decoder_guidance=[32],
            decoder_guidance_proj=[8],
            clip_lr_factor=0.02,
        )
    ),
)
seeds = [0]
one_run_per_core = True
# Measured 2026-11-29, one core a run beside another; for the estimates of --dry-run, and the longest runs start first.
cost = dict(
    hardware="one core of an AMD EPYC",
    data_s=10,
    tower_s=1300,
    train_s_per_iteration=dict(catseg=0.1, logoseg=0.075, synseg=0.04, disa=0.15),
    eval_s=dict(
        clip={"A-847": 4, "PC-459": 4.5, "A-150": 2, "PC-59": 3, "PAS-20": 4, "PAS-20b": 3},
        catseg={"A-847": 23, "PC-459": 33, "A-150": 13, "PC-59": 9, "PAS-20": 8, "PAS-20b": 15},
        logoseg={"A-847": 26, "PC-459": 21, "A-150": 6, "PC-59": 6, "PAS-20": 7, "PAS-20b": 9},
        synseg={"A-847": 71, "PC-459": 54, "A-150": 13, "PC-59": 9, "PAS-20": 6, "PAS-20b": 7},
        disa={"A-847": 106, "PC-459": 84, "A-150": 20, "PC-59": 15, "PAS-20": 14, "PAS-20b": 25},
    ),
)
