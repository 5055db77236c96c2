"""Table 4 of the DenseVLM paper: the category sets regions are retrieved from."""

name = "densevlm-table4"
kind = "regions"
title = "DenseVLM, Table 4"
caption = "Category sets (things in brackets) of the alignment, mean accuracy, top-1 and top-5 (%)"
benchmarks = []
panoptic = ["coco-panoptic"]
metric = "top5"
remarks = ["The paper's two rows of NXTP names (210 and 794) are shown as published alone: the lists are not released."]

_table4 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 4")
printed = _table4
_sets = {
    "coco133": "annotation 133 (80 things)",
    "coco_stuff171": "annotation 171 (80)",
    "densevlm273": "annotation 273 (160)",
    "densevlm316": "annotation 316 (204)",
}

rows = [
    dict(id="clip", title="CLIP", method="clip", tower="base"),
    dict(id="eva", title="EVA-CLIP", method="clip", tower="eva-base"),
    *(
        dict(
            id=f"densevlm-{_set}",
            title=_row.removeprefix("annotation "),
            method="clip",
            tower="densevlm",
            alignment=dict(categories=_set),
            published=dict(_table4, row=_row),
        )
        for _set, _row in _sets.items()
    ),
]
