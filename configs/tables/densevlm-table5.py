"""Table 5 of the DenseVLM paper: how powerful the frozen model is."""

name = "densevlm-table5"
kind = "regions"
title = "DenseVLM, Table 5"
caption = "The powerful model of the alignment, mean accuracy, top-1 and top-5 (%)"
benchmarks = []
panoptic = ["coco-panoptic"]
metric = "top5"

_table5 = dict(paper="DenseVLM (arXiv 2412.06244)", table="Table 5")
printed = _table5

rows = [
    dict(id="clip", title="CLIP", method="clip", tower="base"),
    dict(id="eva", title="EVA-CLIP", method="clip", tower="eva-base"),
    dict(
        id="small",
        title="P-VLM ViT-B/16",
        method="clip",
        tower="densevlm",
        # How much a weak one is worth is what the table asks: it is not refused.
        alignment=dict(powerful="powerful-small", accept_weak_teacher=True),
        published=dict(_table5, row="P-VLM ViT-B/16"),
        by_profile={
            "mini": dict(title="P-VLM trained for half the steps"),
            "smoke": dict(title="P-VLM of the same size"),
        },
    ),
    dict(
        id="large",
        title="P-VLM ViT-L/14",
        method="clip",
        tower="densevlm",
        alignment=dict(powerful="powerful"),
        published=dict(_table5, row="P-VLM ViT-L/14"),
        by_profile={"mini": dict(title="P-VLM"), "smoke": dict(title="another P-VLM")},
    ),
]
