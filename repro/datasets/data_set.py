"""What a data set is: images, classes, ignore label, fold, folders, sources, and the rule from source to label.

One subclass per set, in a module of its own (:mod:`repro.datasets.sets`, docs/adding-a-data-set.md). What most sets
share is written here: images and masks of one channel in two folders, under equal names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from repro.datasets.listing import SourcePair, first_file, need, read_ids, sources_by_key
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import DataError, command, known_as

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BACKGROUND = "background"
VOID = 255
VOID16 = 65535
"""What labels of 8 and of 16 bits have where nothing is labelled, or what is labelled is not a class."""
OWN = "own"
_CONVERTED = "_labelTrainIds"
"""What mmsegmentation's scripts add to the names of masks they converted, which lie beside the sources."""


class OutsideVocabularyError(ValueError):
    """A source value that is neither a class nor unlabelled.

    ``legal`` says in words what is allowed, ``cause`` (or "") why the value is probably there.
    """

    def __init__(self, value: int, legal: str, cause: str = "") -> None:
        super().__init__(f"{value} (allowed: {legal})" + (f": {cause}" if cause else ""))
        self.value, self.legal, self.cause = value, legal, cause


class DrawnScene(Protocol):
    """A picture of the miniature: ``image`` (H, W, 3) RGB; ``instances`` (H, W), 0 for stuff, 1.. for things."""

    @property
    def image(self) -> NDArray[np.uint8]: ...
    @property
    def instances(self) -> NDArray[np.int16]: ...
    @property
    def setting(self) -> str: ...

    def values(self, names: tuple[str, ...], values: Sequence[int], otherwise: int) -> NDArray[np.uint16]:
        """Return (H, W): where class ``names[i]`` is shown ``values[i]``, elsewhere ``otherwise``."""


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of a set. All folders and files are relative to :attr:`DataSet.folder`.

    ``source_images`` and ``source_labels`` are what the owners distribute (several label folders are alternatives, the
    first that has a mask wins); ``images`` (default: the source's) and ``labels`` (default: a folder of the same name
    in ``annotations_detectron2``) what is evaluated or trained on. ``ids`` is the file that lists the images, "" where
    all files of the folder belong to the split. ``num_images`` is the complete count.
    """

    name: str
    num_images: int
    source_images: str
    source_labels: tuple[str, ...]
    images: str = ""
    labels: str = ""
    ids: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", self.images or self.source_images)
        object.__setattr__(self, "labels", self.labels or f"annotations_detectron2/{Path(self.source_images).name}")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One image set with labels, and how its labels are to be read.

    ``vocabulary`` names the evaluated classes, ``prompt_vocabulary`` (default: it) the words for a method. Labels are
    0 .. ``num_classes`` - 1; ``ignore_label`` and everything above it count nowhere. With ``background_index`` every
    prediction from that index on is background (the fold of PAS-20b). ``splits[0]`` is evaluated or trained on.
    """

    id: str
    title: str
    vocabulary: str
    num_images: int
    source: str
    folder: str
    splits: tuple[Split, ...]
    prompt_vocabulary: str = ""
    ignore_label: int = VOID
    background_index: int | None = None
    label_suffix: str = ".png"
    resized_images: bool = False

    instructions: ClassVar[str] = ""
    """What a user fetches into ``folder``, and where from: no set may be redistributed."""
    unlabelled_values: ClassVar[tuple[int, ...]] = ()
    """Source values that label nothing; an image that holds only these gets no label file. Empty: every image has."""
    first_rules: ClassVar[str] = ""
    """What 0.1.0 made of the samples of :func:`repro.datasets.prepare.marker.rules_digest`; "" for later sets."""

    catalogue_names: ClassVar[Mapping[str, str]] = {}
    """What CAT-Seg's code calls splits of this set in detectron2's catalogue, by our names of them."""
    image_suffix: ClassVar[str] = ".jpg"
    mask_suffix: ClassVar[str] = ".png"
    """Endings of the files that the owners distribute."""
    shared_annotations: ClassVar[bool] = False
    """Whether one file holds the annotations of all images."""
    supervision: ClassVar[Literal["masks", "image labels"]] = "masks"
    """What there is of an image: its mask, or only the set of its classes, from which not every method learns."""
    drawn: ClassVar[str] = ""
    """Which pictures of the miniature show this set: those of one series of :mod:`repro.mini.synth`, or :data:`OWN`
    ones, drawn when they are first asked for; "" where another set's files are its sources, or it is not drawn."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt_vocabulary", self.prompt_vocabulary or self.vocabulary)

    @property
    def root(self) -> Path | None:
        """The folder that :attr:`folder` lies in, for a set of the user's own; None: below the data root."""
        return None

    @property
    def described_by(self) -> Path | None:
        """The file that describes a set of the user's own."""
        return None

    @property
    def named_by(self) -> tuple[object, ...]:
        """The words of a command that train on a set of the user's own; none where its id is enough."""
        return () if self.described_by is None else ("--dataset", self.described_by)

    @property
    def content(self) -> str | None:
        """What identifies a set whose labels are no files of masks; None: what its files hold."""
        return None

    # -- sources: which files belong to an image ----------------------------------------------------------------
    def image_files(self, folder: Path) -> dict[str, Path]:
        """Return the images of a folder by key."""
        return sources_by_key(folder, self.image_suffix)

    def mask_files(self, folder: Path) -> dict[str, Path]:
        """Return the source masks of a folder by key, without those that mmsegmentation's scripts put beside them.

        Raises DataError where only such ones are there.
        """
        every = sources_by_key(folder, self.mask_suffix)
        masks = {key: path for key, path in every.items() if not key.endswith(_CONVERTED)}
        if every and not masks:
            raise DataError(
                f"{self.id}: {folder} holds converted masks only",
                expected="the masks as distributed, KEY.png",
                found=f"{len(every)} files KEY{_CONVERTED}.png, such as {min(every)}.png",
                mend=self.instructions,
            )
        return masks

    def list_sources(self, folder: Path, part: Split) -> list[SourcePair]:
        """Return the images and annotations of a split below :attr:`folder`, whether or not each file is there.

        Raises DataError where a folder or a list is absent.
        """
        images_folder = self.need(folder / part.source_images)
        if part.ids:
            keys = read_ids(self.need(folder / part.ids), self.instructions)
            return [
                SourcePair(
                    key,
                    images_folder / f"{key}{self.image_suffix}",
                    first_file(folder, part.source_labels, f"{key}{self.mask_suffix}"),
                )
                for key in keys
            ]
        masks_folder = self.need(folder / part.source_labels[0])
        images, masks = self.image_files(images_folder), self.mask_files(masks_folder)
        return [
            SourcePair(
                key,
                images.get(key, images_folder / f"{key}{self.image_suffix}"),
                masks.get(key, masks_folder / f"{key}{self.mask_suffix}"),
            )
            for key in images.keys() | masks.keys()
        ]

    def listed_keys(self, folder: Path, part: Split) -> set[str] | None:
        """Return the keys that the sources list, None where they are gone. Reads names only."""
        if part.ids:
            return set(read_ids(folder / part.ids, self.instructions)) if (folder / part.ids).is_file() else None
        return set(self.image_files(folder / part.source_images)) or None

    def need(self, path: Path) -> Path:
        """Return ``path``. Raises DataError that says what to fetch where it is absent."""
        return need(path, self.id, self.instructions)

    # -- rule: what an annotation means -------------------------------------------------------------------------
    def mask_values(self) -> tuple[int, ...]:
        """Return every value that a source mask of one channel may hold; empty where sources are something else."""
        return ()

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the label (H, W) of a source mask (H, W). Raises OutsideVocabularyError for an impossible value."""
        raise NotImplementedError(f"{self.id}: sources are not masks of one channel")

    def read_source(self, source: SourcePair) -> NDArray[Any]:
        """Return the label (H, W) of an annotation on disk.

        Raises DataError for a damaged file, OutsideVocabularyError for an impossible value.
        """
        from repro.datasets.images import read_mask

        return self.convert_mask(read_mask(source.label))

    def prepared_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (H, W) of the prepared image of one of (``height``, ``width``): the same but for ADE20K-full."""
        return height, width

    def prepared_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image (H, W[, 3]) that goes with the label, where :attr:`resized_images`."""
        return image

    def check_classes(self, data_root: Path, part: Split, images: Mapping[int, int], count: int, mend: str) -> None:
        """Raise DataError where the ``count`` images of a split do not show the classes of this set.

        ``images`` counts the images of each label value. The default knows nothing to check.
        """

    def write_sample(self, folder: Path, number: int, blocks: NDArray[np.int64]) -> tuple[Path, Any]:
        """Write a fixed annotation made of ``blocks`` (H, W), numbers 0 .. 2^15 - 1; return it and its note.

        Changed rules are noticed by what they make of these (:mod:`repro.datasets.prepare.samples`).
        """
        import numpy as np

        from repro.datasets.writing import write_picture

        values = np.array(self.mask_values(), np.uint8)
        path = folder / f"{number}-source.png"
        write_picture(path, values[blocks % len(values)])
        return path, None

    # -- miniature: a drawn scene as the owners would distribute it ---------------------------------------------
    def drawn_key(self, index: int) -> str:
        """Return the file name (without ending) of picture ``index`` of the miniature."""
        return f"{index + 1:012d}"

    def drawn_mask(self, scene: DrawnScene) -> NDArray[np.uint8]:
        """Return the source mask (H, W) of a scene."""
        raise NotImplementedError(f"{self.id} is not drawn as a mask of one channel")

    def write_drawn(self, folder: Path, key: str, scene: DrawnScene, number: int) -> Any:
        """Write picture ``number`` (from 1) and its annotation below :attr:`folder`; return what shared files say."""
        from repro.datasets.writing import write_photograph, write_picture

        part = self.splits[0]
        write_photograph(folder / part.source_images / f"{key}{self.image_suffix}", scene.image)
        write_picture(folder / part.source_labels[-1] / f"{key}{self.mask_suffix}", self.drawn_mask(scene))
        return None

    def write_drawn_lists(self, folder: Path, keys: Iterable[str], notes: Sequence[Any]) -> None:
        """Write the files that all pictures share: the list of the split, where it has one."""
        if self.splits[0].ids:
            from repro.files import write_text

            write_text(folder / self.splits[0].ids, "".join(f"{key}\n" for key in keys))

    # -- classes ------------------------------------------------------------------------------------------------
    @property
    def num_classes(self) -> int:
        """How many classes are evaluated, the folded background included."""
        return len(self.class_names())

    @property
    def label_dtype(self) -> str:
        """numpy's name of the type prepared labels have."""
        return "uint16" if self.label_suffix == ".tif" else "uint8"

    def class_names(self) -> tuple[str, ...]:
        """Return the evaluated classes in label order, with all synonyms; "background" last for folded predictions."""
        names = load_vocabulary(self.vocabulary).names
        return names if self.background_index is None else (*names, BACKGROUND)

    def class_kinds(self) -> tuple[str, ...]:
        """Return thing or stuff for each of :meth:`class_names`; a folded background is stuff: no object covers it."""
        kinds = load_vocabulary(self.vocabulary).kinds
        return kinds if self.background_index is None else (*kinds, "stuff")

    def prompt_names(self) -> tuple[str, ...]:
        """Return the words a method is asked for, in the order of its predictions."""
        return load_vocabulary(self.prompt_vocabulary).prompts

    def category_ids(self) -> tuple[int, ...]:
        """Return the numbers other code gives the classes where they are not the labels, in label order; else none."""
        return ()

    def split(self, name: str | None = None) -> Split:
        """Return the split called ``name`` (default: the set's own); UsageError naming the known ones."""
        if name is None:
            return self.splits[0]
        known = {s.name: s for s in self.splits}
        return known_as(f"split of {self.id}", name, known, mend=command("--split", self.splits[0].name))

    def legal_labels(self) -> str:
        """Return the label values allowed, in words."""
        return f"0..{self.num_classes - 1} or {self.ignore_label} (ignored)"
