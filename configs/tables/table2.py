"""Table 2 of the DiSa paper: parameters, multiply-adds and seconds of one inference, for both CLIP sizes."""

name = "table2"
kind = "cost"
title = "Table 2"
caption = "Parameters, multiply-adds, time and memory of one sliding-window inference with 150 classes"
benchmarks = ["A-150"]
metric = "gflops"
remarks = [
    "The paper's caption says CLIP ViT-B/16; its parameters and GFLOPs are those of ViT-L/14@336, and stand beside "
    "that tower here. The rows of ViT-B/16 are its true ones and have no published counterpart.",
]

_table2 = dict(paper="DiSa (ICLR 2026 submission)", table="Table 2")
printed = _table2

rows = [
    dict(id="catseg-base", title="CAT-Seg", method="catseg", tower="base"),
    dict(id="disa-base", title="DiSa", method="disa", tower="base"),
    dict(
        id="catseg-large",
        title="CAT-Seg",
        method="catseg",
        tower="large",
        published=dict(_table2, row="CAT-Seg"),
    ),
    dict(id="disa-large", title="DiSa", method="disa", tower="large", published=dict(_table2, row="DiSa")),
]
