"""Figure 6 of the DenseVLM paper: accuracy of regions against the number of images that are aligned on."""

name = "densevlm-figure6"
kind = "regions"
title = "DenseVLM, Figure 6"
caption = "Alignment on a share of the training images, mean accuracy, top-1 and top-5 (%)"
benchmarks = []
panoptic = ["coco-panoptic", "ade-panoptic"]
metric = "top5"
along = "share of the training images"
remarks = [
    "Images are those of COCO-Stuff's training set; the paper goes on to 5.5 million of SA-1B, whose choice is not "
    "released. A smaller share is part of each larger one. Where a profile gives epochs, as the paper's, fewer images "
    "are fewer steps; where it gives steps, as the miniature's, all rows take as many.",
]

rows = [
    dict(id="clip", title="CLIP", method="clip", tower="base", at=0),
    dict(id="eva", title="EVA-CLIP", method="clip", tower="eva-base", at=0),
    *(
        dict(
            id=f"densevlm-{_title.replace('/', '-of-')}",
            title=f"DenseVLM, {_title} of the images",
            method="clip",
            tower="densevlm",
            alignment=dict(image_share=_share),
            at=_share,
        )
        for _title, _share in (("1/16", 0.0625), ("1/4", 0.25), ("1/1", 1.0))
    ),
]
