"""Controls: does each method work at all? The same four for every method; see docs/controls.md."""

name = "controls"
kind = "controls"
title = "Controls"
caption = "Signs by which a method that works is told from one that only runs"
seen = ["PC-59", "PAS-20"]
metric = "miou_gt"

rows = [
    dict(id="clip", title="CLIP (zero-shot, dense)", method="clip", tower="base"),
    dict(id="catseg", title="CAT-Seg", method="catseg", tower="base"),
    dict(id="logoseg", title="LoGoSeg", method="logoseg", tower="base"),
    dict(id="synseg", title="SynSeg-style MCCL", method="synseg", tower="base"),
    dict(id="disa", title="DiSa", method="disa", tower="base"),
    dict(id="densevlm", title="CLIP + DenseVLM", method="clip", tower="densevlm"),
]
