"""CAT-Seg's weights under their official names and back: what reference and recordings are compared by."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from baselines.catseg.checkpoint import official_masks, official_name
from baselines.catseg.model import CatSeg


def to_official(method: CatSeg) -> dict[str, Tensor]:
    """The method's weights under official names, with the buffers the official modules store."""
    state = {official_name(name): tensor for name, tensor in method.state_dict().items()}
    return {**state, **official_masks(method.options, method.clip.grid)}


def from_official(method: CatSeg, state: Mapping[str, Tensor]) -> None:
    """Load official weights into ``method``; RuntimeError where one is absent, unknown or of another shape."""
    ours = {official_name(name): name for name in method.state_dict()}
    method.load_state_dict({ours.get(n, n): t for n, t in state.items() if not n.endswith("attn_mask")})
