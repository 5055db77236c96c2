"""The concepts of the miniature: real class names, and how they are called in the vocabularies of the benchmarks.

One concept is one look (:mod:`repro.mini.looks`). ``synonyms`` are other names of the same thing (couch, sofa);
``broader`` are names of coarser classes that a vocabulary without the finer one gives it (wall-brick is "wall" in
ADE20K, as a giraffe is "animal"). Nothing heavy is imported here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal

Kind = Literal["thing", "stuff"]


@dataclasses.dataclass(frozen=True)
class Concept:
    """One class of the miniature.

    ``name`` is the COCO-Stuff name where there is one. ``spoken`` are the words a caption uses, in addition to the
    names. ``size`` is half the drawn extent as a fraction of the shorter image side, at middle distance (things and
    stuff with a shape; 0 for stuff that only fills regions).
    """

    name: str
    kind: Kind
    size: float
    synonyms: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    spoken: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that means exactly this concept, the primary one first, without repetition."""
        return tuple(dict.fromkeys((self.name, *self.synonyms, *self.spoken)))

    def label_in(self, vocabulary_names: Iterable[str]) -> int | None:
        """Return index of this concept in a vocabulary (class names in label order), None where it has no such class.

        A vocabulary entry "airplane, aeroplane, plane" is known by its first synonym, as in the prompts of the
        benchmarks. Own names are tried before broader ones, each in their order; the first of equal entries counts.
        """
        labels = _labels(tuple(vocabulary_names))
        for name in (self.name, *self.synonyms, *self.broader):
            if name in labels:
                return labels[name]
        return None


@cache
def _labels(names: tuple[str, ...]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for index, name in enumerate(names):
        labels.setdefault(name.split(", ")[0].strip(), index)
    return labels


def _rows(kind: Kind, table: str) -> list[Concept]:
    """Parse lines ``name [= synonym, ..] [< broader, ..] [~ spoken, ..] : size``."""
    concepts = []
    for line in table.strip().splitlines():
        head, _, size = line.rpartition(":")
        fields = {"": "", "=": "", "<": "", "~": ""}
        mark = ""
        for word in head.split(" "):
            if word in ("=", "<", "~"):
                mark = word
            else:
                fields[mark] += " " + word
        parts = {m: tuple(w.strip() for w in text.split(",") if w.strip()) for m, text in fields.items()}
        concepts.append(Concept(parts[""][0], kind, float(size), parts["="], parts["<"], parts["~"]))
    return concepts


_COCO_THINGS = """
person : .26
bicycle ~ bike : .24
car : .26
motorcycle = motorbike, minibike : .24
airplane = aeroplane ~ plane : .32
bus : .34
train : .40
truck : .34
boat : .28
traffic light = signallight : .20
fire hydrant = firehydrant, fireplug : .16
stop sign < sign : .20
bench : .25
bird : .15
cat < animal : .17
dog < animal : .19
horse < animal : .28
sheep < animal : .22
cow < animal : .27
elephant < animal : .33
bear < animal : .26
zebra < animal : .28
giraffe < animal : .36
umbrella : .24
backpack < bag : .16
kite : .18
surfboard : .25
bottle : .15
cup : .12
bowl : .13
banana < fruit, food : .12
apple < fruit, food : .11
pizza < food : .14
donut < food : .11
cake < food : .14
chair : .22
couch = sofa : .32
potted plant = pottedplant < plant : .22
bed : .38
dining table = diningtable < table : .32
toilet : .20
tv = tvmonitor, television receiver ~ television : .24
laptop : .16
keyboard : .15
microwave : .18
oven : .22
sink : .22
refrigerator = fridge : .30
book : .12
clock : .15
teddy bear = toy, plaything : .17
"""

_OTHER_THINGS = """
fireplace : .28
chandelier : .22
escalator : .36
pool table = pooltable : .32
fountain : .28
column = pillar : .34
windmill : .34
swivel chair : .24
bathtub : .30
lamp : .22
armchair : .25
piano : .28
guitar : .22
basket : .15
barrel : .18
ashcan = trashbin ~ trash can : .16
streetlight : .34
beacon ~ lighthouse : .36
helicopter : .26
hot-airballoon ~ hot-air balloon : .26
ferris wheel = ferriswheel : .36
van : .28
flag : .20
stove = gasstove : .24
washer = washingmachine ~ washing machine : .22
ladder : .30
camel < animal : .29
rabbit < animal : .14
palm ~ palm tree : .36
traffic cone = cone : .14
painting = picture : .20
pumpkin : .14
tractor : .28
"""

_COCO_STUFF = """
sky-other = sky : 0
grass : 0
tree : .34
bush < plant : .20
flower : .16
road : 0
pavement = sidewalk : 0
building-other = building : .38
skyscraper < building : .42
house < building : .34
mountain : .38
sea < water : 0
river < water : 0
sand : 0
snow : 0
dirt = earth < ground : 0
gravel < ground : 0
rock : .22
wall-brick < wall ~ brick wall : 0
wall-wood < wall ~ wooden wall : 0
wall-tile < wall ~ tiled wall : 0
wall-concrete = wall ~ concrete wall : 0
floor-wood < floor ~ wooden floor : 0
floor-tile < floor ~ tiled floor : 0
carpet < floor : 0
rug : .26
ceiling-other = ceiling : 0
curtain : .28
cabinet : .26
fence : .30
bridge : .40
window-other = window, windowpane : .22
door-stuff = door : .28
mirror-stuff = mirror : .20
shelf = shelves : .28
railroad = track, railway < railway : 0
stairs = stair : .30
tent : .28
straw = hay : .20
"""

_OTHER_STUFF = """
runway : 0
swimming pool = swimmingpool : 0
field : 0
path : 0
waterfall : .36
lake : 0
cliff : 0
vineyard : 0
ice rink : 0
grandstand : 0
stage : 0
tapestry : 0
court : 0
"""

CONCEPTS: tuple[Concept, ...] = (
    *_rows("thing", _COCO_THINGS),
    *_rows("thing", _OTHER_THINGS),
    *_rows("stuff", _COCO_STUFF),
    *_rows("stuff", _OTHER_STUFF),
)
INDEX: dict[str, int] = {concept.name: index for index, concept in enumerate(CONCEPTS)}


def concept_labels(vocabulary_names: Sequence[str], ignore: int) -> list[int]:
    """Return every concept's label in a vocabulary, ``ignore`` where it has none: a lookup table for writers."""
    labels = (concept.label_in(vocabulary_names) for concept in CONCEPTS)
    return [ignore if label is None else label for label in labels]
