"""Table 7 of the DenseVLM paper: a segmentation method on CLIP as it is and on what DenseVLM made of it."""

name = "densevlm-table7"
title = "DenseVLM, Table 7"
caption = "DenseVLM as the backbone of segmentation methods, trained on COCO-Stuff, mIoU (%)"
benchmarks = ["A-150", "A-847", "PC-459"]
metric = "miou_gt"
remarks = [
    "The cls row reads the aligned CLIP out as CAT-Seg's released code does (the class token as residual of the last "
    "block), the others as it was aligned (each token's own); the paper does not say which it used. Rows of SAN and of "
    "methods that are not here are shown as published alone (--published all). Nobody has published DiSa + DenseVLM.",
]

_table7 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 7", vlm="ViT-B/16")
printed = dict(paper=_table7["paper"], table=_table7["table"])

rows = [
    dict(id="catseg", title="CAT-Seg", method="catseg", tower="base", published=dict(_table7, method="CAT-Seg")),
    dict(
        id="catseg-densevlm",
        title="CAT-Seg + DenseVLM",
        method="catseg",
        tower="densevlm-clip",
        select="catseg+densevlm",
        published=dict(_table7, method="CAT-Seg+DenseVLM"),
    ),
    dict(
        id="catseg-densevlm-cls",
        title="CAT-Seg + DenseVLM, cls residual",
        method="catseg",
        tower="densevlm-clip-cls",
        select="catseg+densevlm",
    ),
    dict(id="disa", title="DiSa", method="disa", tower="base"),
    dict(id="disa-densevlm", title="DiSa + DenseVLM", method="disa", tower="densevlm-clip", select="disa+densevlm"),
]
