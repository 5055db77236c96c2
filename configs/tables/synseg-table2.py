"""Table II of the SynSeg paper: SynSeg beside the methods that are here, on its six benchmarks."""

name = "synseg-table2"
title = "SynSeg, Table II"
caption = "SynSeg, learned from image labels, beside methods that learn from masks or nothing, mIoU (%)"
benchmarks = ["PAS-20b", "PC-59", "COCO-Object", "COCO-Stuff-val", "Cityscapes", "A-150"]
metric = "miou_gt"
any_method = True
remarks = [
    "CAT-Seg, LoGoSeg and DiSa learn from the masks of COCO-Stuff, whose 171 classes are those of COCO-Stuff-val and "
    "among those of COCO-Object: there they know the classes. The published methods learn from captions.",
    "Published numbers are means of five runs; the profile synseg trains five seeds.",
]

_table2 = dict(
    paper="SynSeg (arXiv 2508.06115v3)",
    table="Table II",
    benchmarks={
        "PAS-20b": "VOC",
        "PC-59": "Context",
        "COCO-Object": "Object",
        "COCO-Stuff-val": "Stuff",
        "Cityscapes": "City",
        "A-150": "ADE",
    },
)
printed = _table2

rows = [
    dict(id="clip-base", title="CLIP (zero-shot, dense)", method="clip", tower="base"),
    dict(id="catseg-base", title="CAT-Seg", method="catseg", tower="base"),
    dict(id="logoseg-base", title="LoGoSeg", method="logoseg", tower="base"),
    dict(id="disa-base", title="DiSa", method="disa", tower="base"),
    dict(
        id="synseg-base",
        title="SynSeg-style MCCL",
        method="synseg",
        tower="base",
        published=dict(_table2, row="SynSeg"),
        remarks=[
            "SynSeg-style MCCL is trained on image labels of COCO-Stuff unless the training set is a set of captions "
            "(docs/captions.md); it finds the background of PAS-20b and COCO-Object by a threshold.",
        ],
    ),
]
