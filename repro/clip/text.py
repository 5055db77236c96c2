"""Text features of a CLIP model, cached while its weights stay the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CACHED_VOCABULARIES = 16
BATCH = 256


def text_tower(model: Any) -> Any:
    """Return the module with the text transformer: open_clip's ``CLIP`` itself, or ``text`` of a ``CustomTextCLIP``."""
    return getattr(model, "text", model)


def encode_tokens(model: Any, tokens: Tensor) -> Tensor:
    """Return L2-normalised features (N, C) of token ids (N, context_length), given on the CPU, by an open_clip CLIP.

    Only as many positions run as the longest prompt has: with a causal mask the padding behind the end-of-text token
    cannot reach it, so that the result is exact.
    """
    text = text_tower(model)
    nested = text is not model
    pool = text.pool_type if nested else text.text_pool_type
    eos = text.eos_id if nested else text.text_eos_id
    if text.attn_mask is not None and pool == "argmax":
        tokens = tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]
    # Cut before the ids go to the model's device: reading the longest prompt back from a GPU would stall it.
    tokens = tokens.to(text.token_embedding.weight.device)
    length = tokens.shape[1]
    x = text.token_embedding(tokens)
    x = x + text.positional_embedding[:length].to(x.dtype)
    mask = None if text.attn_mask is None else text.attn_mask[:length, :length]
    for block in text.transformer.resblocks:
        x = block(x, attn_mask=mask)
    from open_clip.transformer import text_global_pool

    x = text.ln_final(text_global_pool(x, tokens, pool, eos_token_id=eos))
    if isinstance(text.text_projection, nn.Linear):
        x = text.text_projection(x)
    elif text.text_projection is not None:
        x = x @ text.text_projection
    return F.normalize(x, dim=-1)


class FeatureCache:
    """The last few results by key, valid for one state of the weights they were computed with."""

    def __init__(self, size: int = CACHED_VOCABULARIES) -> None:
        self._size = size
        self._state: Hashable = None
        self._items: OrderedDict[Hashable, Tensor] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()

    def get(self, key: Hashable, state: Hashable) -> Tensor | None:
        """Return the result stored under ``key``, if the weights are still in ``state``."""
        if state != self._state:
            self.clear()
            self._state = state
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: Hashable, value: Tensor) -> None:
        """Store ``value`` for the state last asked for, dropping the least recently used beyond the size."""
        self._items[key] = value
        while len(self._items) > self._size:
            self._items.popitem(last=False)


def weights_state(parameters: Sequence[nn.Parameter]) -> Hashable:
    """Return what changes whenever a parameter is written in place (optimiser step, loading), moved or replaced."""
    return tuple((id(p), p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters)


def autocast_state(device: torch.device) -> Hashable:
    """Return whether and to which type autocast casts on ``device``: keys differ with the precision."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
