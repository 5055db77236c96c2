"""A method of ours on any data set of detectron2's catalogue, in the run store as every evaluation is."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from repro.api import load
from repro.api.model import Model
from repro.api.prediction import ZERO_SHOT
from repro.api.running import evaluate_opened
from repro.api.sets import OpenedSet
from repro.console import Log, log
from repro.hashing import digest, file_digest
from repro.interop.detectron2.catalogue import data_set_of, pairs_of
from repro.requests import RunRequest


def evaluate_catalogue(
    model: Model | str | RunRequest,
    name: str,
    *,
    measures: Sequence[str] = (),
    limit: int | None = None,
    log: Log = log,
    **words: Any,
) -> dict[str, Any]:
    """Evaluate ``model`` on the data set ``name`` of the catalogue and return the row of ``repro eval --json``.

    ``model``: what :func:`repro.load` gave, or a method with the ``words`` for it. A finished evaluation is read.
    Raises UsageError for an unknown name, DataError for labels that cannot be counted.
    """
    loaded = model if isinstance(model, Model) else load(model, **words)
    weights = "own" if loaded.weights == ZERO_SHOT else loaded.weights
    opened = open_set(name, limit=limit)
    return evaluate_opened(loaded.run, loaded.method, weights, opened, tuple(measures), loaded.device, log)


def open_set(name: str, *, limit: int | None = None) -> OpenedSet:
    """Open a data set of the catalogue. ``name`` may be ``MODULE:NAME``: the module that registers it is imported.

    What its content is known by is read from all its files.
    """
    module, _, inner = name.rpartition(":")
    if module:
        importlib.import_module(module)
    data_set, pairs = data_set_of(inner), pairs_of(inner)
    taken = pairs[:limit]
    content = digest([[p.key, file_digest(p.image), file_digest(p.label)] for p in taken], 16)
    key = content + (f" first {len(taken)}" if len(taken) < len(pairs) else "")
    keys = tuple(pair.key for pair in pairs)
    return OpenedSet(data_set, taken, key, "labels as detectron2's catalogue has them", keys, drawn=False)
