"""Questions asked of DiSa: what picks the tokens, how many, the way branches join, the loss (and CAT-Seg's), what
trains of CLIP."""

name = "reviewers"
title = "Reviewers' questions"
caption = "DiSa and CAT-Seg with one choice changed at a time, mIoU (%)"
benchmarks = ["A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"]
metric = "miou_gt"
remarks = [
    "Nothing of this table is published. What the saliency step costs: repro run reviewers_cost.",
    "On a map of 24 x 24 a share of the tokens is the printed k; the miniature goes by the share in every row.",
]

_variants = {
    "as printed": dict(),
    "saliency: attention only": dict(saliency="attention"),
    "saliency: CLIP correlation": dict(saliency="correlation"),
    "saliency: random": dict(saliency="random"),
    "saliency: none (no split)": dict(saliency="none"),
    "k: a share of the tokens": dict(k_policy="ratio"),
    "k: until half of the saliency": dict(k_policy="adaptive"),
    "aggregation: sum": dict(aggregation="sum"),
    "aggregation: concatenation": dict(aggregation="concat"),
    "aggregation: learned gate": dict(aggregation="learned"),
    "loss: binary cross-entropy": dict(seg_loss="bce"),
    "CLIP frozen": dict(clip_finetune="none"),
    "CLIP: query and value": dict(clip_finetune="qv"),
}

rows = [
    dict(
        id="disa-" + ("".join(f"{_name}={_value}" for _name, _value in _options.items()) or "printed"),
        title=_title,
        method="disa",
        tower="base",
        options=_options,
    )
    for _title, _options in _variants.items()
] + [
    dict(id="catseg-printed", title="CAT-Seg, as released", method="catseg", tower="base", options=dict()),
    dict(
        id="catseg-seg_loss=ce",
        title="CAT-Seg, loss: softmax cross-entropy",
        method="catseg",
        tower="base",
        options=dict(seg_loss="ce"),
    ),
]
