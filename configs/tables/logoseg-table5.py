"""Table 5 of the LoGoSeg paper, methods compared on one training set: the part trained on COCO-Stuff."""

name = "logoseg-table5"
title = "LoGoSeg, Table 5"
caption = "CAT-Seg and LoGoSeg, trained on COCO-Stuff, mIoU (%)"
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 5")
printed = _published

rows = [
    dict(
        id="catseg",
        title="CAT-Seg",
        method="catseg",
        tower="base",
        published=dict(_published, row="CAT-Seg trained on COCO-Stuff"),
    ),
    dict(
        id="logoseg",
        title="LoGoSeg",
        method="logoseg",
        tower="base",
        published=dict(_published, row="LoGoSeg trained on COCO-Stuff"),
    ),
]
