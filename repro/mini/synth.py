"""The whole miniature on disk: every set in its source format below one data root.

A picture depends on the seed, its set and its number alone, so the result is the same for any number of processes.
MANIFEST.json is written last: a folder without it was interrupted and is drawn anew, a finished one is used again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.data_set import DataSet
from repro.datasets.parallel import parallel
from repro.datasets.registry import data_sets
from repro.errors import DataError, UsageError
from repro.files import read_json, write_json, write_text
from repro.hashing import digest, file_digest

if TYPE_CHECKING:
    from repro.mini.scenes import Scene

MANIFEST = "MANIFEST.json"
MARK = ".miniature"
SETS = ("train", "ade", "context", "voc")
"""Series of pictures: several data sets may be made of one (:attr:`repro.datasets.data_set.DataSet.drawn`)."""
TRIES = 50
OBJECT_SHARE = 0.01
"""Pictures of a set that drops those without a labelled pixel show classes on at least this share of their pixels."""


@dataclasses.dataclass(frozen=True)
class MiniSizes:
    """How many pictures of each set, and their sides in pixels.

    ``ade`` pictures serve both ADE20K sets, ``context`` both PASCAL-Context ones, ``voc`` PAS-20 and PAS-20b.
    ``short_side`` (smallest, largest) is drawn uniformly, the longer side by ``aspect``; one in four stands upright.
    """

    train: int = 600
    ade: int = 48
    context: int = 48
    voc: int = 48
    short_side: tuple[int, int] = (120, 136)
    aspect: tuple[float, float] = (1.0, 1.55)

    def __post_init__(self) -> None:
        for field in ("short_side", "aspect"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if min(self.train, self.ade, self.context, self.voc) < 1 or not 16 <= self.short_side[0] <= self.short_side[1]:
            raise UsageError(
                "impossible sizes of the miniature",
                expected="at least one picture a set, and 16 <= short_side[0] <= short_side[1]",
                found=str(dataclasses.asdict(self)),
                mend="change data.sizes of the profile",
            )


def synth(
    root: Path,
    seed: int = 0,
    sizes: MiniSizes | None = None,
    progress: Callable[[int, int], None] | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """Draw the miniature below ``root`` and return its manifest; a finished one of the same recipe is left alone.

    ``progress`` is called with (pictures done, pictures in all). Raises DataError where ``root`` holds data sets that
    this program did not draw: they are never overwritten.
    """
    sizes = sizes or MiniSizes()
    plain_sizes = json.loads(json.dumps(dataclasses.asdict(sizes)))
    recipe = {"seed": seed, "sizes": plain_sizes}
    finished = _finished(root, recipe)
    if finished is not None:
        return finished
    _clear(root)
    items = [_Item(root, seed, name, i, sizes) for name in SETS for i in range(getattr(sizes, name))]
    notes: dict[str, list[Any]] = {}
    for count, said in enumerate(parallel(_draw, items, jobs), start=1):
        for name, note in said.items():
            notes.setdefault(name, []).append(note)
        if progress:
            progress(count, len(items))
    for series in SETS:
        keys = [picture_key(series, i) for i in range(getattr(sizes, series))]
        for data_set in sets_of(series):
            data_set.write_drawn_lists(root / data_set.folder, keys, notes[data_set.id])
    manifest = {**recipe, "files": _count_files(root, _folders())}
    write_json(root / MANIFEST, manifest)
    return manifest


@dataclasses.dataclass(frozen=True)
class _Item:
    root: Path
    seed: int
    set: str
    index: int
    sizes: MiniSizes


@cache
def sets_of(series: str) -> tuple[DataSet, ...]:
    """Return the data sets that show the pictures of a series."""
    return tuple(d for d in data_sets().values() if d.drawn == series)


def picture_key(series: str, index: int) -> str:
    """Return the file name of a picture, in the style of its set."""
    return sets_of(series)[0].drawn_key(index)


def draw_scene(seed: int, set_name: str, index: int, sizes: MiniSizes) -> Scene:
    """Return picture ``index`` of a set: the same for the same arguments, on any machine and in any order."""
    import numpy as np

    from repro.mini.scenes import render_scene

    stream = SETS.index(set_name) if set_name in SETS else zlib.crc32(set_name.encode())
    for attempt in range(TRIES):
        rng = np.random.default_rng(np.random.SeedSequence((seed, stream, index, attempt)))
        short = int(rng.integers(sizes.short_side[0], sizes.short_side[1] + 1))
        long = round(short * rng.uniform(*sizes.aspect))
        upright = rng.random() < 0.25
        scene = render_scene(rng, long if upright else short, short if upright else long)
        dropping = [d for d in sets_of(set_name) if d.unlabelled_values]
        shares = [np.mean(d.convert_mask(d.drawn_mask(scene)) != d.ignore_label) for d in dropping]
        if all(share >= OBJECT_SHARE for share in shares):
            break
    return scene


def _draw(item: _Item) -> dict[str, Any]:
    """Draw and write one picture; return what the shared files of each set say of it."""
    scene = draw_scene(item.seed, item.set, item.index, item.sizes)
    key, number = picture_key(item.set, item.index), item.index + 1
    return {d.id: d.write_drawn(item.root / d.folder, key, scene, number) for d in sets_of(item.set)}


def synth_set(
    root: Path, data_set: DataSet, seed: int, sizes: MiniSizes, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw a set that has pictures of its own, as many as A-150, into the miniature below ``root``.

    A finished one of the same recipe and writer is left alone. ``progress`` is called with (pictures done, in all).
    """
    key, note = own_key(data_set, seed, sizes), root / f".{data_set.id}.drawn.json"
    if note.is_file() and read_json(note).get("key") == key:
        return
    keys = [data_set.drawn_key(i) for i in range(sizes.ade)]
    notes = []
    for index, name in enumerate(keys):
        scene = draw_scene(seed, data_set.id, index, sizes)
        notes.append(data_set.write_drawn(root / data_set.folder, name, scene, index + 1))
        if progress:
            progress(index + 1, len(keys))
    data_set.write_drawn_lists(root / data_set.folder, keys, notes)
    write_json(note, {"key": key})


def own_key(data_set: DataSet, seed: int, sizes: MiniSizes) -> str:
    """Return what identifies a set with pictures of its own: seed, sizes, and what its writer makes of a picture."""
    scene = draw_scene(seed, data_set.id, 0, sizes)
    with tempfile.TemporaryDirectory(prefix="repro-drawn-") as folder:
        said = data_set.write_drawn(Path(folder), data_set.drawn_key(0), scene, 1)
        files = sorted(p for p in Path(folder).rglob("*") if p.is_file() and p.suffix != ".jpg")
        written = [[str(p.relative_to(folder)), file_digest(p)] for p in files]
    return digest([seed, dataclasses.asdict(sizes), said, written])


def _folders() -> list[str]:
    """Return the folders of sources that the miniature is drawn into."""
    found = [f"{d.folder}/{name}" for series in SETS for d in sets_of(series) for name in _places(d)]
    return list(dict.fromkeys(found))


def _places(data_set: DataSet) -> list[str]:
    part = data_set.splits[0]
    return [part.source_images, part.source_labels[-1]]


def _count_files(root: Path, folders: Iterable[str]) -> dict[str, int]:
    return {folder: sum(1 for p in (root / folder).rglob("*") if p.is_file()) for folder in folders}


def _finished(root: Path, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a finished miniature of this recipe, None where there is none."""
    try:
        manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    same = {key: manifest.get(key) for key in recipe} == recipe
    files = manifest.get("files")
    whole = isinstance(files, dict) and bool(files) and files == _count_files(root, files)
    return manifest if same and whole else None


def _clear(root: Path) -> None:
    """Remove an unfinished or outdated miniature; refuse to touch anything else."""
    drawn = dict.fromkeys(d.folder for series in SETS for d in sets_of(series))
    present = [name for name in drawn if (root / name).exists()]
    if present and not (root / MARK).is_file():
        raise DataError(
            f"{root} holds data sets that were not drawn by this program",
            expected="a new folder, or one with an earlier miniature",
            found=", ".join(present),
            mend="name another folder with --out",
        )
    write_text(root / MARK, "The data sets below this folder are generated; repro data synth may replace them.\n")
    with contextlib.suppress(FileNotFoundError):
        (root / MANIFEST).unlink()
    for name in present:
        shutil.rmtree(root / name)
