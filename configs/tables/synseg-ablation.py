"""Table III of the SynSeg paper: all four MCCL losses, and each one removed in turn.

The marks of its rows are lost in the source at hand; the order is that of the same table in version 2 of the paper.
"""

name = "synseg-ablation"
title = "SynSeg, Table III"
caption = "SynSeg with each of its losses removed, trained on the image labels of COCO-Stuff, mIoU (%)"
benchmarks = ["PAS-20b", "PC-59"]
metric = "miou_gt"
remarks = [
    "Published for VOC with a background and Context with 59 classes after training on CC12M; its third column, "
    "Cityscapes, is no benchmark here.",
]

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
        published=dict(
            paper="SynSeg (arXiv 2508.06115v3)",
            table="Table III",
            row=_published,
            benchmarks={"PAS-20b": "VOC", "PC-59": "Context"},
        ),
    )
    for _id, (_title, _published, _options) in _rows.items()
]
