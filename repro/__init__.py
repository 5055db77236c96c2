"""Harness for open-vocabulary segmentation: trains methods under one pipeline, evaluates them under one protocol."""

from __future__ import annotations

__version__ = "0.2.0"
