"""``repro import-checkpoint FILE`` and ``repro export-checkpoint FILE``: checkpoints of other code, in and out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from repro.cli import common
from repro.errors import command
from repro.paths import DEFAULT_CHECKPOINTS

if TYPE_CHECKING:
    from repro.checkpoints.importing import Imported
    from repro.runs.weights.exporting import Exported


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the options of ``import-checkpoint`` and ``export-checkpoint``."""
    if command == "import-checkpoint":
        parser.add_argument("file", type=Path, help="a checkpoint; what it is is read off its content")
        parser.add_argument(
            "--as", dest="wanted", metavar="ID", help="what it must be: catseg-vitb, or an open_clip model name"
        )
        parser.add_argument(
            "--out", type=Path, metavar="FOLDER", help=f"a new folder (default: {DEFAULT_CHECKPOINTS}/ID-DIGEST)"
        )
        parser.epilog = (
            "Known: official CAT-Seg (detectron2), OpenAI CLIP, open_clip, EVA-CLIP, CLIPSelf, DenseVLM.\n"
            "docs/checkpoints.md says where they come from. Nothing of a file is ever executed."
        )
        parser.set_defaults(execute=import_file)
    else:
        parser.add_argument("file", type=Path, help="weights.pth of a run or an import, or its folder")
        parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the file to write (.pth)")
        parser.set_defaults(execute=export_file)
    parser.add_argument("--dry-run", action="store_true", help="check and say what would be written")
    common.declare(parser, "json")


def import_file(options: argparse.Namespace) -> int:
    """Recognise, check, convert and write; a misfit is exit code 4, its whole lists on stdout with ``--json``."""
    from repro.checkpoints import importing
    from repro.checkpoints.recognise import MisfitError

    try:
        with common.stdout_to_stderr():
            result = importing.import_file(options.file, options.wanted, options.out, dry_run=options.dry_run)
    except MisfitError as error:
        if options.json:
            common.print_json(error.report)
        raise
    common.answer(options, result.to_json, lambda: print("\n".join(_import_report(result, options.dry_run))))
    return 0


def export_file(options: argparse.Namespace) -> int:
    """Write a method's weights under its authors' names."""
    from repro.runs.weights.exporting import export_checkpoint

    with common.stdout_to_stderr():
        result = export_checkpoint(options.file, options.out, dry_run=options.dry_run)
    common.answer(options, result.to_json, lambda: print("\n".join(_export_report(result))))
    return 0


def _import_report(result: Imported, dry_run: bool) -> list[str]:
    record = result.record
    source = record["source"]
    lines = [
        f"{source['file']}: {record['title']} ({record['variant']})",
        f"  {source['form']}, {source['bytes'] / 2**20:.1f} MiB, sha256 {source['sha256']}",
        f"  {record['num_tensors']} tensors, {record['num_parameters'] / 1e6:.1f} M values, all names and shapes fit",
    ]
    if record["converted_to_float32"]:
        counts = ", ".join(f"{n} from {kind}" for kind, n in record["converted_to_float32"].items())
        lines.append(f"  converted to float32: {counts}")
    if record["left_out"]:
        lines.append(f"  left out: {', '.join(record['left_out'])}")
    if record["beside"]:
        lines.append("  said beside the weights: " + ", ".join(f"{k} {v}" for k, v in record["beside"].items()))
    state = "would be written" if dry_run else "written" if result.written else "already there"
    lines.append(f"{state}: {result.weights}")
    if "method" in record:
        words = ("eval", record["method"], "--checkpoint", result.weights, "--profile", "paper", "--data-root", "DATA")
        lines.append(f"next: {command('repro', *words)}")
    else:
        lines.append(f"next: in a profile, spec=dict(model={record['model']!r}, weights={str(result.weights)!r})")
    return lines


def _export_report(result: Exported) -> list[str]:
    lines = [f"{'written' if result.written else 'would be written'}: {result.path} ({result.num_tensors} tensors)"]
    lines.append(f"  released size: {result.variant or 'none: the official code needs a configuration of these sizes'}")
    if result.differing:
        pairs = ", ".join(f"{k} {b} instead of {a}" for k, (a, b) in result.differing.items())
        lines.append(f"  options that are not the released ones: {pairs}")
    return lines
