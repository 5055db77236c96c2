"""Table 1 of the DenseVLM paper: boxes and masks named by CLIP-like models, on COCO and ADE20K panoptic."""

name = "densevlm-table1"
kind = "regions"
title = "DenseVLM, Table 1"
caption = "Mean accuracy of regions of the dense map, top-1 and top-5 (%)"
benchmarks = []
panoptic = ["coco-panoptic", "ade-panoptic"]
metric = "top5"
remarks = ["Published values of DenseVLM are those with the 273 names, as is its row here; the others use 316."]

_table1 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 1")
printed = _table1

rows = [
    dict(id="clip", title="CLIP", method="clip", tower="base"),
    dict(
        id="openclip",
        title="OpenCLIP",
        method="clip",
        tower="openclip-base",
        published=dict(_table1, method="OpenCLIP"),
    ),
    dict(id="eva", title="EVA-CLIP", method="clip", tower="eva-base", published=dict(_table1, method="EVA-CLIP")),
    dict(
        id="clipself",
        title="CLIPSelf",
        method="clip",
        tower="powerful-small",
        published=dict(_table1, method="CLIPSelf"),
        by_profile={
            "mini": dict(title="a weaker powerful model", published={}),
            "smoke": dict(title="CLIP of another seed", published={}),
        },
    ),
    dict(id="powerful", title="the powerful model", method="clip", tower="powerful"),
    dict(
        id="densevlm",
        title="DenseVLM",
        method="clip",
        tower="densevlm",
        alignment=dict(categories="densevlm273"),
        published=dict(_table1, method="DenseVLM"),
    ),
]
