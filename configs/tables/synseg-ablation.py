"""Table III of the SynSeg paper: all four MCCL losses, and each one removed in turn.

The marks of its rows are lost in the source at hand; the order is that of the same table in version 2 of the paper.
"""

name = "synseg-ablation"
title = "SynSeg, Table III"
caption = "SynSeg with each of its losses removed, trained on the image labels of COCO-Stuff, mIoU (%)"
benchmarks = ["PAS-20b", "PC-59", "Cityscapes"]
metric = "miou_gt"
remarks = [
    "Published for VOC with a background, Context with 59 classes and Cityscapes after training on CC12M, as means of "
    "five runs; the profile synseg trains five seeds.",
]

_table3 = dict(
    paper="SynSeg (arXiv 2508.06115v3)",
    table="Table III",
    benchmarks={"PAS-20b": "VOC", "PC-59": "Context", "Cityscapes": "City"},
)
printed = _table3

_rows = {
    "all": ("all four losses", "all four losses", dict()),
    "without-sep": ("without separation", "ablation row 2", dict(sep_weight=0.0)),
    "without-back": ("without background alignment", "ablation row 3", dict(back_weight=0.0)),
    "without-cont": ("without foreground-background contrast", "ablation row 4", dict(cont_weight=0.0)),
    "without-align": ("without text alignment", "ablation row 5", dict(align_weight=0.0)),
}

rows = [
    dict(
        id=_id,
        title=_title,
        method="synseg",
        tower="base",
        options=_options,
        published=dict(_table3, row=_published),
    )
    for _id, (_title, _published, _options) in _rows.items()
]
