"""Table 3 of the DenseVLM paper: which categories regions of things (P-Thing) and of stuff are compared over."""

name = "densevlm-table3"
kind = "regions"
title = "DenseVLM, Table 3"
caption = "Decoupled alignment: categories (T: things, S: stuff) of thing and stuff regions, mean top-1 accuracy (%)"
benchmarks = []
panoptic = ["coco-panoptic"]
metric = "top1"

_table3 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 3")
printed = _table3
_variants = {
    "P-Thing vs T+S; P-Stuff vs T+S": dict(thing_classes="all"),
    "P-Thing vs T; P-Stuff vs S": dict(stuff_classes="stuff"),
    "P-Thing vs T+S; P-Stuff vs S": dict(thing_classes="all", stuff_classes="stuff"),
    "P-Thing vs T; P-Stuff vs T+S (DenseVLM)": dict(),
}

rows = [
    dict(id="clip", title="CLIP", method="clip", tower="base"),
    dict(id="eva", title="EVA-CLIP", method="clip", tower="eva-base"),
    *(
        dict(
            id="densevlm" + "".join(f"-{_key}={_value}" for _key, _value in _options.items()),
            title=_title,
            method="clip",
            tower="densevlm",
            alignment=_options,
            published=dict(_table3, row=_title),
        )
        for _title, _options in _variants.items()
    ),
]
