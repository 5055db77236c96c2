"""Table 4 of the LoGoSeg paper: strength lambda of the object prior and number of regions.

The paper's maps are 24 x 24; 4, 6 and 8 regions a side become 2, 4 and 8 of the miniature's 8 x 8.
"""

name = "logoseg-table4"
title = "LoGoSeg, Table 4"
caption = "Prior strength and regions of LoGoSeg, trained on COCO-Stuff, mIoU (%)"
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 4")
printed = _published

_own = {4: dict(mini=2, smoke=2), 6: dict(mini=4, smoke=3), 8: dict(mini=8, smoke=6)}
"""Regions a side on the maps of smaller profiles."""

rows = [
    dict(
        id=f"lambda-{_prior}-{_side}",
        title=f"lambda = {_prior}, {_side} x {_side} regions",
        method="logoseg",
        tower="base",
        options=dict(prior="learnable" if _prior == "adaptive" else float(_prior), regions=_side),
        published=dict(_published, row=f"lambda={_prior} {_side}x{_side}"),
        by_profile={
            _profile: dict(title=f"lambda = {_prior}, {_n} x {_n} regions", options=dict(regions=_n))
            for _profile, _n in _own[_side].items()
        },
    )
    for _prior, _side in ((0, 4), (0, 6), (0, 8), (0.5, 6), (0.5, 8), ("adaptive", 6), (1, 6))
]
