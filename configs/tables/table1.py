"""Table 1 of the DiSa paper: every method on the six benchmarks, trained on COCO-Stuff."""

name = "table1"
title = "Table 1"
caption = "Open-vocabulary segmentation, trained on COCO-Stuff, mIoU (%) on six benchmarks"
benchmarks = ["A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"]
metric = "miou_gt"

_disa_table1 = dict(paper="DiSa (ICLR 2026 submission)", table="Table 1")
_logoseg_table1 = dict(paper="LoGoSeg (AAAI 2026)", table="Table 1", method="LoGoSeg")

rows = [
    dict(id="clip-base", title="CLIP (zero-shot, dense)", method="clip", tower="base"),
    dict(
        id="catseg-base",
        title="CAT-Seg",
        method="catseg",
        tower="base",
        published=dict(_disa_table1, method="CAT-Seg", vlm="CLIP ViT-B/16"),
    ),
    dict(
        id="logoseg-base",
        title="LoGoSeg",
        method="logoseg",
        tower="base",
        published=dict(_logoseg_table1, vlm="CLIP ViT-B/16"),
    ),
    dict(
        id="disa-base",
        title="DiSa",
        method="disa",
        tower="base",
        published=dict(_disa_table1, method="DiSa", vlm="CLIP ViT-B/16"),
    ),
    dict(id="clip-large", title="CLIP (zero-shot, dense)", method="clip", tower="large"),
    dict(
        id="catseg-large",
        title="CAT-Seg",
        method="catseg",
        tower="large",
        published=dict(_disa_table1, method="CAT-Seg", vlm="CLIP ViT-L/14"),
    ),
    dict(
        id="logoseg-large",
        title="LoGoSeg",
        method="logoseg",
        tower="large",
        published=dict(_logoseg_table1, vlm="CLIP ViT-L/14"),
    ),
    dict(
        id="disa-large",
        title="DiSa",
        method="disa",
        tower="large",
        published=dict(_disa_table1, method="DiSa", vlm="CLIP ViT-L/14"),
    ),
    dict(
        id="logoseg-convnext-base",
        title="LoGoSeg",
        method="logoseg",
        tower="convnext-base",
        published=dict(_logoseg_table1, vlm="ConvNeXt-B"),
    ),
    dict(
        id="logoseg-convnext-large",
        title="LoGoSeg",
        method="logoseg",
        tower="convnext-large",
        published=dict(_logoseg_table1, vlm="ConvNeXt-L"),
    ),
]
