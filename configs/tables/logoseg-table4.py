"""Table 4 of the LoGoSeg paper: strength lambda of the object prior and number of regions.

The paper's maps are 24 x 24; 4, 6 and 8 regions a side become 2, 4 and 8 of the miniature's 8 x 8.
"""

name = "logoseg-table4"
title = "LoGoSeg, Table 4"
caption = "Prior strength and regions of LoGoSeg, trained on COCO-Stuff, mIoU (%)"
benchmarks = ["A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"]
metric = "miou_gt"

_published = dict(paper="LoGoSeg (AAAI 2026)", table="Table 4")

rows = [
    dict(
        id="lambda-0-4",
        title="lambda = 0, 4 x 4 regions",
        method="logoseg",
        tower="base",
        options=dict(prior=0.0, regions=4),
        published=dict(_published, row="lambda=0 4x4"),
        by_profile=dict(
            mini=dict(title="lambda = 0, 2 x 2 regions", options=dict(regions=2)),
            smoke=dict(title="lambda = 0, 2 x 2 regions", options=dict(regions=2)),
        ),
    ),
    dict(
        id="lambda-0-6",
        title="lambda = 0, 6 x 6 regions",
        method="logoseg",
        tower="base",
        options=dict(prior=0.0, regions=6),
        published=dict(_published, row="lambda=0 6x6"),
        by_profile=dict(
            mini=dict(title="lambda = 0, 4 x 4 regions", options=dict(regions=4)),
            smoke=dict(title="lambda = 0, 3 x 3 regions", options=dict(regions=3)),
        ),
    ),
    dict(
        id="lambda-0-8",
        title="lambda = 0, 8 x 8 regions",
        method="logoseg",
        tower="base",
        options=dict(prior=0.0, regions=8),
        published=dict(_published, row="lambda=0 8x8"),
        by_profile=dict(
            mini=dict(title="lambda = 0, 8 x 8 regions", options=dict(regions=8)),
            smoke=dict(title="lambda = 0, 6 x 6 regions", options=dict(regions=6)),
        ),
    ),
    dict(
        id="lambda-0.5-6",
        title="lambda = 0.5, 6 x 6 regions",
        method="logoseg",
        tower="base",
        options=dict(prior=0.5, regions=6),
        published=dict(_published, row="lambda=0.5 6x6"),
        by_profile=dict(
            mini=dict(title="lambda = 0.5, 4 x 4 regions", options=dict(regions=4)),
            smoke=dict(title="lambda = 0.5, 3 x 3 regions", options=dict(regions=3)),
        ),
    ),
    dict(
        id="lambda-0.5-8",
        title="lambda = 0.5, 8 x 8 regions",
        method="logoseg",
        tower="base",
        options=dict(prior=0.5, regions=8),
        published=dict(_published, row="lambda=0.5 8x8"),
        by_profile=dict(
            mini=dict(title="lambda = 0.5, 8 x 8 regions", options=dict(regions=8)),
            smoke=dict(title="lambda = 0.5, 6 x 6 regions", options=dict(regions=6)),
        ),
    ),
    dict(
        id="lambda-adaptive-6",
        title="lambda = adaptive, 6 x 6 regions",
        method="logoseg",
        tower="base",
        options=dict(prior="learnable", regions=6),
        published=dict(_published, row="lambda=adaptive 6x6"),
        by_profile=dict(
            mini=dict(title="lambda = adaptive, 4 x 4 regions", options=dict(regions=4)),
            smoke=dict(title="lambda = adaptive, 3 x 3 regions", options=dict(regions=3)),
        ),
    ),
    dict(
        id="lambda-1-6",
        title="lambda = 1, 6 x 6 regions",
        method="logoseg",
        tower="base",
        options=dict(prior=1.0, regions=6),
        published=dict(_published, row="lambda=1 6x6"),
        by_profile=dict(
            mini=dict(title="lambda = 1, 4 x 4 regions", options=dict(regions=4)),
            smoke=dict(title="lambda = 1, 3 x 3 regions", options=dict(regions=3)),
        ),
    ),
]
