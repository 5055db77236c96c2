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


def encode_tokens(model: Any, tokens: Tensor) -> Tensor:
    """L2-normalised features (N, C) of token ids (N, context_length), given on the CPU, by an open_clip CLIP.

    Only as many positions run as the longest prompt has: with a causal mask the padding behind the end-of-text token
    cannot reach it, so that the result is exact.
    """
    if model.attn_mask is not None and model.text_pool_type == "argmax":
        tokens = tokens[:, : int(tokens.argmax(dim=-1).max()) + 1]
    # Cut before the ids go to the model's device: reading the longest prompt back from a GPU would stall it.
    tokens = tokens.to(model.token_embedding.weight.device)
    length = tokens.shape[1]
    x = model.token_embedding(tokens)
    x = x + model.positional_embedding[:length].to(x.dtype)
    mask = None if model.attn_mask is None else model.attn_mask[:length, :length]
    for block in model.transformer.resblocks:
        x = block(x, attn_mask=mask)
    from open_clip.transformer import text_global_pool

    x = model.ln_final(text_global_pool(x, tokens, model.text_pool_type, eos_token_id=model.text_eos_id))
    if isinstance(model.text_projection, nn.Linear):
        x = model.text_projection(x)
    elif model.text_projection is not None:
        x = x @ model.text_projection
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
        """The result stored under ``key``, if the weights are still in ``state``."""
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
    """What changes whenever a parameter is written in place (optimiser step, loading), moved or replaced."""
    return tuple((id(p), p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters)


def autocast_state(device: torch.device) -> Hashable:
    """Whether and to which type autocast casts on ``device``: features of different precision are different keys."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
