"""Table 3 of the LoGoSeg paper: language queries (LQ), global context (GC), directional attention (DA), depth."""

name = "logoseg-table3"
title = "LoGoSeg, Table 3"
caption = "Parts and depth of the fusion of LoGoSeg, trained on COCO-Stuff, mIoU (%)"
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 3")

rows = [
    dict(
        id="lq",
        title="LQ",
        method="logoseg",
        tower="base",
        options=dict(global_context=False, directional_attention=False),
        published=dict(_published, row="LQ"),
    ),
    dict(
        id="lq-gc",
        title="LQ + GC",
        method="logoseg",
        tower="base",
        options=dict(directional_attention=False),
        published=dict(_published, row="LQ+GC"),
    ),
    dict(
        id="lq-gc-da",
        title="LQ + GC + DA (LoGoSeg)",
        method="logoseg",
        tower="base",
        published=dict(_published, row="LQ+GC+DA"),
    ),
    dict(
        id="depth-1",
        title="Depth 1",
        method="logoseg",
        tower="base",
        options=dict(depth=1),
        published=dict(_published, row="depth=1"),
    ),
    dict(
        id="depth-2",
        title="Depth 2 (LoGoSeg)",
        method="logoseg",
        tower="base",
        published=dict(_published, row="depth=2"),
    ),
    dict(
        id="depth-3",
        title="Depth 3",
        method="logoseg",
        tower="base",
        options=dict(depth=3),
        published=dict(_published, row="depth=3"),
    ),
]
