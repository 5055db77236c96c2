"""``repro data captions``: noun-phrase labels from files of images and captions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from repro.cli import common

EPILOG = """\
examples:
  repro data captions cc12m.tsv --out labels/cc12m --jobs 16
  repro data captions annotations/captions_train2017.json --out labels/coco
  repro data captions cc12m-shards/ --format webdataset --out labels/cc12m

Killed or interrupted, the same command goes on where it was. Needs the extra `captions` (spaCy and its small English
model). The output and the two filters: docs/captions.md.
"""


def add_parser(commands: Any) -> None:
    """Declare the subcommand below ``repro data``."""
    parser = commands.add_parser(
        "captions",
        help="noun-phrase labels of images from their captions (CC12M TSV, COCO JSON, webdataset tar)",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a file, or a folder of files of one format")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the labels")
    parser.add_argument("--format", default="auto", help="auto (default: by suffix), tsv, coco or webdataset")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="list of generic words (default: the project's)")
    parser.add_argument("--shard-images", type=int, metavar="N", help="images a file of labels (default: 5000)")
    common.declare(parser, "json")
    parser.set_defaults(execute=_captions)


def _captions(options: argparse.Namespace) -> int:
    from repro.captions.convert import SHARD_IMAGES, convert
    from repro.captions.phrases import EXCLUSIONS
    from repro.runs.progress import count_progress

    with count_progress("parsing captions", "shard") as update:
        provenance = convert(
            options.source,
            options.out,
            options.format,
            options.jobs,
            options.exclude or EXCLUSIONS,
            SHARD_IMAGES if options.shard_images is None else options.shard_images,
            update,
        )
    common.answer(options, lambda: provenance, lambda: print(f"{summary(provenance)}\n{options.out}"))
    return 0


def summary(provenance: dict[str, Any]) -> str:
    """Say what was read, dropped and kept, in lines."""
    n = provenance["counts"].get
    lines = [
        f"{n('images', 0):,} images with {n('captions', 0):,} captions: {n('labels', 0):,} labels, "
        f"{n('vocabulary', 0):,} different; {n('images_without_label', 0):,} images without a label",
        f"{n('chunks', 0):,} noun chunks, of which {n('without_noun', 0):,} without a noun and "
        f"{n('generic', 0):,} generic were dropped",
        f"{n('empty_captions', 0):,} empty and {n('duplicate_captions', 0):,} repeated captions; "
        f"{n('images_without_caption', 0):,} images without a caption",
    ]
    lines += [f"{count:,} x {why}" for why, count in sorted(provenance["malformed"].items(), key=lambda i: -i[1])]
    lines += [f"  {where}: {why}" for where, why in provenance["examples"]]
    return "\n".join(lines)
