"""What chance could have done: bootstrap over images and seeds, paired tests, corrections (docs/statistics.md)."""

RESAMPLES = 2000
"""Draws of images behind an interval."""
