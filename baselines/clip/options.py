"""Options of zero-shot dense CLIP."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """Choices of the zero-shot baseline; what the last block computes is an option of the tower (TowerSpec)."""

    template: str = "A photo of a {} in the scene"
    """The prompt, the same as CAT-Seg's."""
    temperature: float | None = None
    """What cosines are divided by before the softmax over classes; None: the tower's own (about 0.01 for OpenAI's)."""
