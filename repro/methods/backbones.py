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
from repro.methods.released import ReleasedFile

ENTRY_POINT_GROUP = "repro.backbones"
FORMS = "SOURCE:FILE, SOURCE:FOLDER, SOURCE:MODEL/TAG or SOURCE:MODEL/FILE"


@dataclasses.dataclass(frozen=True)
class BackboneSource:
    """One source of CLIP models: ``name`` is what stands before the colon, ``title`` what tables call its models.

    ``dense_residual`` is the residual its dense features were trained with (:class:`repro.clip.spec.TowerSpec`), None
    where it was trained on whole images only and the replaced tower's is kept. ``models`` are beginnings of the
    open_clip models it can be; empty: any. ``released`` are published files of its models.
    """

    name: str
    title: str
    dense_residual: Literal["cls", "token"] | None = None
    models: tuple[str, ...] = ()
    released: tuple[ReleasedFile, ...] = ()

    def check_model(self, model: str) -> None:
        """Raise UsageError where an open_clip ``model`` is not one of this source."""
        if self.models and not model.startswith(self.models):
            raise UsageError(
                f"{model} is not a model of {self.title}",
                expected=f"a model that begins with {' or '.join(self.models)}",
                found=model,
                mend=command("--backbone", f"openclip:{model}/.."),
            )


# github.com/baaivision/EVA names the hub's repository, which publishes sizes and digests.
_EVA_PAGE = "https://huggingface.co/QuanSun/EVA-CLIP"
_EVA = (
    ReleasedFile(
        "eva02-clip-vitb",
        "EVA02-CLIP-B/16 in its authors' format",
        "EVA02_CLIP_B_psz16_s8B.pt",
        _EVA_PAGE,
        url=f"{_EVA_PAGE}/resolve/main/EVA02_CLIP_B_psz16_s8B.pt",
        sha256="4aab21dd652dc19aab7ff2302e5a07582d7838e8a3b26c80d697115fb0c6ddf0",
        size=299_522_626,
        licence="MIT",
    ),
    ReleasedFile(
        "eva02-clip-vitl",
        "EVA02-CLIP-L/14@336 in its authors' format",
        "EVA02_CLIP_L_336_psz14_s6B.pt",
        _EVA_PAGE,
        url=f"{_EVA_PAGE}/resolve/main/EVA02_CLIP_L_336_psz14_s6B.pt",
        sha256="84c3a17a228c567a155259b2245b0b59072bf7da510260a0a02ec54de6d50b05",
        size=856_461_210,
        licence="MIT",
    ),
)
BUILT_IN = (
    BackboneSource("openclip", "OpenCLIP"),
    BackboneSource("eva", "EVA-CLIP", "token", ("EVA", "tiny-eva"), _EVA),
)


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
