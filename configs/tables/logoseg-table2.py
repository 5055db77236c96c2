"""Table 2 of the LoGoSeg paper: object prior (OP), contextual cross-modal fusion (CCF), regional alignment (RA).

The tick marks of the first three rows are damaged in the source at hand; the text adds OP, CCF and RA in this order.
"""

name = "logoseg-table2"
title = "LoGoSeg, Table 2"
caption = "Components of LoGoSeg added in turn, trained on COCO-Stuff, mIoU (%)"
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 2")

rows = [
    dict(
        id="baseline",
        title="Baseline",
        method="logoseg",
        tower="base",
        options=dict(prior=0.0, depth=0, regional_alignment=False),
        published=dict(_published, row="1"),
    ),
    dict(
        id="op",
        title="+ OP",
        method="logoseg",
        tower="base",
        options=dict(depth=0, regional_alignment=False),
        published=dict(_published, row="2"),
    ),
    dict(
        id="op-ccf",
        title="+ CCF",
        method="logoseg",
        tower="base",
        options=dict(regional_alignment=False),
        published=dict(_published, row="3"),
    ),
    dict(
        id="full",
        title="+ RA (LoGoSeg)",
        method="logoseg",
        tower="base",
        published=dict(_published, row="4"),
    ),
]
