"""The whole miniature on disk: every set in its source format below one data root.

A picture depends on the seed, its set and its number alone, so the result is the same for any number of processes.
MANIFEST.json is written last: a folder without it was interrupted and is drawn anew, a finished one is used again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.parallel import parallel
from repro.errors import DataError, UsageError
from repro.files import write_json, write_text

if TYPE_CHECKING:
    from repro.mini.scenes import Scene

MANIFEST = "MANIFEST.json"
MARK = ".miniature"
FOLDERS = ("coco-stuff", "ADEChallengeData2016", "ADE20K_2021_17_01", "VOCdevkit")
SOURCE_FOLDERS = (
    "coco-stuff/images/train2017",
    "coco-stuff/annotations/train2017",
    "ADEChallengeData2016/images/validation",
    "ADEChallengeData2016/annotations/validation",
    "ADE20K_2021_17_01/images",
    "VOCdevkit/VOC2010/JPEGImages",
    "VOCdevkit/VOC2010/trainval",
    "VOCdevkit/VOC2012/JPEGImages",
    "VOCdevkit/VOC2012/SegmentationClass",
)
SETS = ("train", "ade", "context", "voc")
TRIES = 50
VOC_SHARE = 0.01
"""Every VOC picture shows its objects on at least this fraction of its pixels, as real ones do."""


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
    notes = []
    for count, note in enumerate(parallel(_draw, items, jobs), start=1):
        if note is not None:
            notes.append(note)
        if progress:
            progress(count, len(items))
    _write_lists(root, sizes, notes)
    manifest = {**recipe, "files": _count_files(root)}
    write_json(root / MANIFEST, manifest)
    return manifest


@dataclasses.dataclass(frozen=True)
class _Item:
    root: Path
    seed: int
    set: str
    index: int
    sizes: MiniSizes


def picture_key(set_name: str, index: int) -> str:
    """The file name of a picture, in the style of its set."""
    return {
        "train": f"{index + 1:012d}",
        "ade": f"ADE_val_{index + 1:08d}",
        "context": f"2010_{index + 1:06d}",
        "voc": f"2012_{index + 1:06d}",
    }[set_name]


def draw_scene(seed: int, set_name: str, index: int, sizes: MiniSizes) -> Scene:
    """Picture ``index`` of a set: the same for the same arguments, on any machine and in any order."""
    import numpy as np

    from repro.mini.scenes import render_scene
    from repro.mini.writers import BORDER, voc_mask

    for attempt in range(TRIES):
        rng = np.random.default_rng(np.random.SeedSequence((seed, SETS.index(set_name), index, attempt)))
        short = int(rng.integers(sizes.short_side[0], sizes.short_side[1] + 1))
        long = round(short * rng.uniform(*sizes.aspect))
        upright = rng.random() < 0.25
        scene = render_scene(rng, long if upright else short, short if upright else long)
        if set_name != "voc":
            break
        mask = voc_mask(scene)
        if np.mean((mask > 0) & (mask < BORDER)) >= VOC_SHARE:
            break
    return scene


def _draw(item: _Item) -> dict[str, Any] | None:
    """Draw and write one picture; for PASCAL-Context, what its JSON file says of it."""
    from repro.mini import writers

    scene = draw_scene(item.seed, item.set, item.index, item.sizes)
    key = picture_key(item.set, item.index)
    if item.set == "train":
        writers.write_coco(item.root, key, scene)
    elif item.set == "ade":
        writers.write_ade(item.root, key, scene, f"generated/{scene.setting.replace(' ', '_')}")
    elif item.set == "context":
        return writers.write_context(item.root, key, scene, image_id=item.index + 1)
    else:
        writers.write_voc(item.root, key, scene)
    return None


def _write_lists(root: Path, sizes: MiniSizes, notes: list[dict[str, Any]]) -> None:
    from repro.mini.writers import context_files

    for name, content in context_files([picture_key("context", i) for i in range(sizes.context)], list(notes)).items():
        path = root / "VOCdevkit" / "VOC2010" / name
        write_text(path, content if isinstance(content, str) else json.dumps(content))
    ids = "".join(f"{picture_key('voc', i)}\n" for i in range(sizes.voc))
    write_text(root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt", ids)


def _count_files(root: Path) -> dict[str, int]:
    return {folder: sum(1 for p in (root / folder).rglob("*") if p.is_file()) for folder in SOURCE_FOLDERS}


def _finished(root: Path, recipe: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a finished miniature of this recipe, None where there is none."""
    try:
        manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    same = {key: manifest.get(key) for key in recipe} == recipe
    return manifest if same and manifest.get("files") == _count_files(root) else None


def _clear(root: Path) -> None:
    """Remove an unfinished or outdated miniature; refuse to touch anything else."""
    present = [name for name in FOLDERS if (root / name).exists()]
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
