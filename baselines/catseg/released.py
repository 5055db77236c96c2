"""The checkpoints that CAT-Seg's authors published, at the addresses in the README of github.com/cvlab-kaist/CAT-Seg.

Sizes and digests are those of the hub's own records of the two files (commit de5f330 of the space).
"""

from repro.methods.released import ReleasedFile

_PAGE = "https://github.com/cvlab-kaist/CAT-Seg"
_FILES = "https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main"
_LICENCE = "MIT (the code's; none is stated for the weights)"

RELEASED = (
    ReleasedFile(
        "catseg-vitb",
        "CAT-Seg (B), CLIP ViT-B/16",
        "model_base.pth",
        _PAGE,
        url=f"{_FILES}/model_base.pth",
        sha256="a201a50f94f4c04196e3083773832b736c2b8b81d27ea2c59cc13af3aff05760",
        size=819_132_441,
        licence=_LICENCE,
    ),
    ReleasedFile(
        "catseg-vitl",
        "CAT-Seg (L), CLIP ViT-L/14@336",
        "model_large.pth",
        _PAGE,
        url=f"{_FILES}/model_large.pth",
        sha256="80722f4b328161aa15d25d278e832a824b72af4486b013f664757ae7cc020f61",
        size=2_298_213_993,
        licence=_LICENCE,
    ),
)
