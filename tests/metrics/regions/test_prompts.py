"""The 63 prompts and the embeddings made of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.metrics.regions.prompts import VILD63, category_embeddings, embeddings_key, fill_prompts

TEMPLATES = ("{}", "a photo of {article} {}.")


@pytest.fixture(scope="module")
def tower() -> ClipTower:
    return build_tower(TowerSpec("tiny", None, resolution=48))


def test_templates_are_the_recorded_63() -> None:
    assert len(VILD63) == 63
    assert hashlib.sha256("\n".join(sorted(VILD63)).encode()).hexdigest().startswith("5523205f15f879e6")


def test_58_of_the_63_prompts_begin_with_this_is() -> None:
    filled = fill_prompts("cat")
    assert sum(text.startswith("This is ") for text in filled) == 58
    assert [t for t in filled if not t.startswith("This is ")] == [
        "There is a cat in the scene.",
        "There is the cat in the scene.",
        "itap of a cat.",
        "itap of my cat.",
        "itap of the cat.",
    ]


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("orange", "This is a photo of an orange."),
        ("Orange", "This is a photo of a orange."),
        ("wall-other_merged", "This is a photo of a wall-other merged."),
        ("cup/mug", "This is a photo of a cup or mug."),
        ("awning, sunshade...", "This is a photo of an awning, sunshade."),
        ("window ", "This is a photo of a window ."),
    ],
)
def test_names_are_filled_in_whole_and_the_article_follows_the_letter_as_written(name: str, prompt: str) -> None:
    assert fill_prompts(name, ["a photo of {article} {}."]) == [prompt]


def test_embedding_is_the_plain_mean_of_unit_vectors(tower: ClipTower) -> None:
    names = ["cat", "apple", "sky-other", "tree", "road, route"]
    found = category_embeddings(tower, names, templates=TEMPLATES)
    for name, embedding in zip(names, found, strict=True):
        expected = tower.text(fill_prompts(name, TEMPLATES), "{}").mean(dim=0)
        torch.testing.assert_close(embedding, expected)
    assert (found.norm(dim=-1) < 1).all()


def test_embeddings_are_read_where_they_are_kept_and_belong_to_one_text_encoder(
    tower: ClipTower, tmp_path: Path
) -> None:
    first = category_embeddings(tower, ["cat", "dog"], tmp_path, TEMPLATES)
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as kept:
        np.savez(file, features=np.full((2, 3), 7, np.float32), source=kept["source"])
    assert (category_embeddings(tower, ["cat", "dog"], tmp_path, TEMPLATES) == 7).all()
    other = build_tower(TowerSpec("tiny", None, resolution=48, seed=1))
    assert not torch.allclose(category_embeddings(other, ["cat", "dog"], tmp_path, TEMPLATES), first)
    assert embeddings_key(tower, ["cat"]) != embeddings_key(tower, ["dog"])
    assert embeddings_key(tower, ["cat"]) != embeddings_key(tower, ["cat"], TEMPLATES)


def test_image_weights_do_not_enter_the_key(tower: ClipTower) -> None:
    before = embeddings_key(tower, ["cat"], TEMPLATES)
    changed = build_tower(TowerSpec("tiny", None, resolution=48))
    with torch.no_grad():
        next(p for n, p in changed.named_parameters() if n.startswith("model.visual.")).add_(1)
    assert embeddings_key(changed, ["cat"], TEMPLATES) == before
