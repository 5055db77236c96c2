"""Table 2 of the LoGoSeg paper: object prior (OP), contextual cross-modal fusion (CCF), regional alignment (RA).

The tick marks of the first three rows are damaged in the source at hand; the text adds OP, CCF and RA in this order.
"""

name = "logoseg-table2"
title = "LoGoSeg, Table 2"
caption = "Components of LoGoSeg added in turn, trained on COCO-Stuff, mIoU (%)"
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 2")
printed = _published
_variants = {
    "baseline": ("Baseline", dict(prior=0.0, depth=0, regional_alignment=False)),
    "op": ("+ OP", dict(depth=0, regional_alignment=False)),
    "op-ccf": ("+ CCF", dict(regional_alignment=False)),
    "full": ("+ RA (LoGoSeg)", dict()),
}
_remarks = {
    "op": [
        "Queries come from the pooled text, so that the object prior acts through the regional alignment alone "
        "(Eq. 6): + OP without it is the baseline (docs/reconstruction.md)."
    ]
}

rows = [
    dict(
        id=_id,
        title=_title,
        method="logoseg",
        tower="base",
        options=_options,
        published=dict(_published, row=str(_number)),
        remarks=_remarks.get(_id, ()),
    )
    for _number, (_id, (_title, _options)) in enumerate(_variants.items(), start=1)
]
