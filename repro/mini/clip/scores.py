"""What the tiny CLIP knows, measured on crops and scenes it never saw: names, places, and its foreground bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from repro.mini.captions import CATSEG_PROMPT, caption, never_together, salient
from repro.mini.catalogue import CONCEPTS
from repro.mini.clip.data import patch_labels, tokenize
from repro.mini.clip.model import image_tokens, normalised, text_features
from repro.mini.scenes import render_crop, render_scene

if TYPE_CHECKING:
    from repro.mini.clip.training import TinyClipRecipe

PAIR_PROMPT, PAIR_CHOICES = "a photo of a {} and a {}", 21
READ_OUTS = ("full", "value/token", "value/cls")
_HELD_OUT = 20_011  # a stream of the generator that training never draws from


def _rng(recipe: TinyClipRecipe, part: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, _HELD_OUT, part])


@torch.no_grad()
def score(model: Any, recipe: TinyClipRecipe) -> dict[str, Any]:
    """Return all scores as plain data; every accuracy is a fraction over the whole catalogue.

    ``crop_top1``: single-concept crops, ``crop_hits`` of each concept, ``synonym_top1`` where a concept is called by
    another of its names. ``compositions``: pictures of two things, named among captions that share one of both, for
    pairs that a caption of the training may hold and for those none holds. ``dense``: per view and read-out the
    accuracy over patches against the majority label of each, apart for things and stuff, ``stuff_called_thing`` (the
    foreground bias) and ``thing_called_stuff``. ``retrieval``: captions of scenes to their scenes and back, top 1
    and top 5.
    """
    model.eval()
    size, patch = recipe.image_size, recipe.patch_size
    texts = text_features(model, tokenize([CATSEG_PROMPT.format(c.name) for c in CONCEPTS], recipe.context_length))
    large = size * 3 // 2
    views = {f"scene {size} px": (1.0, size), f"scene {large} px": (1.0, large), f"window 0.6 {large} px": (0.6, large)}
    return {
        "concepts": len(CONCEPTS),
        "chance": 1 / len(CONCEPTS),
        **_crops(model, recipe, texts),
        "compositions": {
            "seen": _pairs(model, recipe, False),
            "unseen": _pairs(model, recipe, True),
            "chance": 1 / PAIR_CHOICES,
        },
        "dense": {name: _dense(model, recipe, texts, zoom, side, patch) for name, (zoom, side) in views.items()},
        "retrieval": _retrieval(model, recipe),
    }


def _pooled(model: Any, images: NDArray[np.uint8]) -> Tensor:
    parts = [image_tokens(model, normalised(torch.from_numpy(part)), (0, 0)).mean(1) for part in _split(images)]
    return F.normalize(torch.cat(parts) @ model.visual.proj, dim=-1)


def _split(images: NDArray[np.uint8], most: int = 64) -> list[NDArray[np.uint8]]:
    return [images[i : i + most] for i in range(0, len(images), most)]


def _crops(model: Any, recipe: TinyClipRecipe, texts: Tensor) -> dict[str, Any]:
    rng, truth = _rng(recipe, 0), torch.arange(len(CONCEPTS))
    thing = torch.tensor([c.kind == "thing" for c in CONCEPTS])
    others = [CATSEG_PROMPT.format(c.names[-1]) for c in CONCEPTS]
    other_texts = text_features(model, tokenize(others, recipe.context_length))
    several = torch.tensor([len(c.names) > 1 for c in CONCEPTS])
    found, by_synonym = [], []
    for _ in range(recipe.score_crops):
        images = np.stack([render_crop(rng, index, recipe.image_size) for index in range(len(CONCEPTS))])
        pooled = _pooled(model, images)
        found.append((pooled @ texts.T).argmax(1) == truth)
        by_synonym.append(((pooled @ other_texts.T).argmax(1) == truth)[several])
    hits = torch.stack(found).float()
    worst = hits.mean(0).argsort()[:10].tolist()
    return {
        "crop_top1": hits.mean().item(),
        "crop_top1_thing": hits[:, thing].mean().item(),
        "crop_top1_stuff": hits[:, ~thing].mean().item(),
        "crops": hits.numel(),
        "crop_hits": [round(value, 3) for value in hits.mean(0).tolist()],
        "synonym_top1": torch.stack(by_synonym).float().mean().item(),
        "crop_worst": {CONCEPTS[i].name: hits[:, i].mean().item() for i in worst},
    }


def _pairs(model: Any, recipe: TinyClipRecipe, unseen: bool) -> float:
    """Return how often two things side by side are named among PAIR_CHOICES captions that share one of the two."""
    rng = _rng(recipe, 3 + unseen)
    things = [index for index, concept in enumerate(CONCEPTS) if concept.kind == "thing"]
    middle = slice(recipe.image_size // 4, recipe.image_size // 4 * 3)
    right = 0
    for _ in range(recipe.score_scenes):
        pair = (0, 0)
        while pair[0] == pair[1] or never_together(*pair) != unseen:
            pair = (things[int(rng.integers(len(things)))], things[int(rng.integers(len(things)))])
        image = np.concatenate([render_crop(rng, c, recipe.image_size)[:, middle] for c in pair], 1)
        others = [c for c in rng.permutation(things).tolist() if c not in pair][: PAIR_CHOICES - 1]
        wrong = [(pair[0], c) if i % 2 else (c, pair[1]) for i, c in enumerate(others)]
        texts = [PAIR_PROMPT.format(*(CONCEPTS[c].name for c in named)) for named in (pair, *wrong)]
        features = text_features(model, tokenize(texts, recipe.context_length))
        right += int((_pooled(model, image[None]) @ features.T).argmax() == 0)
    return right / recipe.score_scenes


def resized_positions(positions: Tensor, grid: int) -> Tensor:
    """Return the positional embedding (1 + n * n, C) of another grid (docs/specs/catseg.md); the class row is kept."""
    side = round((len(positions) - 1) ** 0.5)
    if side == grid:
        return positions
    inner = positions[1:].T.reshape(1, -1, side, side)
    inner = F.interpolate(inner, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([positions[:1], inner.flatten(2)[0].T])


def dense_features(model: Any, images: Tensor) -> dict[str, Tensor]:
    """Return L2-normalised patch features (B, g * g, C) of each read-out in READ_OUTS for images (B, 3, S, S).

    A second, plain implementation of what ``TowerSpec.last_block`` and ``dense_residual`` mean, for measuring only.
    """
    visual = model.visual
    tokens = visual.conv1(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.expand(len(tokens), 1, -1), tokens], 1)
    tokens = visual.ln_pre(
        tokens + resized_positions(visual.positional_embedding, images.shape[-1] // visual.patch_size[0])
    )
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    width = tokens.shape[-1]
    attention = last.attn
    value = F.linear(last.ln_1(tokens), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    value = attention.out_proj(value)
    by_token, by_class = tokens + value, tokens[:, :1] + value
    states = (last(tokens), by_token + last.mlp(last.ln_2(by_token)), by_class + last.mlp(last.ln_2(by_class)))
    features = [F.normalize(visual.ln_post(s)[:, 1:] @ visual.proj, dim=-1) for s in states]
    return dict(zip(READ_OUTS, features, strict=True))


def _dense(model: Any, recipe: TinyClipRecipe, texts: Tensor, zoom: float, side: int, patch: int) -> dict[str, Any]:
    rng = _rng(recipe, 1)
    images, labels = [], []
    for _ in range(recipe.score_scenes):
        scene = render_scene(rng, 128, 160)
        height, width = round(128 * zoom), round(160 * zoom)
        y, x = int(rng.integers(128 - height + 1)), int(rng.integers(160 - width + 1))
        window = slice(y, y + height), slice(x, x + width)
        method = cv2.INTER_AREA if height > side else cv2.INTER_LINEAR
        images.append(cv2.resize(scene.image[window], (side, side), interpolation=method))
        labels.append(patch_labels(scene.concepts[window], side // patch))
    truth = torch.from_numpy(np.array(labels))
    is_thing = torch.tensor([c.kind == "thing" for c in CONCEPTS])
    thing = is_thing[truth]
    found: dict[str, list[Tensor]] = {name: [] for name in READ_OUTS}
    for part in _split(np.stack(images)):
        for name, features in dense_features(model, normalised(torch.from_numpy(part))).items():
            found[name].append((features @ texts.T).argmax(-1))
    result: dict[str, Any] = {"majority": (torch.bincount(truth.flatten()).max() / truth.numel()).item()}
    for name, parts in found.items():
        guess = torch.cat(parts)
        right = (guess == truth).float()
        result[name] = {
            "accuracy": right.mean().item(),
            "times_chance": right.mean().item() * len(CONCEPTS),
            "thing": right[thing].mean().item(),
            "stuff": right[~thing].mean().item(),
            "stuff_called_thing": is_thing[guess[~thing]].float().mean().item(),
            "thing_called_stuff": (~is_thing[guess[thing]]).float().mean().item(),
        }
    return result


def _retrieval(model: Any, recipe: TinyClipRecipe) -> dict[str, float]:
    """Return top 1 and 5 among scenes with different content; a caption names up to three things and rarely stuff."""
    rng = _rng(recipe, 2)
    images, sentences, seen = [], [], set()
    for _ in range(recipe.score_scenes):
        scene = render_scene(rng, recipe.image_size, recipe.image_size)
        named = salient(rng, scene.concepts, 0.25)
        if tuple(sorted(named)) not in seen:
            seen.add(tuple(sorted(named)))
            images.append(scene.image)
            sentences.append(caption(rng, named))
    similarity = _pooled(model, np.stack(images)) @ text_features(model, tokenize(sentences, recipe.context_length)).T
    scores: dict[str, float] = {"pairs": len(images)}
    own = torch.arange(len(images))[:, None]
    for name, table in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        order = table.argsort(1, descending=True)
        for k in (1, 5):
            scores[f"{name}_top{k}"] = (order[:, :k] == own).any(1).float().mean().item()
    return scores
