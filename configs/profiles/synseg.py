"""SynSeg's own recipe as printed, on the image labels of COCO-Stuff in place of the nouns of CC12M's captions.

Its five views, four quarters that do not overlap and the whole image, are the harness's sliding window at overlap 0.
"""

_base_ = ["./paper.py"]

name = "synseg"
title = "SynSeg's printed recipe and views, on COCO-Stuff"
comparable = False
towers = dict(
    _delete_=True,
    base=dict(
        kind="open_clip",
        title="CLIP ViT-B/16",
        spec=dict(model="ViT-B-16-quickgelu", weights="openai", resolution=224),
    ),
)
protocol = dict(short_side=448, max_long_side=1792, canvas=448, window=224, overlap=0.0)
# The learning rate is lost in the source at hand; weight decay, warm-up and clipping are not printed.
train = dict(iterations=10_000, batch_size=256, lr=1e-4, short_side=224, crop=224)
train_overrides = dict(_delete_=True)
tuned = "as printed where the paper prints it; nothing was searched"
seeds = [0, 1, 2, 3, 4]  # numbers are printed as means of five runs
