"""The embedded miniature: generated scenes, a tiny CLIP trained on the spot, a CPU; the paper's sizes over four."""

name = "mini"
title = "embedded miniature (generated scenes, tiny CLIP trained on the spot)"
comparable = False
data = dict(kind="synthetic", seed=0, sizes=dict(train=600, ade=48, context=48, voc=48))
towers = dict(
    base=dict(
        kind="tiny",
        title="tiny CLIP",
        spec=dict(model="", weights=None, resolution=96, last_block="full", dense_residual="token"),
    ),
)
protocol = dict(short_side=160, max_long_side=640, canvas=160, window=96, overlap=0.333)
train = dict(
    iterations=500,
    batch_size=4,
    lr=1e-3,
    weight_decay=1e-4,
    warmup_iterations=25,
    clip_grad_norm=1.0,
    short_side=96,
    crop=96,
    workers=0,
    checkpoint_every=100,
    log_every=20,
)
methods = dict()
seeds = [0]
cost = dict()
