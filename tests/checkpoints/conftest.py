"""Fixtures of tests/support/checkpoint_files.py."""

from checkpoint_files import official, small, small_variant, tiny_clips

__all__ = ["official", "small", "small_variant", "tiny_clips"]
