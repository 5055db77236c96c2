"""What a data set is: images, classes, ignore label, fold, folders, and the rule from source to label."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from repro.datasets.vocabulary import load_vocabulary
from repro.errors import UsageError, command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BACKGROUND = "background"


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of a set. All folders and files are relative to :attr:`DataSet.folder`.

    ``images`` and ``labels`` hold what is evaluated or trained on; ``source_images`` and ``source_labels`` what the
    owners distribute (several label folders are alternatives, the first that has a mask wins). ``ids`` is the file
    that lists the images, "" where all files of the folder belong to the split. ``num_images`` is the complete count.
    """

    name: str
    num_images: int
    images: str
    labels: str
    source_images: str
    source_labels: tuple[str, ...]
    ids: str = ""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One image set with labels, and how its labels are to be read.

    ``vocabulary`` names the evaluated classes, ``prompt_vocabulary`` the words given to a method. Label values are
    0 .. ``num_classes`` - 1; ``ignore_label`` and everything above it count nowhere. With ``background_index`` every
    prediction from that index on means background (the fold of PAS-20b). ``rule`` names
    the conversion. The first of ``splits`` is the one evaluated (or trained on).
    """

    id: str
    title: str
    vocabulary: str
    prompt_vocabulary: str
    ignore_label: int
    background_index: int | None
    num_images: int
    source: str
    rule: str
    folder: str
    label_suffix: str
    splits: tuple[Split, ...]
    resized_images: bool = False

    instructions: ClassVar[str] = ""
    """What a user fetches into ``folder``, and where from: no set may be redistributed."""
    unlabelled_values: ClassVar[tuple[int, ...]] = ()
    """Source values that label nothing; an image that holds only these gets no label file. Empty: every image has."""
    first_rules: ClassVar[str] = ""
    """What 0.1.0 made of the samples of :func:`repro.datasets.prepare.marker.rules_digest`; "" for later sets."""

    def mask_values(self) -> tuple[int, ...]:
        """Return every value that a source mask of one channel may hold; empty where sources are something else."""
        return ()

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label (H, W) of a source mask (H, W). Raises OutsideVocabularyError for an impossible value."""
        raise NotImplementedError(f"{self.id}: sources are not masks of one channel")

    @property
    def num_classes(self) -> int:
        """How many classes are evaluated, the folded background included."""
        return len(self.class_names())

    @property
    def label_dtype(self) -> str:
        """numpy's name of the type prepared labels have."""
        return "uint16" if self.label_suffix == ".tif" else "uint8"

    def class_names(self) -> tuple[str, ...]:
        """The evaluated classes in label order, with all synonyms; "background" last where predictions are folded."""
        names = load_vocabulary(self.vocabulary).names
        return names if self.background_index is None else (*names, BACKGROUND)

    def class_kinds(self) -> tuple[str, ...]:
        """Of each of :meth:`class_names`, thing or stuff; a folded background, which no object covers, is stuff."""
        kinds = load_vocabulary(self.vocabulary).kinds
        return kinds if self.background_index is None else (*kinds, "stuff")

    def prompt_names(self) -> tuple[str, ...]:
        """The words a method is asked for, in the order of its predictions."""
        return load_vocabulary(self.prompt_vocabulary).prompts

    def split(self, name: str | None = None) -> Split:
        """The split called ``name`` (default: the set's own); UsageError naming the known ones."""
        if name is None:
            return self.splits[0]
        known = {s.name: s for s in self.splits}
        if name not in known:
            raise UsageError(
                f"{self.id} has no split {name!r}",
                expected=f"one of {', '.join(known)}",
                found=name,
                mend=command("--split", self.splits[0].name),
            )
        return known[name]

    def legal_labels(self) -> str:
        """The label values allowed, in words."""
        return f"0..{self.num_classes - 1} or {self.ignore_label} (ignored)"
