"""Checkpoints of a method's authors given where weights of this program are expected: imported when first named.

The import lies in the run store's cache under the content of the file, so that it is made once, wherever the file lies
and whatever it is called.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from repro.console import Log, log
from repro.errors import ReproError, WeightsError, command
from repro.files import read_json
from repro.hashing import file_digest
from repro.locks import folder_lock
from repro.runs.weights.imported import other_method

IMPORTS = "imports"
"""The folder of the cache."""


def own_weights(path: Path, method: str, cache: Path, log: Log = log) -> Path:
    """Return the file of this program that ``path`` stands for: itself, or the import of an official checkpoint.

    What no reader of checkpoints can open is returned as it is: whoever loads it says what is wrong. Raises
    WeightsError for tensors that are neither weights of this program nor a complete checkpoint that is known, for a
    CLIP model and for another method than ``method``; ResourceError where the import cannot be written.
    """
    if not path.is_file() or _is_own(path):
        return path
    content = file_digest(path)
    with folder_lock(cache / IMPORTS, wait=True):
        known = _imported(cache, content)
        if known is not None:
            log(f"{path}: an official checkpoint, imported before into {known.parent}")
            return known
        return _import(path, method, cache, log)


def _is_own(path: Path) -> bool:
    """Tell whether ``path`` is for this program's reader: its own file, or one that nobody can read."""
    from repro.checkpoints.reading import read_foreign
    from repro.methods.weights import read_weights

    try:
        read_weights(path)
    except WeightsError:
        try:
            read_foreign(path)  # refuses files of this program, damaged ones too
        except WeightsError:
            return True
        return False
    return True


def _imported(cache: Path, content: str) -> Path | None:
    """Return the import of the file with the SHA-256 ``content``; one that cannot be used any more is removed."""
    from repro.checkpoints.importing import METHOD_WEIGHTS, RECORD
    from repro.runs.weights.described import describe_weights

    for record in sorted((cache / IMPORTS).glob(f"*-{content[:8]}/{RECORD}")):
        try:
            if read_json(record)["source"]["sha256"] == content:
                return describe_weights(record.parent / METHOD_WEIGHTS).path
        except (ReproError, KeyError, TypeError):  # damaged, or of another version: the file to make it again is here
            shutil.rmtree(record.parent)
    return None


def _import(path: Path, method: str, cache: Path, log: Log) -> Path:
    from repro.checkpoints.importing import import_checkpoint
    from repro.checkpoints.methods import method_formats
    from repro.checkpoints.reading import read_foreign
    from repro.checkpoints.recognise import MisfitError, recognise

    file = read_foreign(path)
    try:
        found = recognise(file)
    except MisfitError as error:
        reason = error.message.removeprefix(f"{path} ")
        raise WeightsError(
            f"{path} is neither weights of this program nor a complete official checkpoint",
            expected="; ".join(["weights.pth of a run or an import", *(f.title for f in method_formats())]),
            found=f"{reason}; {error.found}",
            mend=command("repro", "import-checkpoint", path, "--json"),
        ) from error
    facts = found.format.describe(found.variant)
    if "method" not in facts:
        raise WeightsError(
            f"{path} is a CLIP model, not weights of a method",
            expected="weights of a method",
            found=facts["title"],
            mend=command("--backbone", f"openclip:{found.variant}/{path}") + " in place of the weights",
        )
    if facts["method"] != method:
        raise other_method(path, method, facts["method"])
    for change in file.changes:
        log(f"{path}: {change}")
    made = import_checkpoint(found, None, cache / IMPORTS, option="--runs")
    log(f"{path}: {facts['title']}, an official checkpoint, imported into {made.folder}")
    return made.weights
