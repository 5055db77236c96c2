"""Table 1 of the DiSa paper: every method on the six benchmarks, trained on COCO-Stuff."""

name = "table1"
title = "Table 1"
caption = "Open-vocabulary segmentation, trained on COCO-Stuff, mIoU (%) on six benchmarks"
metric = "miou_gt"
any_method = True

_mccl = [
    "SynSeg-style MCCL sees the same crops as the others but of their masks the set of classes only, and finds the "
    "background of PAS-20b by a threshold. SynSeg published numbers for training on CC12M, from CLIPSeg's decoder "
    "and with views of its own; here the decoder starts at random unless decoder_weights names a file.",
]

_disa_table1 = dict(paper="DiSa (ICLR 2026 submission)", table="Table 1")
# VOC with a background and Context with 59 classes, as the methods it compares with.
_synseg_table2 = dict(
    paper="SynSeg (arXiv 2508.06115v3)",
    table="Table II",
    method="SynSeg",
    vlm="CLIP ViT-B/16",
    benchmarks={"A-150": "ADE", "PC-59": "Context", "PAS-20b": "VOC"},
)
_densevlm_table7 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 7", vlm="ViT-B/16")
printed = _disa_table1
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
        id="synseg-base",
        title="SynSeg-style MCCL",
        method="synseg",
        tower="base",
        published=_synseg_table2,
        remarks=_mccl,
    ),
    dict(
        id="disa-base",
        title="DiSa",
        method="disa",
        tower="base",
        published=dict(_disa_table1, method="DiSa", vlm="CLIP ViT-B/16"),
    ),
    # Chosen by --methods under names of their own: `--methods catseg` is CAT-Seg as published.
    dict(
        id="catseg-densevlm",
        title="CAT-Seg + DenseVLM",
        method="catseg",
        tower="densevlm-clip",
        select="catseg+densevlm",
        published=dict(_densevlm_table7, method="CAT-Seg+DenseVLM"),
    ),
    dict(id="disa-densevlm", title="DiSa + DenseVLM", method="disa", tower="densevlm-clip", select="disa+densevlm"),
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
    dict(id="synseg-large", title="SynSeg-style MCCL", method="synseg", tower="large", remarks=_mccl),
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
