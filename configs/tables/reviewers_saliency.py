"""Is DiSa's saliency a foreground / background segmenter? Its maps against the masks of the classes in each image."""

name = "reviewers_saliency"
kind = "maps"
title = "Saliency as a segmenter"
caption = "How well the maps of each method find the pixels of a class that is in the image"
benchmarks = ["A-150", "PC-59", "PAS-20"]
metric = "saliency_ap"
remarks = [
    "DiSa is trained as in Table 1, the rows below it as in the table of the reviewers' questions.",
    "A method without saliency is read by the cosine of places and class names alone, after its own training.",
]

rows = [
    dict(id="clip", title="CLIP (zero-shot, dense)", method="clip", tower="base"),
    dict(id="catseg", title="CAT-Seg", method="catseg", tower="base"),
    dict(id="disa", title="DiSa", method="disa", tower="base"),
    dict(
        id="disa-attention",
        title="DiSa, saliency: attention only",
        method="disa",
        tower="base",
        options=dict(saliency="attention"),
    ),
    *(
        dict(id=f"disa-{_id}", title=f"DiSa, {_title}", method="disa", tower="base", options=_options)
        for _id, _title, _options in (
            ("layer=0", "saliency: first layer", dict(saliency_layer=0)),
            ("layer=1", "saliency: second layer", dict(saliency_layer=1)),
            ("layer=-1", "saliency: last layer", dict(saliency_layer=-1)),
            ("text=unit", "text of unit length", dict(text_scale="unit")),
        )
    ),
]
