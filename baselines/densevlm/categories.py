"""The category sets regions are retrieved from, with things and stuff marked (Table 4 of the paper)."""

from __future__ import annotations

from pathlib import Path

from baselines.densevlm.options import DenseVLMOptions
from repro.datasets.panoptic import panoptic_vocabulary, read_categories
from repro.datasets.vocabulary import Vocabulary, load_vocabulary
from repro.errors import unknown_name

FOLDER = Path(__file__).with_name("categories")
SETS = ("coco133", "coco_stuff171", "densevlm273", "densevlm316")


def load_categories(name: str) -> Vocabulary:
    """Load the category set called ``name``: names in the order of the embeddings, ``things`` a mask over them.

    ``densevlm273`` and ``densevlm316`` merge COCO-Stuff with ADE20K (150 and 847 classes); three names of the latter
    occur as a thing and as stuff. UsageError for an unknown set.
    """
    if name == "coco133":
        return panoptic_vocabulary(name)
    if name == "coco_stuff171":
        return load_vocabulary(name)
    if name not in SETS:
        raise unknown_name("category set", name, SETS, mend="correct the recipe of the tower")
    return read_categories(FOLDER / f"{name}.csv")


def category_facts(options: DenseVLMOptions) -> list[list[str]]:
    """Return name and kind of each category, in order: what regions are retrieved from decides the weights."""
    categories = load_categories(options.categories)
    return [[name, kind] for name, kind in zip(categories.names, categories.kinds, strict=True)]
