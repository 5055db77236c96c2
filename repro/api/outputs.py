"""Which images ``repro predict`` is asked for, where their outputs go, and which of them are there already."""

from __future__ import annotations

import dataclasses
import errno
import glob
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.errors import DataError, ResourceError, UsageError, command
from repro.hashing import digest, file_digest

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""What is taken from a folder or a pattern; a file that is named is read whatever its ending."""


@dataclasses.dataclass(frozen=True)
class Target:
    """An image and the files written for it: ``stem`` is what their paths have in common."""

    image: Path
    stem: Path

    @property
    def label(self) -> Path:
        return self._file("_label.png")

    @property
    def overlay(self) -> Path:
        return self._file("_overlay.png")

    @property
    def probabilities(self) -> Path:
        return self._file("_probabilities.npz")

    @property
    def sidecar(self) -> Path:
        """The JSON file, written last: where it is, the others are complete."""
        return self._file(".json")

    def files(self, save_probs: bool) -> list[Path]:
        """Return what is written, the sidecar last."""
        return [self.label, self.overlay, *([self.probabilities] if save_probs else []), self.sidecar]

    def check_names(self, save_probs: bool) -> None:
        """Raise UsageError where a file would be written whose name is longer than the file system takes."""
        for path in self.files(save_probs):
            if name_too_long(path):
                raise UsageError(
                    f"the name of an output of {self.image} is too long",
                    expected="output names that the file system takes, mostly up to 255 bytes",
                    found=f"{len(os.fsencode(path.name))} bytes in {path.name}",
                    mend="give the image a shorter name, or name a folder with a shorter path with --out",
                )

    def finished(self, key: str, save_probs: bool) -> dict[str, Any] | None:
        """Return the sidecar where everything is there and was made under ``key``.

        Raises UsageError where a file is in the way that was not.
        """
        there = [path for path in self.files(save_probs=True) if not name_too_long(path) and path.exists()]
        if not there:
            return None
        record = self._record()
        if record.get("key") != key:
            raise UsageError(
                f"{there[0]} exists and was not made by this command from these inputs",
                expected="no file of this name, or one made with the same image, classes, weights and settings",
                found="another key in its JSON file" if record else f"no record of an earlier call at {self.sidecar}",
                mend="--overwrite to replace it, or --out with another folder",
            )
        return record if set(self.files(save_probs)) <= set(there) else None

    def _record(self) -> dict[str, Any]:
        try:
            record = json.loads(self.sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _file(self, ending: str) -> Path:
        return self.stem.with_name(self.stem.name + ending)


def name_too_long(path: Path) -> bool:
    """Tell whether the file system of ``path`` takes no file of this name."""
    try:
        path.lstat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def find_targets(arguments: Sequence[str], out: Path) -> list[Target]:
    """Find the images that files, folders and patterns name, each once and in order, with their outputs below ``out``.

    Outputs are named after the image without its ending; images that share this name get a digest of their path as
    well. Raises DataError where nothing is found, UsageError where outputs would replace or mix with the images.
    """
    images: dict[Path, Path] = {}
    for argument in arguments:
        collected = not Path(argument).is_file()
        for path in _collect(argument) if collected else [Path(argument)]:
            if collected and path.resolve().parent == out.resolve():
                raise UsageError(
                    f"--out is among the images: the next call would take its label maps for images ({path})",
                    expected="an output folder that --image does not search",
                    found=out,
                    mend=command("--out", out / "predictions"),
                )
            images.setdefault(path.resolve(), path)
    shared = Counter(path.stem.casefold() for path in images.values())
    targets = []
    for place, path in images.items():
        suffix = f"-{digest(str(place), 8)}" if shared[path.stem.casefold()] > 1 else ""
        targets.append(Target(path, out / (path.stem + suffix)))
    for target in targets:
        for file in target.files(save_probs=True):
            if file.resolve() in images:
                raise UsageError(
                    f"the output {file} of {target.image} would replace an image",
                    expected="an output folder without the images",
                    found=out,
                    mend=command("--out", out / "predictions"),
                )
    return targets


def _collect(argument: str) -> list[Path]:
    if Path(argument).is_dir():
        found = sorted(Path(argument).iterdir())
    elif glob.has_magic(argument):
        # Path.glob takes no absolute pattern.
        found = [Path(hit) for hit in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
    else:
        raise DataError(
            f"image {argument} is absent",
            expected="a file, a folder, or a pattern such as 'photos/*.jpg'",
            found="nothing",
            mend="check --image",
        )
    images = [p for p in found if p.is_file() and p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not images:
        raise DataError(
            f"no image in {argument}",
            expected=f"files ending in {', '.join(SUFFIXES)}",
            found=f"{len(found)} other entries" if found else "nothing",
            mend="check --image; a pattern needs quotes",
        )
    return images


def image_digest(path: Path) -> str:
    """Return a digest of the file; "unreadable" where it cannot be opened (decoding says why)."""
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"


def make_folder(out: Path) -> None:
    """Make ``out``; ResourceError where it cannot be made or written to."""
    trial = out / ".repro-predict"
    try:
        out.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ResourceError(
            f"cannot write into {out}",
            expected="a folder this user may write to",
            found=error.strerror or error,
            mend="name another folder with --out",
        ) from error
