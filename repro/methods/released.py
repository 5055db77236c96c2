"""Files of weights that other people publish: what ``repro weights`` lists and fetches, as plain data (no torch)."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ReleasedFile:
    """One published file. A method (:class:`repro.methods.MethodEntry`) or a source of backbones lists its own.

    ``name`` is what ``repro weights NAME`` takes, ``title`` what the file is for, ``file`` its published name, ``page``
    the address where its owners describe it. It comes from ``url``, or from the repository ``hub`` of the Hugging Face
    hub, where it is found by its name; without both it is fetched by hand, and ``why`` says why. ``size`` (bytes),
    ``sha256`` and ``licence`` are as published: 0 and empty where nothing is. Of a file of the hub the hub says both.
    """

    name: str
    title: str
    file: str
    page: str
    url: str = ""
    hub: str = ""
    sha256: str = ""
    size: int = 0
    licence: str = ""
    why: str = ""
