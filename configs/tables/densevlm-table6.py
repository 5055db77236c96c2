"""Table 6 of the DenseVLM paper: the model that is trained, and what it was before."""

name = "densevlm-table6"
kind = "regions"
title = "DenseVLM, Table 6"
caption = "Alignment of several models with one powerful model, mean accuracy of regions, top-1 and top-5 (%)"
benchmarks = []
panoptic = ["coco-panoptic"]
metric = "top5"
remarks = [
    "RN50x4 is read out by the value path of its attention pool at each place, 16 x 16 places for 512 pixels, and all "
    "its four stages train with the options of the transformers: its own are not known. What is at hand of the table "
    "are the rows of the two ViT-B/16; further rows it may have are left out.",
]

_table6 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 6")
printed = _table6

rows = [
    dict(id="clip", title="CLIP", method="clip", tower="base"),
    dict(id="eva", title="EVA-CLIP", method="clip", tower="eva-base"),
    dict(
        id="densevlm",
        title="DenseVLM on EVA-CLIP",
        method="clip",
        tower="densevlm",
        published=dict(_table6, row="EVA-CLIP ViT-B/16"),
        by_profile={p: dict(title="DenseVLM", published={}) for p in ("mini", "smoke")},
    ),
    dict(id="openclip", title="OpenCLIP", method="clip", tower="openclip-base"),
    dict(
        id="densevlm-openclip",
        title="DenseVLM on OpenCLIP",
        method="clip",
        tower="densevlm-openclip",
        published=dict(_table6, row="OpenCLIP ViT-B/16"),
    ),
    dict(
        id="resnet",
        title="CLIP RN50x4",
        method="clip",
        tower="resnet-base",
        by_profile=dict(smoke=dict(title="CLIP's ResNet")),
    ),
    dict(
        id="densevlm-resnet",
        title="DenseVLM on CLIP RN50x4",
        method="clip",
        tower="densevlm-resnet",
        published=dict(_table6, row="CLIP RN50x4"),
        by_profile=dict(smoke=dict(title="DenseVLM on CLIP's ResNet", published={})),
    ),
]
