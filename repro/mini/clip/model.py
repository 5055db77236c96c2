"""The tiny CLIP's model: open_clip's CLIP class, its start from data, and the two towers on parts of their input."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.clip.names import HUB_FILES
from repro.clip.positions import resize_position
from repro.clip.weights import load_state
from repro.errors import WeightsError
from repro.mini.clip.data import Batch, PairStream
from repro.runtime import import_torchvision

if TYPE_CHECKING:
    from repro.mini.clip.training import Phase, TinyClipRecipe

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# Patches of the background contradict their caption: a sharper softmax would spend the learned scale on them.
_PATCH_SCALE = 10.0
_FIRST_SCALE = 20.0
_WORD_SCALE = 15.0
# How sharply a word picks the patches that answer it. Softer, the ground around a thing learns the thing's name: with
# 10 instead of 60, 86 % of stuff patches were called things.
_WORD_FOCUS = 60.0
_REGION_SCALE = 20.0
_FLOOR = 0.03  # added to the variances of whitened patch components, about that of the image noise


def normalised(images: Tensor) -> Tensor:
    """Convert (B, S, S, 3) uint8 to (B, 3, S, S) float, standardised as ``preprocess_cfg`` says."""
    mean, std = torch.tensor(MEAN) * 255, torch.tensor(STD) * 255
    return ((images.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def build(recipe: TinyClipRecipe) -> Any:
    """Return open_clip's CLIP of the recipe's shape, initialised from its seed and from its first images.

    The patch embedding starts as a whitening of image patches, else luminance, which holds nearly all their variance,
    drowns texture. The last norm of each tower starts with the bias that centres its features, else all pairs are
    alike at first and many steps go into a common offset.
    """
    import_torchvision()
    from open_clip.model import CLIP

    torch.manual_seed(recipe.seed)
    model = CLIP(**recipe.config()["model_cfg"])
    model.token_embedding.sparse = True
    stream = PairStream(recipe)
    batches = [stream[step] for step in range(min(12, recipe.steps))]
    with torch.no_grad():
        model.logit_scale.fill_(math.log(_FIRST_SCALE))
        _whiten(model.visual.conv1.weight, batches)
        tokens = image_tokens(model, normalised(batches[0].images), (0, 0))
        model.visual.ln_post.bias.copy_(-tokens.mean((0, 1)))
        model.ln_final.bias.copy_(-_text_states(model, batches[0].tokens).mean(0))
    return model


def load(folder: Path, recipe: TinyClipRecipe) -> Any:
    """Return the trained CLIP that lies in ``folder``. Raises WeightsError where its weights do not fit the recipe."""
    import_torchvision()
    from open_clip.model import CLIP

    model = CLIP(**recipe.config()["model_cfg"])
    try:
        model.load_state_dict(load_state(folder / HUB_FILES[1]))
    except RuntimeError as error:
        raise WeightsError(f"{folder} does not hold a tiny CLIP of this recipe", found=str(error)) from error
    return model.eval()


def _whiten(weight: Tensor, batches: list[Batch]) -> None:
    side = weight.shape[-1]
    columns = [F.unfold(normalised(b.images), side, stride=side // 2).transpose(1, 2).flatten(0, 1) for b in batches]
    patches = torch.cat(columns)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    values, vectors = values.flip(0)[: len(weight)], vectors.flip(1)[:, : len(weight)]
    filters = (vectors / (values + _FLOOR).sqrt()).T
    weight[: len(filters)] = filters.reshape(-1, *weight.shape[1:])


def image_tokens(model: Any, images: Tensor, corner: tuple[int, int], kept: Tensor | None = None) -> Tensor:
    """Return patch tokens (B, g * g, width) after the final norm; images (B, 3, S, S) may be smaller than the model's.

    A small image is a part of a picture: its positions are those of the sub-grid whose upper left patch is ``corner``.
    A large one has the positions resized, as dense prediction has them.
    ``kept`` are the indices of the patches to look at, all where it is None. For a full-size image with all of them
    this is what open_clip's own tower computes.
    """
    visual = model.visual
    states = visual.transformer.resblocks[-1](_before_last_block(visual, images, corner, kept))
    patches: Tensor = visual.ln_post(states)[:, 1:]
    return patches


def both_read_outs(
    model: Any, images: Tensor, corner: tuple[int, int], kept: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return :func:`image_tokens`, and the same read out as dense prediction reads them (``value``, ``token``)."""
    visual = model.visual
    states, last = _before_last_block(visual, images, corner, kept), visual.transformer.resblocks[-1]
    width, attention = states.shape[-1], last.attn
    value = F.linear(last.ln_1(states), attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :])
    dense = states + attention.out_proj(value)
    dense = dense + last.mlp(last.ln_2(dense))
    return visual.ln_post(last(states))[:, 1:], visual.ln_post(dense)[:, 1:]


def _before_last_block(visual: Any, images: Tensor, corner: tuple[int, int], kept: Tensor | None) -> Tensor:
    positions = visual.positional_embedding
    grid, part = visual.grid_size[0], images.shape[-1] // visual.patch_size[0]
    if part > grid:
        inner = resize_position(positions, (grid, grid), (part, part))[1:]
    else:
        y, x = corner
        inner = positions[1:].view(grid, grid, -1)[y : y + part, x : x + part].reshape(part * part, -1)
    tokens = visual.conv1(images).flatten(2).transpose(1, 2)
    first = (visual.class_embedding + positions[0]).expand(len(tokens), 1, -1)
    tokens = tokens + inner
    if kept is not None:
        tokens = tokens[:, kept]
    states: Tensor = visual.ln_pre(torch.cat([first, tokens], 1))
    for block in visual.transformer.resblocks[:-1]:
        states = block(states)
    return states


def _text_states(model: Any, tokens: Tensor) -> Tensor:
    """Return the state (N, width) at the end-of-text token; columns after the longest caption may be missing."""
    length = tokens.shape[1]
    states = model.token_embedding(tokens) + model.positional_embedding[:length]
    states = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
    picked: Tensor = states[torch.arange(len(tokens)), tokens.argmax(-1)]
    return picked


def text_features(model: Any, tokens: Tensor) -> Tensor:
    """Return L2-normalised text features (N, C) of token ids (N, L), L at most the context length."""
    return F.normalize(_text_states(model, tokens) @ model.text_projection, dim=-1)


def training_loss(model: Any, batch: Batch, corner: tuple[int, int], kept: Tensor | None, phase: Phase) -> Tensor:
    """Return the symmetric loss of CLIP and, weighted as ``phase`` says, those of single patches.

    Pairs of equal content are positives of each other. ``patch_weight``: every patch of an image is asked for its
    caption. ``word_weight``: every word of a caption is matched with the patches that answer it best. ``list_weight``:
    every patch is asked for any of the words, where the caption lists all that is there. No pixel label enters these.
    ``region_weight``: the patches of every region are asked for its concept (:func:`region_loss`).
    """
    by_word = bool(phase.word_weight or phase.list_weight or phase.region_weight)
    images = normalised(batch.images)
    tokens, dense = (
        both_read_outs(model, images, corner, kept) if by_word else (image_tokens(model, images, corner, kept), None)
    )
    projection = model.visual.proj
    pooled = F.normalize(tokens.mean(1) @ projection, dim=-1)
    texts = text_features(model, batch.tokens)
    scale = model.logit_scale.exp()
    target = (batch.groups[:, None] == batch.groups[None]).float()
    target = target / target.sum(1, keepdim=True)
    logits = scale * pooled @ texts.T
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    if phase.patch_weight:
        answers = _PATCH_SCALE * F.normalize(tokens @ projection, dim=-1) @ texts.T
        per_patch = F.cross_entropy(answers.flatten(0, 1), target.repeat_interleave(tokens.shape[1], 0))
        loss = loss + phase.patch_weight * per_patch
    if dense is not None:
        patches, words = F.normalize(dense @ projection, dim=-1), text_features(model, batch.words)
        likeness = patches @ words.T
        if phase.word_weight:
            loss = loss + phase.word_weight * word_loss(likeness, batch.named)
        if phase.list_weight:
            loss = loss + phase.list_weight * list_loss(likeness, batch.named, batch.listed)
        if phase.region_weight:
            cover = batch.cover if kept is None else batch.cover[:, kept]
            loss = loss + phase.region_weight * region_loss(patches, words, batch.regions, cover)
    return loss


def word_loss(likeness: Tensor, named: Tensor) -> Tensor:
    """Return the cross-entropy over words of the patches that answer each named word best, its mean over images.

    ``likeness`` (B, N, W) are cosines of patches and words, ``named`` (M, 2) pairs (image, word). Patches are weighted
    by a softmax over their own cosines, through which no gradient flows; the words of an image share its weight.
    """
    image, word = named.T
    own = F.log_softmax(_WORD_SCALE * likeness, -1)[image, :, word]
    weights = (_WORD_FOCUS * likeness.detach()[image, :, word]).softmax(-1)
    per_word = -(weights * own).sum(-1)
    share = 1 / torch.bincount(image, minlength=len(likeness)).to(likeness)
    return (per_word * share[image]).sum() / len(likeness)


def list_loss(likeness: Tensor, named: Tensor, listed: Tensor) -> Tensor:
    """Return minus the log of the probability that a patch is one of its image's words, its mean over all patches.

    ``likeness`` and ``named`` as in :func:`word_loss`; only images that are ``listed`` (B,) count, 0 without any.
    """
    if not listed.any():
        return likeness.new_zeros(())
    among = torch.zeros(len(likeness), likeness.shape[2], dtype=torch.bool)
    among[named[:, 0], named[:, 1]] = True
    probabilities = F.log_softmax(_WORD_SCALE * likeness[listed], -1)
    return -probabilities.masked_fill(~among[listed][:, None], -math.inf).logsumexp(-1).mean()


def region_loss(patches: Tensor, words: Tensor, regions: Tensor, cover: Tensor) -> Tensor:
    """Return the cross-entropy over ``words`` (W, C) of the mean patch of each region, its mean over regions.

    ``patches`` (B, N, C), as ``words``, are L2-normalised; ``regions`` (R, 2) are pairs (image, word), ``cover``
    (R, N) their shares of the patches. Regions count alike, however small: over patches, most of which are stuff, the
    patch that a small thing shares with its ground learns to be the ground. Regions without a patch are left out.
    """
    there = cover.sum(1) > 0
    image, word = regions[there].T
    pooled = F.normalize((cover[there, None] @ patches[image])[:, 0], dim=-1)
    return F.cross_entropy(_REGION_SCALE * pooled @ words.T, word)
