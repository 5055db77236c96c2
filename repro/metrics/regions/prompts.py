"""Text embeddings of category names over 63 prompts (those of ViLD), as CLIPSelf and DenseVLM make them.

docs/specs/densevlm.md, section 3: a name is not split at its commas; underscores become blanks, slashes " or "; it is
lower case; the article follows the first letter of the name as written. The embedding is the mean of unit vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from repro.clip.text_cache import ROOTS, TextStore
from repro.clip.tower import ClipTower

_QUALITIES = ("bright", "dark", "low resolution", "cropped", "close-up", "jpeg corrupted", "blurry", "pixelated")
_SIZES = ("nice", "cool", "weird", "small", "large", "clean", "dirty", "hard to see")
VILD63: tuple[str, ...] = (
    *(f"There is {which} {{}} in the scene." for which in ("{article}", "the")),
    *(f"a photo of {which} {{}} in the scene." for which in ("{article}", "the", "one")),
    *(f"itap of {which} {{}}." for which in ("{article}", "my", "the")),
    *(f"a photo of {which} {{}}." for which in ("{article}", "my", "the", "one", "many")),
    *(
        f"a {quality} photo of {which} {{}}."
        for quality in ("good", "bad", *_QUALITIES, "black and white")
        for which in ("{article}", "the")
    ),
    *(f"a photo of {which} {size} {{}}." for size in _SIZES for which in ("a", "the")),
    *(f"{which} {kind} {{}}." for kind in ("plastic", "toy", "plushie", "cartoon") for which in ("a", "the")),
    *(f"{which} embroidered {{}}." for which in ("an", "the")),
    *(f"a painting of {which} {{}}." for which in ("a", "the")),
)
"""``{}`` stands for the name, ``{article}`` for "a" or "an"."""

_NAMES_AT_ONCE = 4


def fill_prompts(name: str, templates: Sequence[str] = VILD63) -> list[str]:
    """Return the prompts of one category; those that begin with "a" or "the" begin with "This is " instead."""
    article = "an" if name[:1] in tuple("aeiou") else "a"
    word = name.replace("_", " ").replace("/", " or ").lower().rstrip(".")
    texts = [template.replace("{article}", article).replace("{}", word) for template in templates]
    return [f"This is {text}" if text.startswith(("a", "the")) else text for text in texts]


@torch.no_grad()
def category_embeddings(
    tower: ClipTower, names: Sequence[str], cache: Path | None = None, templates: Sequence[str] = VILD63
) -> Tensor:
    """Return the mean of the unit embeddings of each name's prompts: float32 (N, C), NOT of unit length.

    ``cache`` is a folder in which they are kept under a hash of the prompts and the text encoder's weights: what was
    computed once is read, by whoever asks. Raises ValueError for no names.
    """
    if not names:
        raise ValueError("no category names to encode")

    def encode(some: Sequence[str]) -> Tensor:
        return torch.cat([m.float() for m in _encode(tower, [fill_prompts(name, templates) for name in some])])

    if cache is None:
        return encode(names)
    store, key = (
        TextStore(cache, (*ROOTS, "repro.metrics.regions.prompts:category_embeddings")),
        embeddings_key(tower, names, templates),
    )
    embeddings = store.get(key, names, encode)
    if embeddings is None:
        embeddings = encode(names)
        store.put(key, embeddings)
    return embeddings.to(tower.mean.device)


def _encode(tower: ClipTower, prompts: list[list[str]]) -> Iterator[Tensor]:
    for first in range(0, len(prompts), _NAMES_AT_ONCE):
        part = prompts[first : first + _NAMES_AT_ONCE]
        features = tower.text([text for texts in part for text in texts], "{}")
        yield features.unflatten(0, (len(part), -1)).mean(dim=1)


def embeddings_key(tower: ClipTower, names: Sequence[str], templates: Sequence[str] = VILD63) -> str:
    """Return 24 hex digits over every prompt and every tensor of the tower's text encoder."""
    state = hashlib.sha256()
    for name in names:
        state.update("\0".join(["", *fill_prompts(name, templates)]).encode())
    for name, tensor in sorted(tower.open_clip_state().items()):
        if not name.startswith("visual.") and name != "logit_scale":
            state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            state.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data if tensor.dim() else b"")
    return state.hexdigest()[:24]
