"""What each benchmark is: images, classes, ignore label, fold and folders (docs/specs/benchmarks.md)."""

from __future__ import annotations

import dataclasses

from repro.benchmarks.vocabulary import load_vocabulary
from repro.errors import UsageError, command, unknown_name

BACKGROUND = "background"


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of a set. All folders and files are relative to :attr:`Benchmark.folder`.

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
class Benchmark:
    """One image set with labels, and how its labels are to be read.

    ``vocabulary`` names the evaluated classes, ``prompt_vocabulary`` the words given to a method. Label values are
    0 .. ``num_classes`` - 1; ``ignore_label`` and everything above it count nowhere. With ``background_index`` every
    prediction from that index on means background (the fold of PAS-20b). ``rule`` is the conversion of
    :mod:`repro.benchmarks.prepare.formats`. The first of ``splits`` is the one evaluated (or trained on).
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


def _ade150(name: str, folder: str, count: int) -> Split:
    return Split(
        name,
        count,
        images=f"images/{folder}",
        labels=f"annotations_detectron2/{folder}",
        source_images=f"images/{folder}",
        source_labels=(f"annotations/{folder}",),
    )


def _ade847(name: str, folder: str, count: int) -> Split:
    return Split(
        name,
        count,
        images=f"images_detectron2/{folder}",
        labels=f"annotations_detectron2/{folder}",
        source_images=f"images/ADE/{folder}",
        source_labels=(f"images/ADE/{folder}",),
    )


def _context59(name: str, count: int) -> Split:
    # The split is the `phase` of each image in the JSON file; its list file is not needed.
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"annotations_detectron2/pc59_{name}",
        source_images="JPEGImages",
        source_labels=("trainval_merged.json",),
    )


def _context459(name: str, count: int) -> Split:
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"annotations_detectron2/pc459_{name}",
        source_images="JPEGImages",
        source_labels=("trainval",),
        ids=f"pascalcontext_{name}.txt",
    )


def _voc(name: str, count: int, labels: str) -> Split:
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"{labels}/{name}",
        source_images="JPEGImages",
        source_labels=("SegmentationClassAug", "SegmentationClass"),
        ids=f"ImageSets/Segmentation/{name}.txt",
    )


def _coco(name: str, folder: str, count: int) -> Split:
    return Split(
        name,
        count,
        images=f"images/{folder}",
        labels=f"annotations_detectron2/{folder}",
        source_images=f"images/{folder}",
        source_labels=(f"annotations/{folder}",),
    )


_ALL = (
    Benchmark(
        id="A-847",
        title="ADE20K, all 847 classes",
        vocabulary="ade847",
        prompt_vocabulary="ade847",
        ignore_label=65535,
        background_index=None,
        num_images=2000,
        source="ADE20K_2021_17_01 (CSAIL), validation",
        rule="ade847",
        folder="ADE20K_2021_17_01",
        label_suffix=".tif",
        splits=(_ade847("val", "validation", 2000), _ade847("train", "training", 25574)),
        resized_images=True,
    ),
    Benchmark(
        id="PC-459",
        title="PASCAL-Context, 459 classes",
        vocabulary="pc459",
        prompt_vocabulary="pc459",
        ignore_label=459,
        background_index=None,
        num_images=5104,
        source="PASCAL-Context on VOC 2010, validation",
        rule="pc459",
        folder="VOCdevkit/VOC2010",
        label_suffix=".tif",
        splits=(_context459("val", 5104), _context459("train", 4998)),
    ),
    Benchmark(
        id="A-150",
        title="ADE20K, 150 classes",
        vocabulary="ade150",
        prompt_vocabulary="ade150",
        ignore_label=255,
        background_index=None,
        num_images=2000,
        source="ADEChallengeData2016 (CSAIL), validation",
        rule="ade150",
        folder="ADEChallengeData2016",
        label_suffix=".png",
        splits=(_ade150("val", "validation", 2000), _ade150("train", "training", 20210)),
    ),
    Benchmark(
        id="PC-59",
        title="PASCAL-Context, 59 classes",
        vocabulary="pc59",
        prompt_vocabulary="pc59",
        ignore_label=255,
        background_index=None,
        num_images=5104,
        source="PASCAL-Context on VOC 2010 (trainval_merged.json), validation",
        rule="pc59",
        folder="VOCdevkit/VOC2010",
        label_suffix=".png",
        splits=(_context59("val", 5104), _context59("train", 4998)),
    ),
    Benchmark(
        id="PAS-20",
        title="PASCAL VOC 2012, 20 classes",
        vocabulary="voc20",
        prompt_vocabulary="voc20",
        ignore_label=255,
        background_index=None,
        num_images=1449,
        source="PASCAL VOC 2012, validation",
        rule="voc20",
        folder="VOCdevkit/VOC2012",
        label_suffix=".png",
        splits=(_voc("val", 1449, "annotations_detectron2"), _voc("train", 1464, "annotations_detectron2")),
    ),
    Benchmark(
        id="PAS-20b",
        title="PASCAL VOC 2012, 20 classes and background",
        vocabulary="voc20",
        prompt_vocabulary="voc20b_prompts",
        ignore_label=255,
        background_index=20,
        num_images=1449,
        source="PASCAL VOC 2012, validation",
        rule="voc20b",
        folder="VOCdevkit/VOC2012",
        label_suffix=".png",
        splits=(_voc("val", 1449, "annotations_detectron2_bg"), _voc("train", 1464, "annotations_detectron2_bg")),
    ),
)

BENCHMARKS: dict[str, Benchmark] = {b.id: b for b in _ALL}
"""The six benchmarks in the order of the papers' tables."""

TRAIN_SETS: dict[str, Benchmark] = {
    "coco-stuff": Benchmark(
        id="coco-stuff",
        title="COCO-Stuff 164k, 171 classes",
        vocabulary="coco_stuff171",
        prompt_vocabulary="coco_stuff171",
        ignore_label=255,
        background_index=None,
        num_images=118_287,
        source="COCO-Stuff 164k, train2017",
        rule="coco-stuff",
        folder="coco-stuff",
        label_suffix=".png",
        splits=(_coco("train", "train2017", 118_287), _coco("val", "val2017", 5000)),
    )
}
"""What the methods are trained on."""


def get_benchmark(name: str) -> Benchmark:
    """The benchmark or training set called ``name``, in any case; UsageError with the nearest ids otherwise."""
    known = {**BENCHMARKS, **TRAIN_SETS}
    by_case = {key.casefold(): key for key in known}
    if name.casefold() not in by_case:
        raise unknown_name("benchmark", name, known)
    return known[by_case[name.casefold()]]
