"""Table 3 of the LoGoSeg paper: language queries (LQ), global context (GC), directional attention (DA), depth."""

name = "logoseg-table3"
title = "LoGoSeg, Table 3"
caption = "Parts and depth of the fusion of LoGoSeg, trained on COCO-Stuff, mIoU (%)"
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 3")
printed = _published
_variants = [
    ("lq", "LQ", "LQ", dict(global_context=False, directional_attention=False)),
    ("lq-gc", "LQ + GC", "LQ+GC", dict(directional_attention=False)),
    ("lq-gc-da", "LQ + GC + DA (LoGoSeg)", "LQ+GC+DA", dict()),
    ("depth-1", "Depth 1", "depth=1", dict(depth=1)),
    ("depth-2", "Depth 2 (LoGoSeg)", "depth=2", dict()),
    ("depth-3", "Depth 3", "depth=3", dict(depth=3)),
]

rows = [
    dict(
        id=_id,
        title=_title,
        method="logoseg",
        tower="base",
        options=_options,
        published=dict(_published, row=_row),
    )
    for _id, _title, _row, _options in _variants
]
