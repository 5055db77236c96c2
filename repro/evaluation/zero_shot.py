"""Do the dense features of a CLIP tower know classes before anything is trained? A confusion matrix says it.

Patches of labelled images are classified by the cosine of their dense feature with the text features of the classes
those images show. The figure is the mean accuracy over classes: chance is one over their number, whatever the shares
of the classes and however often a tower names its favourite one. What a tower without class signal may reach by luck
is measured, not assumed: the same matrix with the classes' texts shuffled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from repro.datasets.images import read_label, stored_image
from repro.errors import DataError

if TYPE_CHECKING:
    from repro.clip.tower import ClipTower
    from repro.datasets.layout import Pair

TEMPLATE = "A photo of a {} in the scene"
IMAGES = 64
SHUFFLINGS = 2000
QUANTILE = 0.999
"""Share of the shufflings that stay below :attr:`ClassSignal.shuffled`."""


@dataclasses.dataclass(frozen=True)
class ClassSignal:
    """What was found on ``images`` images: ``patches`` with a label, ``classes`` that occur among them.

    Fractions: ``top1`` of patches whose nearest class is theirs, ``mean_class`` the mean over classes of that share,
    ``shuffled`` the mean over classes that 99.9 % of the shufflings of the classes' texts stay below.
    """

    images: int
    patches: int
    classes: int
    top1: float
    mean_class: float
    shuffled: float

    @property
    def chance(self) -> float:
        """The expected ``mean_class`` of any tower that knows nothing."""
        return 1 / self.classes

    @property
    def over_chance(self) -> float:
        """``mean_class`` in units of chance."""
        return self.mean_class / self.chance

    def bar(self, times_chance: float) -> float:
        """Return what ``mean_class`` must exceed: ``times_chance`` and what luck gives, whichever is more."""
        return max(times_chance * self.chance, self.shuffled)


def class_signal(
    tower: ClipTower,
    pairs: Sequence[Pair],
    names: Sequence[str],
    *,
    images: int = IMAGES,
    progress: Callable[[int, int], None] | None = None,
) -> ClassSignal:
    """Measure the class signal of ``tower`` on ``images`` of ``pairs``, evenly spread; ``names`` are the labels'.

    Of each image the largest square in its middle is shown, at the tower's resolution. A patch has the label of the
    pixel in its centre; labels that are not an index of ``names`` are left out. ``progress`` is called with (images
    done, in all). Raises DataError for unreadable files and where fewer than two classes are found.
    """
    chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(images, len(pairs))).astype(int))]
    features, labels = [], []
    for number, pair in enumerate(chosen):
        found, label = _patches(tower, pair, len(names))
        features.append(found)
        labels.append(label)
        if progress:
            progress(number + 1, len(chosen))
    label = torch.cat(labels) if labels else torch.zeros(0, dtype=torch.long)
    present, own = label.unique(return_inverse=True)
    if len(present) < 2:
        raise DataError(
            "too few labelled patches to judge the tower by",
            expected="two classes or more",
            found=f"{len(present)} on {len(chosen)} images",
            mend="name more images, or leave the check out: --zero-shot-bar 0",
        )
    with torch.no_grad():
        text = tower.text([names[i] for i in present.tolist()], TEMPLATE).float().cpu()
    named = (torch.cat(features) @ text.T).argmax(dim=1)
    confusion = np.zeros((len(present), len(present)))
    np.add.at(confusion, (own.numpy(), named.numpy()), 1)
    return _signal(confusion, len(chosen))


@torch.no_grad()
def _patches(tower: ClipTower, pair: Pair, classes: int) -> tuple[Tensor, Tensor]:
    """Return unit features (P, C) and labels (P,) of the labelled patches of one image, on the CPU."""
    image, label = middle_square(stored_image(pair.image)), middle_square(read_label(pair.label))
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().to(tower.mean.device)
    dense = F.normalize(tower.dense(pixels).map[0].float(), dim=0).cpu()
    centres = ((np.arange(tower.grid) + 0.5) * label.shape[0] / tower.grid).astype(int)
    own = torch.from_numpy(label[np.ix_(centres, centres)].astype(np.int64)).flatten()
    kept = (own >= 0) & (own < classes)
    return dense.flatten(1).T[kept], own[kept]


def middle_square(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the largest square in the middle of an image or label map (H, W, ..)."""
    side = min(values.shape[:2])
    top, left = (values.shape[0] - side) // 2, (values.shape[1] - side) // 2
    return values[top : top + side, left : left + side]


def _signal(confusion: NDArray[np.float64], images: int) -> ClassSignal:
    """Return the figures of a matrix (true class, named class) of counts."""
    shares = confusion / confusion.sum(axis=1, keepdims=True)
    number = len(shares)
    rng = np.random.default_rng(0)
    lucky = [shares[np.arange(number), rng.permutation(number)].mean() for _ in range(SHUFFLINGS)]
    return ClassSignal(
        images,
        int(confusion.sum()),
        number,
        float(np.trace(confusion) / confusion.sum()),
        float(np.trace(shares) / number),
        float(np.quantile(lucky, QUANTILE)),
    )
