"""Reading images and label maps from disk, and refusing those that are damaged.

Images are read as detectron2 reads them, because the published numbers are: grey, palette and CMYK files become RGB by
Pillow's conversion, transparency is dropped. Sixteen-bit grey is scaled to eight bits (detectron2 would clip it).
Labels are read as stored: a mask has no orientation. So an image that has a label is read as stored too; one without is
turned as its EXIF orientation says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.palettes import check_palette
from repro.errors import DataError, command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from repro.datasets.benchmarks import Benchmark

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""
_MEND_FILE = "fetch the file again from its source, then repeat the command"


def unreadable(path: Path, found: object, kind: str = "image", mend: str = _MEND_FILE) -> DataError:
    """Return the error for a file that is absent, truncated or not of its kind."""
    if not path.exists():
        return DataError(f"{kind} {path} is absent", expected="a readable file", found="nothing", mend=mend)
    return DataError(f"{kind} {path} cannot be read", expected="a complete file", found=found, mend=mend)


def load_pillow(path: Path, kind: str = "image") -> Image.Image:
    """Return the decoded image in its own mode; DataError where the file is absent, truncated or no image."""
    from PIL import Image, ImageFile

    # Another library may have switched this on for the whole process; a truncated file would then be grey below.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, error, kind) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of an image file as stored, from its header alone; DataError where there is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unreadable(path, error) from error
    return height, width


def orientation(path: Path) -> int:
    """Return the EXIF orientation of an image, 1 where it has none or cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError):
        return 1


def check_upright(path: Path, mend: str) -> None:
    """Raise DataError for an image whose EXIF orientation exchanges height and width: other readers would turn it."""
    turn = orientation(path)
    if turn in _TURNED:
        raise DataError(
            f"image {path} is turned by its EXIF orientation ({turn}): readers exchange its height and width",
            expected="no EXIF orientation, or 1: labels are of the pixels as stored",
            found=f"orientation {turn}",
            mend=f"save {command(path)} without its EXIF orientation, its pixels as they are; then {mend}",
        )


def stored_image(path: Path, mend: str = "repeat the command") -> NDArray[np.uint8]:
    """Return an image that has a label, as uint8 RGB (H, W, 3), its pixels as they are stored: the label is of these.

    Raises DataError as :func:`read_image`, and where its EXIF orientation would exchange height and width.
    """
    check_upright(path, mend)
    return _rgb(load_pillow(path), path)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image without a label, upright uint8 RGB (H, W, 3); DataError where it is absent or damaged."""
    from PIL import ImageOps

    image = load_pillow(path)
    ImageOps.exif_transpose(image, in_place=True)
    return _rgb(image, path)


def _rgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        if image.mode == "F":
            _check_range(grey, path)
        if grey.max(initial=0) > 255:
            grey /= 257
        image = Image.fromarray(grey.clip(0, 255).round().astype(np.uint8))
    return np.array(image.convert("RGB"))


def _check_range(grey: NDArray[np.float64], path: Path) -> None:
    """Raise DataError for floating-point pixels whose range is not 0..255 or 0..65535.

    They are not scaled by a guess: a picture that ends at 1 may be a dark one of 0..255 as well, and by the brightest
    pixel of each the images of one set would be scaled differently.
    """
    import numpy as np

    low, high = (float(grey.min()), float(grey.max())) if grey.size else (0.0, 0.0)
    if not np.isfinite(grey).all() or low < 0 or 0 < high <= 1:
        raise DataError(
            f"image {path} has floating-point pixels in a range that is not an image's",
            expected="0 to 255 (8 bits) or 0 to 65535 (16 bits)",
            found=f"{low:g} to {high:g}",
            mend="save it with whole numbers of 8 or 16 bits (values of 0..1 times 255)",
        )


def read_label(path: Path) -> NDArray[Any]:
    """Return a label map (H, W), uint8 or uint16; DataError where the file is absent, truncated or of another form.

    A palette is accepted only in an order that vouches for the indices (:mod:`repro.datasets.palettes`).
    """
    import numpy as np

    image = load_pillow(path, "label")
    check_palette(image, path, "label", _MEND_FILE)
    label = np.asarray(image)
    if label.dtype == np.int32 and label.size and label.min() >= 0 and label.max() < 65536:
        label = label.astype(np.uint16)  # Pillow widens some 16-bit files
    if label.ndim != 2 or label.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"label {path} is no label map",
            expected="one channel of 8 or 16 bits",
            found=f"shape {label.shape}, {label.dtype}",
            mend=_MEND_FILE,
        )
    return label


def check_label(
    label: NDArray[Any], benchmark: Benchmark, path: Path, image_shape: tuple[int, ...] | None = None
) -> NDArray[np.int64]:
    """Check a prepared label (H, W) against the benchmark; returns the pixel count of every value present up to it.

    Raises DataError where the label differs in size from its image (``image_shape`` (H, W, ..)), or holds a value
    that is neither a class nor ignored; the error names the file, the value and the command that mends it.
    """
    import numpy as np

    mend = (
        command("repro", "data", "prepare", benchmark.id, "--data-root", "ROOT", "--again")
        if benchmark.described_by is None
        else benchmark.instructions
    )
    if image_shape is not None and tuple(label.shape) != tuple(image_shape[:2]):
        raise DataError(
            f"label {path} and its image differ in size",
            expected=f"{image_shape[0]}x{image_shape[1]} (height x width of the image)",
            found=f"{label.shape[0]}x{label.shape[1]}",
            mend=mend,
        )
    pixels = np.bincount(label.ravel())
    strange = np.flatnonzero(pixels[benchmark.num_classes : benchmark.ignore_label]) + benchmark.num_classes
    if strange.size:
        raise DataError(
            f"label {path} holds a value outside the vocabulary of {benchmark.id}",
            expected=benchmark.legal_labels(),
            found=", ".join(f"{v} ({pixels[v]} pixels)" for v in strange[:5]),
            mend=mend,
        )
    return pixels


def read_mask(path: Path, channels: int = 1) -> NDArray[np.uint8]:
    """Return an annotation of 8 bits, (H, W) or, of several ``channels``, (H, W, C). Raises DataError for another."""
    import numpy as np

    picture = load_pillow(path, "annotation")
    check_palette(picture, path, "annotation", f"fetch {path.name} again from its source")
    mask = np.asarray(picture)
    if mask.ndim != (2 if channels == 1 else 3) or mask.dtype != np.uint8:
        raise DataError(
            f"annotation {path} has an unexpected form",
            expected="8 bits, one channel" if channels == 1 else "8 bits, three channels",
            found=f"shape {mask.shape}, {mask.dtype}",
            mend=f"fetch {path.name} again from its source",
        )
    return mask
