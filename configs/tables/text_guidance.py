"""What CAT-Seg's text guidance and loss have to do with its seeds and with DiSa's lead, which has neither."""

name = "text_guidance"
title = "CAT-Seg's text guidance"
caption = "CAT-Seg without text guidance and with DiSa's loss beside DiSa, mIoU (%)"
metric = "miou_gt"
remarks = ["Nothing of this table is published. Seeds are its question: run it with several (--seeds 0,1,2,3)."]

rows = [
    dict(id="catseg-printed", title="CAT-Seg, as released", method="catseg", tower="base", options=dict()),
    dict(
        id="catseg-clip_trains=nothing",
        title="CAT-Seg, CLIP frozen",
        method="catseg",
        tower="base",
        options=dict(clip_trains="nothing"),
    ),
    dict(
        id="catseg-text_guidance=0",
        title="CAT-Seg, text guidance: none",
        method="catseg",
        tower="base",
        options=dict(text_guidance=0),
    ),
    dict(
        id="catseg-seg_loss=ce",
        title="CAT-Seg, loss: softmax cross-entropy",
        method="catseg",
        tower="base",
        options=dict(seg_loss="ce"),
    ),
    dict(
        id="catseg-text_guidance=0-seg_loss=ce",
        title="CAT-Seg, text guidance: none, loss: softmax cross-entropy",
        method="catseg",
        tower="base",
        options=dict(text_guidance=0, seg_loss="ce"),
    ),
    dict(id="disa-printed", title="DiSa", method="disa", tower="base", options=dict()),
]
