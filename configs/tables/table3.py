"""Table 3 of the DiSa paper: what each part of the method is worth, on CLIP ViT-B/16."""

name = "table3"
title = "Table 3"
caption = "Ablation of DiSa's disentangling (SDM) and refinement (HRM), mIoU (%)"
metric = "miou_gt"
layout = "columns"

_table3 = dict(paper="DiSa (ICLR 2026 submission)", table="Table 3")
_no_hrm = dict(pixel=False, category=False, semantic=False)
_variants = [
    ("I", "w/o SDM", dict(split="none")),
    ("II", "token-level disentanglement", dict(split="token_level")),
    ("III", "class-level disentanglement", dict(split="class_level")),
    ("IV", "w/o HRM", _no_hrm),
    ("V", "(IV) + pixel", dict(_no_hrm, pixel=True)),
    ("VI", "(IV) + category", dict(_no_hrm, category=True)),
    ("VII", "(V) + category", dict(semantic=False)),
    ("VIII", "DiSa", dict()),
]

rows = [
    dict(
        id=f"disa-{_number}",
        title=f"({_number}) {_title}",
        method="disa",
        tower="base",
        options=_options,
        published=dict(_table3, row=_number),
    )
    for _number, _title, _options in _variants
]
