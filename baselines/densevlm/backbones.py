"""Models aligned region by region, as sources of backbones: their dense features keep each token's own residual.

Their published files are those of the READMEs of github.com/wusize/CLIPSelf and github.com/HVision-NKU/DenseVLM.
"""

from __future__ import annotations

from repro.methods.backbones import BackboneSource
from repro.methods.released import ReleasedFile

_CLIPSELF_LICENCE = "NTU S-Lab License 1.0 (non-commercial)"
_DENSEVLM_LICENCE = "CC BY-NC 4.0"
_DENSEVLM_PAGE, _DENSEVLM_HUB = "https://github.com/HVision-NKU/DenseVLM", "lyhisme/DenseVLM"


def _clipself(name: str, title: str, file: str, drive: str) -> ReleasedFile:
    """Describe one of CLIPSelf's files, whose README links to Google Drive, one page per file."""
    return ReleasedFile(
        name,
        f"CLIPSelf {title}",
        file,
        f"https://drive.google.com/file/d/{drive}/view",
        licence=_CLIPSELF_LICENCE,
        why="its authors publish it on Google Drive, which wants a browser",
    )


CLIPSELF = BackboneSource(
    "clipself",
    "CLIPSelf",
    dense_residual="token",
    released=(
        _clipself(
            "clipself-vitb",
            "EVA02-CLIP-B/16, COCO, image patches (tower powerful-small of the paper profile)",
            "eva_vitb16_coco_clipself_patches.pt",
            "1Nz1xH7cbR8HEW40rMtYUn3PE5ypLw5vb",
        ),
        _clipself(
            "clipself-vitb-proposals",
            "EVA02-CLIP-B/16, COCO, region proposals",
            "eva_vitb16_coco_clipself_proposals.pt",
            "1Tf8gJWmbRnsX8verC6Ee7lK3Dm781p5M",
        ),
        _clipself(
            "clipself-vitl",
            "EVA02-CLIP-L/14@336, COCO, image patches",
            "eva_vitl14_coco_clipself_patches.pt",
            "1vycKoimE2-QHjzQFCXMc4YH-tfJq-GMT",
        ),
        _clipself(
            "clipself-vitl-proposals",
            "EVA02-CLIP-L/14@336, COCO, region proposals",
            "eva_vitl14_coco_clipself_proposals.pt",
            "1UQ3YpYeoXs4ESruUqrpWE4VwOD5UHp-S",
        ),
        _clipself(
            "clipself-vitb-lvis",
            "EVA02-CLIP-B/16, LVIS, image patches",
            "eva_vitb16_lvis_clipself_patches.pt",
            "1-yfrMVaS4aN5uZSYCTalhJ_Pq3j_2aT4",
        ),
        _clipself(
            "clipself-vitl-lvis",
            "EVA02-CLIP-L/14@336, LVIS, image patches",
            "eva_vitl14_lvis_clipself_patches.pt",
            "1_bQMw-R0tBgvFWAAJFi7RbAHN4-OYIz0",
        ),
        ReleasedFile(
            "clipself-vitl-densevlm",
            "CLIPSelf EVA02-CLIP-L/14@336, the model that names regions for DenseVLM (tower powerful)",
            "clipself_coco_6_save6_512_eva_vitl14_24layers.pt",
            _DENSEVLM_PAGE,
            hub=_DENSEVLM_HUB,
            licence=_DENSEVLM_LICENCE,
        ),
    ),
)
DENSEVLM = BackboneSource(
    "densevlm",
    "DenseVLM",
    dense_residual="token",
    released=(
        ReleasedFile(
            "densevlm-vitb",
            "DenseVLM EVA02-CLIP-B/16, COCO",
            "densevlm_coco_6_save6_512_eva_vib16_12layers.pt",
            _DENSEVLM_PAGE,
            hub=_DENSEVLM_HUB,
            licence=_DENSEVLM_LICENCE,
        ),
    ),
)
