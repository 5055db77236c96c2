"""Table 4 of the DiSa paper: how many tokens of a class are foreground."""

name = "table4"
title = "Table 4"
caption = "Number k of salient tokens of a class that are taken for its foreground, mIoU (%)"
metric = "miou_gt"
layout = "columns"
remarks = ["The paper prints its last row as (IV)."]

_table4 = dict(paper="DiSa (ICLR 2026 submission)", table="Table 4")

# Profiles with a smaller map keep the same share of its tokens (k_policy="ratio" there); the title prints both.
rows = [
    dict(
        id=f"disa-k{_k}",
        title=f"({_number}) k = {_k} of 576",
        method="disa",
        tower="base",
        options=dict(k=_k),
        published=dict(_table4, row=_number),
        by_profile={
            _profile: dict(title=f"({_number}) k = {round(_k * _tokens / 576)} of {_tokens} (paper: {_k} of 576)")
            for _profile, _tokens in dict(mini=64, smoke=36).items()
        },
    )
    for _number, _k in dict(I=16, II=48, III=96).items()
]
