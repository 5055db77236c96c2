"""Harness for open-vocabulary segmentation: trains methods under one pipeline, evaluates them under one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.api import add_data_set as add_data_set
    from repro.api import compare as compare
    from repro.api import evaluate as evaluate
    from repro.api import load as load
    from repro.api import predict as predict
    from repro.api import run_table as run_table
    from repro.api import train as train

__version__ = "0.2.0"
_API = ("add_data_set", "compare", "evaluate", "load", "predict", "run_table", "train")


def __getattr__(name: str) -> Any:
    """Import the library when one of its functions is first asked for: ``repro --help`` needs none of it."""
    if name in _API:
        from repro import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
