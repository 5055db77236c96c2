"""Where the real data sets come from: none may be redistributed, so a user fetches them from their owners."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Download:
    """The folder a set lies in below the data root, and what to fetch into it."""

    folder: str
    instructions: str


_ADE150 = Download(
    "ADEChallengeData2016",
    "unpack http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip there",
)
_ADE_FULL = Download(
    "ADE20K_2021_17_01",
    "register at https://groups.csail.mit.edu/vision/datasets/ADE20K/ and unpack ADE20K_2021_17_01 there",
)
_CONTEXT59 = Download(
    "VOCdevkit/VOC2010",
    "unpack VOC2010 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ there and add trainval_merged.json "
    "of the Detail API (https://codalabuser.blob.core.windows.net/public/trainval_merged.json)",
)
_CONTEXT459 = Download(
    "VOCdevkit/VOC2010",
    "unpack VOC2010 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ there and add trainval/*.mat and "
    "labels.txt from https://cs.stanford.edu/~roozbeh/pascal-context/",
)
_VOC = Download(
    "VOCdevkit/VOC2012",
    "unpack VOC2012 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ there (and, for the augmented "
    "masks, SegmentationClassAug)",
)
_COCO = Download(
    "coco-stuff",
    "unpack http://images.cocodataset.org/zips/train2017.zip into images/ and "
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip into "
    "annotations/ there",
)

DOWNLOADS: dict[str, Download] = {
    "A-847": _ADE_FULL,
    "PC-459": _CONTEXT459,
    "A-150": _ADE150,
    "PC-59": _CONTEXT59,
    "PAS-20": _VOC,
    "PAS-20b": _VOC,
    "coco-stuff": _COCO,
}
