"""The order of training samples as one global stream that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class StreamSampler(Sampler[tuple[int, int]]):
    """Yields (index, position): the sample drawn at each position of the stream, epoch after epoch.

    Position p lies in epoch p // size; each epoch is a permutation that depends on ``seed`` and the epoch alone, so
    the sample at any position is known without drawing those before it: a resumed training sets :attr:`start` and
    replays nothing. The dataset seeds its augmentation from the position. Of ``world`` processes, the one of number
    ``rank`` takes every ``world``-th position, so all of them together walk the same stream.

    Parameters: ``size`` samples in the set, ``total`` positions in the stream (iterations x batch x world).
    Raises ValueError for an empty set.
    """

    def __init__(self, size: int, total: int, seed: int, rank: int = 0, world: int = 1) -> None:
        if size < 1:
            raise ValueError("a stream needs at least one sample")
        self.size, self.total, self.seed, self.rank, self.world = size, total, seed, rank, world
        self.start = 0
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def index_at(self, position: int) -> int:
        """Return the sample at ``position``."""
        epoch, place = divmod(position, self.size)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(self.size)
            self._epoch = epoch
        return int(self._order[place])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for position in range(self.start + self.rank, self.total, self.world):
            yield self.index_at(position), position

    def __len__(self) -> int:
        return len(range(self.start + self.rank, self.total, self.world))
