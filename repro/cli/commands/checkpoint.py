"""``repro import-checkpoint FILE`` and ``repro export-checkpoint FILE``: checkpoints of other code, in and out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.cli import common
from repro.errors import command

if TYPE_CHECKING:
    from repro.checkpoints.importing import Imported
    from repro.runs.weights.exporting import Exported

DEFAULT_FOLDER = Path("checkpoints")


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Options of ``import-checkpoint`` and ``export-checkpoint``."""
    if command == "import-checkpoint":
        parser.add_argument("file", type=Path, help="a checkpoint; what it is is read off its content")
        parser.add_argument(
            "--as", dest="wanted", metavar="ID", help="what it must be: catseg-vitb, or an open_clip model name"
        )
        parser.add_argument(
            "--out", type=Path, metavar="FOLDER", help=f"a new folder (default: {DEFAULT_FOLDER}/ID-DIGEST)"
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
    common.add_json_option(parser)


def import_file(options: argparse.Namespace) -> int:
    """Recognise, check, convert and write; a misfit is exit code 4, its whole lists on stdout with ``--json``."""
    from repro.checkpoints.importing import import_checkpoint
    from repro.checkpoints.reading import read_foreign
    from repro.checkpoints.recognise import MisfitError, recognise

    try:
        with common.stdout_to_stderr():
            file = read_foreign(options.file)
            for change in file.changes:
                common.log(f"{file.path}: {change}")
            found = recognise(file, options.wanted)
            result = import_checkpoint(found, options.out, DEFAULT_FOLDER, dry_run=options.dry_run)
    except MisfitError as error:
        if options.json:
            common.print_json(error.report)
        raise
    if options.json:
        paths = {"folder": str(result.folder), "weights_file": str(result.weights), "written": result.written}
        common.print_json({**result.record, **paths})
    else:
        print("\n".join(_import_report(result, options.dry_run)))
    return 0


def export_file(options: argparse.Namespace) -> int:
    """Write a method's weights under its authors' names."""
    from repro.runs.weights.exporting import export_checkpoint

    with common.stdout_to_stderr():
        result = export_checkpoint(options.file, options.out, dry_run=options.dry_run)
    if options.json:
        common.print_json(_export_facts(result, options.dry_run))
    else:
        print("\n".join(_export_report(result, options.dry_run)))
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


def _export_facts(result: Exported, dry_run: bool) -> dict[str, Any]:
    return {
        "file": str(result.path),
        "method": result.method,
        "variant": result.variant,
        "num_tensors": result.num_tensors,
        "differing_options": {k: {"released": a, "here": b} for k, (a, b) in result.differing.items()},
        "written": not dry_run,
    }


def _export_report(result: Exported, dry_run: bool) -> list[str]:
    lines = [f"{'would be written' if dry_run else 'written'}: {result.path} ({result.num_tensors} tensors)"]
    lines.append(f"  released size: {result.variant or 'none: the official code needs a configuration of these sizes'}")
    if result.differing:
        pairs = ", ".join(f"{k} {b} instead of {a}" for k, (a, b) in result.differing.items())
        lines.append(f"  options that are not the released ones: {pairs}")
    return lines
