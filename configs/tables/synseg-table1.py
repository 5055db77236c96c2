"""Table I of the SynSeg paper: parameters, latency of one image and images per second."""

name = "synseg-table1"
kind = "cost"
title = "SynSeg, Table I"
caption = "Parameters, time of one image and images per second, with the classes of PASCAL VOC"
benchmarks = ["PAS-20"]
metric = "seconds"
any_method = True
remarks = [
    "Published on an RTX 4090; precision and number of classes are not stated. Its five views are those of the "
    "profile synseg.",
]

_table1 = dict(paper="SynSeg (arXiv 2508.06115v3)", table="Table I")
printed = _table1

rows = [
    dict(
        id="synseg-base",
        title="SynSeg-style MCCL",
        method="synseg",
        tower="base",
        published=dict(_table1, row="SynSeg"),
    ),
]
