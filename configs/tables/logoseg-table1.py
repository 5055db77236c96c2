"""Table 1 of the LoGoSeg paper: methods on the six benchmarks, trained on COCO-Stuff, on ViT and ConvNeXt."""

name = "logoseg-table1"
title = "LoGoSeg, Table 1"
caption = "Open-vocabulary segmentation, trained on COCO-Stuff, mIoU (%) on six benchmarks"
metric = "miou_gt"

printed = dict(paper="LoGoSeg (AAAI 2026)", table="Table 1")
_first_version = [
    "CAT-Seg's published row is that of its first arXiv version, with another vision backbone beside CLIP, as this "
    "paper quotes it; what is measured is the released version (published row in table1).",
]


def _row(_method, _title, _tower, **_more):
    return dict(id=f"{_method}-{_tower}", title=_title, method=_method, tower=_tower, **_more)


rows = [
    _row("clip", "CLIP (zero-shot, dense)", "base"),
    _row(
        "catseg",
        "CAT-Seg",
        "base",
        published=dict(printed, method="CAT-Seg", vlm="CLIP ViT-B/16"),
        remarks=_first_version,
    ),
    _row("logoseg", "LoGoSeg", "convnext-base", published=dict(printed, method="LoGoSeg", vlm="ConvNeXt-B")),
    _row("logoseg", "LoGoSeg", "base", published=dict(printed, method="LoGoSeg", vlm="CLIP ViT-B/16")),
    _row("clip", "CLIP (zero-shot, dense)", "large"),
    _row(
        "catseg",
        "CAT-Seg",
        "large",
        published=dict(printed, method="CAT-Seg", vlm="CLIP ViT-L/14"),
        remarks=_first_version,
    ),
    _row("logoseg", "LoGoSeg", "convnext-large", published=dict(printed, method="LoGoSeg", vlm="ConvNeXt-L")),
    _row("logoseg", "LoGoSeg", "large", published=dict(printed, method="LoGoSeg", vlm="CLIP ViT-L/14")),
]
