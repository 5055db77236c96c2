"""CLIP models a method can be built on instead of its profile's own, named ``SOURCE:WHAT`` on the command line.

``openclip`` and ``eva`` are always there. A package that makes better CLIPs announces a source of its own as an entry
point of the group ``repro.backbones``::

    [project.entry-points."repro.backbones"]
    clipself = "baselines.densevlm:CLIPSELF"

Nothing here imports torch; :mod:`repro.configuration.backbone` reads WHAT.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Literal

from repro.announced import announced
from repro.errors import UsageError, command, known_as

ENTRY_POINT_GROUP = "repro.backbones"
FORMS = "SOURCE:FILE, SOURCE:FOLDER, SOURCE:MODEL/TAG or SOURCE:MODEL/FILE"


@dataclasses.dataclass(frozen=True)
class BackboneSource:
    """One source of CLIP models: ``name`` is what stands before the colon, ``title`` what tables call its models.

    ``dense_residual`` is the residual its dense features were trained with (:class:`repro.clip.spec.TowerSpec`), None
    where it was trained on whole images only and the replaced tower's is kept. ``models`` are beginnings of the
    open_clip models it can be; empty: any.
    """

    name: str
    title: str
    dense_residual: Literal["cls", "token"] | None = None
    models: tuple[str, ...] = ()

    def check_model(self, model: str) -> None:
        """Raise UsageError where an open_clip ``model`` is not one of this source."""
        if self.models and not model.startswith(self.models):
            raise UsageError(
                f"{model} is not a model of {self.title}",
                expected=f"a model that begins with {' or '.join(self.models)}",
                found=model,
                mend=command("--backbone", f"openclip:{model}/.."),
            )


BUILT_IN = (BackboneSource("openclip", "OpenCLIP"), BackboneSource("eva", "EVA-CLIP", "token", ("EVA", "tiny-eva")))


@cache
def backbone_sources() -> dict[str, BackboneSource]:
    """Return all sources by name."""
    others = announced(ENTRY_POINT_GROUP, BackboneSource).values()
    return {source.name: source for source in (*BUILT_IN, *others)}


def split_backbone(text: str) -> tuple[BackboneSource, str]:
    """Return the source and what follows the colon of ``text``; UsageError for another form or an unknown source."""
    name, colon, what = text.partition(":")
    if not colon or not what:
        raise UsageError(
            f"a backbone is named by its source and a model, found {text!r}",
            expected=f"{FORMS}, with a source of {', '.join(backbone_sources())}",
            found=text,
            mend="docs/backbones.md",
        )
    return known_as("source of backbones", name, backbone_sources(), mend="docs/backbones.md"), what
