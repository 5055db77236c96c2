"""Images with sets of labels for training: what a loss over image-level labels needs, and no mask."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from repro.captions.archive import safe_name
from repro.captions.labels import LabelledImage, load_vocabulary, parse_line, shard_files
from repro.datasets.images import read_image
from repro.errors import DataError, ReproError, command

MAX_IMAGE = 1 << 28
"""Bytes of the largest image that is read from an archive."""


class LabelSample(TypedDict):
    """A crop uint8 RGB (3, S, S), the labels of its image, and its position in the stream."""

    image: Tensor
    labels: tuple[str, ...]
    position: int


class LabelBatch(TypedDict):
    """Crops uint8 RGB (B, 3, S, S); ``present`` (B, N) bool: which of the N ``classes`` each has; positions (B,)."""

    image: Tensor
    present: Tensor
    classes: tuple[str, ...]
    position: Tensor


class LabelSet(Dataset["LabelSample | ReproError"]):
    """Crops of labelled images, by (index, position) as :class:`repro.training.sampler.StreamSampler` draws them.

    The shorter side is brought to ``side`` and a square of it cut out, mirrored every other time; where it is cut
    depends on seed and position alone. ``images`` is the folder the image names, or the archives, lie in. Only the
    places of the records in their files are kept in memory (12 bytes each). Labels in fewer than ``min_count`` records
    are left out, and images that then have none.

    An unreadable image is RETURNED as the DataError, as a training set does. Raises DataError
    where ``folder`` holds no finished labels or none is left.
    """

    def __init__(self, folder: Path, images: Path, side: int = 224, seed: int = 0, min_count: int = 1) -> None:
        self.images, self.side, self.seed = images, side, seed
        self.vocabulary = load_vocabulary(folder, min_count)
        self.files = shard_files(folder)
        self.most = 0
        """Labels of the image that has most."""
        files, offsets = [], []
        for number, path in enumerate(self.files):
            position = 0
            with path.open("rb") as stream:
                for line in stream:
                    if (record := parse_line(line, self.vocabulary)) is not None:
                        self.most = max(self.most, len(record.labels))
                        files.append(number)
                        offsets.append(position)
                    position += len(line)
        self._file, self._offset = np.array(files, dtype=np.uint32), np.array(offsets, dtype=np.uint64)
        if not files:
            raise DataError(
                f"no image of {folder} has a label",
                expected=f"a label in {min_count} records or more",
                found=f"{len(self.vocabulary)} such labels",
                mend="lower min_count",
            )

    def __len__(self) -> int:
        return len(self._file)

    def record(self, index: int) -> LabelledImage:
        """Return the image of number ``index`` with its labels."""
        with self.files[self._file[index]].open("rb") as stream:
            stream.seek(int(self._offset[index]))
            try:
                record = parse_line(stream.readline(), self.vocabulary)
            except (ValueError, LookupError, TypeError):  # no longer the beginning of a record
                record = None
        if record is None:
            raise DataError(
                f"{self.files[self._file[index]]} changed while it was read",
                mend="make the labels again, in another folder: "
                + command("repro", "data", "captions", "SOURCE", "--out", "DIR"),
            )
        return record

    def __getitem__(self, item: tuple[int, int]) -> LabelSample | ReproError:
        index, position = item
        try:
            record = self.record(index)
            pixels = self.load(record)
        except ReproError as error:
            return error
        crop = crop_square(pixels, self.side, np.random.default_rng((self.seed, position)))
        return {"image": torch.from_numpy(crop).permute(2, 0, 1), "labels": record.labels, "position": position}

    def load(self, record: LabelledImage) -> np.ndarray:
        """Return the uint8 RGB image (H, W, 3), upright; DataError where it cannot be read or is outside the folder."""
        name = record.archive or record.image
        if "://" in name or not safe_name(name):
            raise DataError(
                f"{name} is not a file below {self.images}",
                expected="the name of a file in that folder",
                found="an address" if "://" in name else "a path that leads elsewhere",
                mend="fetch the images into webdataset archives and make the labels from these (docs/captions.md)",
            )
        path = self.images / name
        if record.archive is None:
            return read_image(path)
        try:
            with path.open("rb") as stream:
                stream.seek(record.offset)
                content = stream.read(min(record.bytes, MAX_IMAGE))
            with Image.open(io.BytesIO(content)) as image:
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"image {record.image} cannot be read from {path}",
                expected=f"an image of {record.bytes:,} bytes at {record.offset:,}",
                found=error,
                mend="fetch the archive again, then make the labels again",
            ) from error


def crop_square(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a random ``side`` x ``side`` square of uint8 RGB (H, W, 3) with the shorter side brought to ``side``."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = (int(rng.integers(0, s - side + 1)) for s in resized.shape[:2])
    crop = resized[top : top + side, left : left + side]
    return np.array(crop[:, ::-1] if rng.integers(2) else crop)


def collate_labels(samples: Sequence[LabelSample | ReproError]) -> LabelBatch | ReproError:
    """Return a batch whose classes are the labels of its images, in order of appearance; or their first error."""
    good: list[LabelSample] = []
    for sample in samples:
        if isinstance(sample, ReproError):
            return sample
        good.append(sample)
    classes = {label: n for n, label in enumerate(dict.fromkeys(label for s in good for label in s["labels"]))}
    present = torch.zeros(len(good), len(classes), dtype=torch.bool)
    for row, sample in zip(present, good, strict=True):
        row[[classes[label] for label in sample["labels"]]] = True
    return {
        "image": torch.stack([s["image"] for s in good]),
        "present": present,
        "classes": tuple(classes),
        "position": torch.tensor([s["position"] for s in good]),
    }
