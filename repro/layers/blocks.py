"""Blocks of a tower by how far through it they lie."""

from __future__ import annotations


def block_at(depth: int, part: int, parts: int) -> int:
    """Return the last block of the first ``part`` of ``parts`` equal parts of a tower of ``depth`` blocks, by index."""
    return max(0, depth * part // parts - 1)


def equal_parts(depth: int, count: int) -> tuple[int, ...]:
    """Return the indices of ``count`` blocks at equal distances: 3, 7 of 12 and 7, 15 of 24, as CAT-Seg's guides."""
    return tuple(block_at(depth, part, count + 1) for part in range(1, count + 1))
