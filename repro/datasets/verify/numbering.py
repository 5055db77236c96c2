"""Whether the classes of a set occur in as many images as in the official one: a wrong numbering shows here.

Masks that are numbered from another start hold legal values for the most part, and every label is then that of another
class. How many images have each class tells: a street with people becomes a street with bicycles.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.data_set import DataSet, Split
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import DataError, command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COUNTS = Path(__file__).with_name("image_counts")
OFFICIAL_IMAGES = 123_287
"""Images of COCO's train2017 and val2017, which the counts are of."""
LEAST_IMAGES = 10
"""Of fewer images nothing is said."""
GAIN = 2.0
"""Nats an image by which another numbering must explain the images better. Of images that are numbered as they should
be, each of the five others explains an image of the official set 6.8 to 8.1 nats worse, and the 21 real images of the
tests 6.8 to 7.7 nats; of images that are numbered otherwise, the right one of them explains it as much better."""
FARTHEST = 0.25
"""Total variation between the shares of a whole set and the official ones beyond which it is another set. Chance alone
gives 0.02 with 5,000 images; a numbering that is off by one gives 0.47."""
_OFF_BY_ONE = (
    "they are numbered from 1 with 0 for unlabelled (masks 1..182, or labels 1..171): every class is off by one"
)
_NUMBERINGS = (
    _OFF_BY_ONE,
    "their masks were converted to 0..170 before",
    "their masks were converted to 1..171, with 0 for unlabelled, before",
    _OFF_BY_ONE,
    "they are one too small: every class is off by one",
)


@cache
def official_shares() -> NDArray[np.float64]:
    """Return the share of images of COCO's train2017 and val2017 that show each of the 171 classes of COCO-Stuff.

    Counted over the published annotations by the statistics of dataset-ninja/cocostuff164k (its class balance), which
    gives COCO-Stuff's licence, CC BY 4.0, for its own;
    one image more than counted and than not, so that no share is 0 or 1.
    """
    import numpy as np

    with (COUNTS / "coco_stuff171.csv").open(encoding="utf-8", newline="") as stream:
        images = [int(row["images"]) for row in csv.DictReader(stream)]
    return (np.array(images) + 1) / (OFFICIAL_IMAGES + 2)


@cache
def _meant() -> tuple[tuple[int | None, ...], ...]:
    """Return which class the label of each class would mean, for each wrong numbering; None for none."""
    values = list(load_vocabulary("coco_stuff171").column("stuffthingmaps_value"))
    index = {value: i for i, value in enumerate(values)}
    last = len(values) - 1
    return (
        tuple(index.get(v - 1) for v in values),
        tuple(v if v <= last else None for v in values),
        tuple(v - 1 if 0 < v <= last + 1 else None for v in values),
        (None, *range(last)),
        (*range(1, last + 1), None),
    )


def _logs(images: NDArray[np.float64], count: int, shares: NDArray[np.float64]) -> float:
    """Return the log likelihood that of ``count`` images so many have each class, classes taken as independent."""
    import numpy as np

    return float((images * np.log(shares) + (count - images) * np.log1p(-shares)).sum())


def _distance(images: NDArray[np.float64], count: int, shares: NDArray[np.float64]) -> float:
    """Return total variation between how images spread over classes and how ``shares`` do: 0 for equal, 1 for apart."""
    import numpy as np

    found = images / count
    return float(np.abs(found - shares).sum() / (found.sum() + shares.sum()))


def wrong_numbering(images: Sequence[int], count: int) -> str:
    """Say what the labels of ``count`` images really are; "" where they are COCO-Stuff's as far as can be told.

    ``images`` says in how many of them each class occurs. Another numbering is only named where it explains them
    better by :data:`GAIN` and fits them more closely: drawn or chosen images fit none.
    """
    import numpy as np

    if count < LEAST_IMAGES:
        return ""
    have, official = np.array(images, np.float64), official_shares()
    best, words = GAIN * count, ""
    for meant, text in zip(_meant(), _NUMBERINGS, strict=True):
        known = [i for i, m in enumerate(meant) if m is not None]
        other, own = official[[m for m in meant if m is not None]], official[known]
        gain = _logs(have[known], count, other) - _logs(have[known], count, own)
        nearer = _distance(have[known], count, own) - _distance(have[known], count, other)
        if gain > best and nearer > 0.1:
            best, words = gain, text
    return words


def check_numbering(
    benchmark: DataSet, data_root: Path, part: Split, images: Mapping[int, int], count: int, mend: str
) -> None:
    """Raise DataError where the ``count`` images of a split do not show the classes of COCO-Stuff.

    ``images`` counts the images of each label value.
    """
    import numpy as np

    own = [images.get(i, 0) for i in range(benchmark.num_classes)]
    words = wrong_numbering(own, count)
    if not words and count == part.num_images:
        distance = _distance(np.array(own, np.float64), count, official_shares())
        if distance > FARTHEST:
            words = f"other classes than those of COCO-Stuff (total variation {distance:.2f}, at most {FARTHEST})"
    if words:
        official = official_shares()
        most = sorted(range(len(own)), key=lambda i: own[i], reverse=True)[:3]
        names = benchmark.class_names()
        seen = ", ".join(f"{names[i]} in {own[i] / count:.0%} (officially {official[i]:.0%})" for i in most)
        raise DataError(
            f"{benchmark.id}: the classes in {count:,} images are not those of COCO-Stuff",
            expected="each class in about the share of images of the official set: person 54%, tree 31%, sky-other 27%",
            found=f"{seen}; probably {words}",
            mend=f"put the masks of stuffthingmaps_trainval2017.zip into "
            f"{command(data_root / benchmark.folder / part.source_labels[0])}, then {mend}",
        )
