"""What DiSa's saliency step costs: the same inference with other ways to pick the tokens."""

name = "reviewers_cost"
kind = "cost"
title = "Cost of the saliency step"
caption = "Parameters, multiply-adds, time and memory of one inference of DiSa by the source of its saliency"
benchmarks = ["A-150"]
metric = "gflops"
remarks = ["The JSON output divides the GFLOPs of each row by the parts of the method (gflops_by_part)."]

rows = [
    dict(id=f"disa-{_source}-{_tower}", title=_title, method="disa", tower=_tower, options=dict(saliency=_source))
    for _tower in ("base", "large")
    for _source, _title in dict(
        gradcam="gradient-weighted attention",
        attention="attention only",
        correlation="CLIP correlation",
        random="random",
        none="none (no split)",
    ).items()
]
