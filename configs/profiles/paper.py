"""The printed recipe: real data, OpenAI CLIP, 80,000 iterations, GPUs."""

name = "paper"
title = "the papers' recipe on the real data"
comparable = True
data = dict(kind="external")
towers = dict(
    base=dict(
        kind="open_clip",
        title="CLIP ViT-B/16",
        spec=dict(model="ViT-B-16-quickgelu", weights="openai", resolution=384),
    ),
    large=dict(
        kind="open_clip",
        title="CLIP ViT-L/14@336",
        spec=dict(model="ViT-L-14-336-quickgelu", weights="openai", resolution=336),
    ),
    # ConvNeXt's total stride is 32: 768 pixels give the 24 x 24 map of the other towers.
    **{
        "convnext-base": dict(
            kind="open_clip",
            title="CLIP ConvNeXt-B",
            spec=dict(model="convnext_base_w_320", weights="laion_aesthetic_s13b_b82k_augreg", resolution=768),
        ),
        "convnext-large": dict(
            kind="open_clip",
            title="CLIP ConvNeXt-L",
            spec=dict(model="convnext_large_d_320", weights="laion2b_s29b_b131k_ft_soup", resolution=768),
        ),
    },
)
protocol = dict(short_side=640, max_long_side=2560, canvas=640, window=384, overlap=0.333)
train = dict(
    iterations=80_000,
    batch_size=4,
    lr=2e-4,
    weight_decay=1e-4,
    warmup_iterations=0,
    clip_grad_norm=0.01,
    short_side=384,
    crop=384,
)
train_overrides = dict(disa=dict(batch_size=2), synseg=dict(lr=1e-4))  # SynSeg's printed rate is lost
seeds = [0]
