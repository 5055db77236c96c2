"""Pictures on disk: each appears under its own name only when it is whole."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from repro.files import storage_errors

JPEG_QUALITY = 95
"""Of drawn photographs."""


def write_picture(path: Path, pixels: NDArray[Any], **options: Any) -> None:
    """Write an array as the format of the file's ending, under a temporary name first; folders are made."""
    stream = io.BytesIO()
    kind = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG"}[path.suffix]
    if kind == "PNG":
        options = {"compress_level": 1, "compress_type": zlib.Z_RLE, **options}  # smaller and faster for label maps
    Image.fromarray(pixels).save(stream, kind, **options)
    write_bytes(path, stream.getbuffer())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` under a temporary name, then rename. Not forced to disk one by one: a set has 118,287 files."""
    partial = path.with_name(f".{path.name}.partial")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.unlink(missing_ok=True)  # were it a link, its target would be written
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def write_photograph(path: Path, image: NDArray[Any]) -> None:
    """Write a drawn image (H, W, 3) in the format of the file's ending."""
    if path.suffix == ".jpg":
        # 4:4:4: halved colour resolution would blur textures that are a few pixels wide at these sizes.
        write_picture(path, image, quality=JPEG_QUALITY, subsampling=0)
    else:
        write_picture(path, image)
