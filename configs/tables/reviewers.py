"""Questions asked of DiSa: what picks the tokens and from where, how many, what matching learns from, the way branches
join, losses (and CAT-Seg's), prompts, what trains of CLIP."""

name = "reviewers"
title = "Reviewers' questions"
caption = "DiSa and CAT-Seg with one choice changed at a time, mIoU (%)"
metric = "miou_gt"
remarks = [
    "Nothing of this table is published. What the saliency step costs: repro run reviewers_cost.",
    "On a map of 24 x 24 a share of the tokens is the printed k; the miniature goes by the share in every row.",
    "Labels of another image: the matching loss cannot learn whether a class is there. With several processes they are "
    "of another image of the same process, so that each needs two images or more.",
    "By size of objects and by seen classes: repro run reviewers --measures size,seen.",
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
    "matching loss: none": dict(itm_weight=0.0),
    "matching loss: labels of another image": dict(itm_labels="shuffled"),
    "k = 192 of 576": dict(k=192),
    "k = 288 of 576": dict(k=288),
    "saliency: first layer": dict(saliency_layer=0),
    "saliency: second layer": dict(saliency_layer=1),
    "saliency: last layer": dict(saliency_layer=-1),
    "saliency of: the matched logit": dict(saliency_target="score"),
    "saliency of: the matching loss": dict(saliency_target="loss"),
    "selection: straight-through": dict(selection="straight_through"),
    "selection: soft": dict(selection="soft"),
    "branches share their weights": dict(share_branches=True),
    "aggregation: one pair of blocks": dict(aggregation_layers=1),
    "prompt: CAT-Seg's": dict(template="A photo of a {} in the scene"),
    "text of unit length": dict(text_scale="unit"),
    "loss: MCCL besides": dict(aux="mccl"),
}
_short = {"A photo of a {} in the scene": "catseg"}  # for the id of a row
_tokens = dict(mini=64, smoke=36)
# Profiles with a smaller map keep the same share of its tokens, and the title prints both.
_by_profile = {
    f"k = {_k} of 576": {
        _profile: dict(title=f"k = {round(_k * _n / 576)} of {_n} ({_k} of 576)") for _profile, _n in _tokens.items()
    }
    for _k in (192, 288)
}
# One pair is what the miniature has in every row.
_by_profile["aggregation: one pair of blocks"] = dict(
    mini=dict(title="aggregation: two pairs of blocks", options=dict(aggregation_layers=2))
)

rows = [
    dict(
        id="disa-"
        + ("".join(f"{_name}={_short.get(_value, _value)}" for _name, _value in _options.items()) or "printed"),
        title=_title,
        method="disa",
        tower="base",
        options=_options,
        by_profile=_by_profile.get(_title, {}),
    )
    for _title, _options in _variants.items()
] + [
    dict(id=f"catseg-{_id}", title=f"CAT-Seg, {_title}", method="catseg", tower="base", options=_options)
    for _id, _title, _options in (
        ("printed", "as released", dict()),
        ("seg_loss=ce", "loss: softmax cross-entropy", dict(seg_loss="ce")),
        ("text_guidance=0", "text guidance: none", dict(text_guidance=0)),
        ("aux=mccl", "loss: MCCL besides", dict(aux="mccl")),
    )
]
