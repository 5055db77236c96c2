"""Predictions in one file per image: label pictures, or arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.images import load_pillow
from repro.datasets.palettes import check_palette
from repro.errors import DataError
from repro.hashing import digest, file_digest
from repro.interop.predictions import Numbers, Predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repro.datasets.benchmarks import Benchmark

PICTURES, ARRAYS = (".png", ".tif", ".tiff"), (".npz", ".npy")
_EIGHT_BITS = 256


class FilePredictions(Predictions):
    """One file per image: a label picture, or an array in an npz or npy file."""

    def __init__(self, source: Path, benchmark: Benchmark, numbers: Numbers, files: Mapping[str, Path]) -> None:
        super().__init__(source, benchmark, numbers)
        self.files = files

    @property
    def keys(self) -> Collection[str]:
        return self.files.keys()

    def content(self) -> str:
        return digest([[key, file_digest(path)] for key, path in sorted(self.files.items())], 16)

    def _refuse_eight_bits(self) -> None:
        raise DataError(
            f"the predictions in {self.source} have 8 bits, which hold {_EIGHT_BITS} classes",
            expected=f"16 bits or more for the {self.benchmark.num_classes} classes of {self.benchmark.id}",
            found="8 bits in every file: the numbers of later classes were cut off when they were saved",
            mend="save them as uint16 (mmsegmentation's output_dir and most scripts write uint8)",
        )


class PicturePredictions(FilePredictions):
    """Label pictures of one channel; a palette is accepted as in labels."""

    format = "label pictures"

    def check_depth(self) -> None:
        """Raise DataError where no picture has the bits its classes need; reads headers alone."""
        from PIL import Image

        if self.benchmark.num_classes <= _EIGHT_BITS:
            return
        for path in self.files.values():
            try:
                with Image.open(path) as image:
                    if image.mode not in ("L", "P"):
                        return
            except (OSError, ValueError):
                return  # said when it is read
        self._refuse_eight_bits()

    def _values(self, key: str, size: tuple[int, int]) -> tuple[NDArray[np.int64], str]:
        del size
        import numpy as np

        path = self.files[key]
        image = load_pillow(path, "prediction")
        check_palette(image, path, "prediction", "save class indices in one channel, without a palette")
        values = np.asarray(image)
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise DataError(
                f"prediction {path} is no label map",
                expected="one channel of class indices",
                found=f"mode {image.mode}, shape {values.shape}",
                mend="save class indices, not their colours or an overlay",
            )
        return values.astype(np.int64), f"prediction {path}"


class ArrayPredictions(FilePredictions):
    """An array of class indices per image, in an npz (the only one, or ``prediction``) or npy file."""

    format = "arrays"

    def _values(self, key: str, size: tuple[int, int]) -> tuple[NDArray[np.int64], str]:
        import numpy as np

        path = self.files[key]
        try:
            with path.open("rb") as stream:
                stored = np.load(stream, allow_pickle=False)
                if not isinstance(stored, np.ndarray):
                    names = list(stored.files)
                    stored = stored[names[0] if len(names) == 1 else "prediction"]
        except Exception as error:  # damage shows as zlib, zipfile, key and a dozen other errors
            raise DataError(
                f"prediction {path} cannot be read",
                expected="one array, or one called 'prediction' among several; no pickled objects",
                found=error,
                mend="np.savez_compressed(FILE, prediction=indices) with class indices (height, width)",
            ) from error
        values = stored.squeeze() if stored.ndim > len(size) else stored
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise DataError(
                f"prediction {path} is no array of class indices",
                expected="whole numbers, (height, width)",
                found=f"{stored.dtype}, shape {stored.shape}",
                mend="take the arg-max over the classes before saving: scores.argmax(0).astype('uint16')",
            )
        if values.dtype.itemsize == 1 and self.benchmark.num_classes > _EIGHT_BITS:
            self._refuse_eight_bits()
        return values.astype(np.int64), f"prediction {path}"
