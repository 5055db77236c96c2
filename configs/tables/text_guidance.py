"""What CAT-Seg's text guidance and loss have to do with its seeds and with the lead of DiSa, which shares neither."""

name = "text_guidance"
title = "CAT-Seg's text guidance"
caption = "CAT-Seg without text guidance and with DiSa's loss beside DiSa, mIoU (%)"
metric = "miou_gt"
remarks = ["Nothing of this table is published. Seeds are its question: run it with several (--seeds 0,1,2,3)."]

rows = [
    *(
        dict(id=f"catseg-{_id}", title=f"CAT-Seg, {_title}", method="catseg", tower="base", options=_options)
        for _id, _title, _options in (
            ("printed", "as released", dict()),
            ("clip_trains=nothing", "CLIP frozen", dict(clip_trains="nothing")),
            ("text_guidance=0", "text guidance: none", dict(text_guidance=0)),
            ("seg_loss=ce", "loss: softmax cross-entropy", dict(seg_loss="ce")),
            (
                "text_guidance=0-seg_loss=ce",
                "text guidance: none, loss: softmax cross-entropy",
                dict(text_guidance=0, seg_loss="ce"),
            ),
        )
    ),
    dict(id="disa-printed", title="DiSa", method="disa", tower="base", options=dict()),
]
