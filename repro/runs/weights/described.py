"""Weights files that say themselves which method, tower and options they belong to, so that no training run is needed.

An imported checkpoint has it all in its header. Weights of a training have it in ``provenance.json`` of their run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.clip.spec import TowerSpec
from repro.errors import ReproError, WeightsError, command
from repro.files import read_json
from repro.methods import MethodEntry, get_method
from repro.methods.interface import Method
from repro.methods.weights import load_weights, read_weights
from repro.towers.registry import tower_folders


@dataclasses.dataclass(frozen=True)
class DescribedWeights:
    """A weights file of this program with everything needed to build its method.

    ``tower`` has no weights of its own: the file contains them. ``options`` are the method's, JSON-plain.
    """

    path: Path
    entry: MethodEntry
    tower: TowerSpec
    options: Mapping[str, Any]
    header: Mapping[str, Any]

    def build(self) -> Method:
        """Build the method with these weights, on the CPU, in evaluation mode. WeightsError if they do not fit."""
        from repro.clip.tower import build_tower

        method = self.entry.create(build_tower(self.tower), self.entry.make_options(self.options))
        load_weights(method, self.path, self.entry.name)
        return method.eval()


def describe_weights(path: Path) -> DescribedWeights:
    """Describe what ``path`` (a weights file, or the folder of a run or an import) belongs to.

    Raises WeightsError for a file that nothing describes, UsageError for a method that is not installed.
    """
    path = path / "weights.pth" if path.is_dir() else path
    header = read_weights(path)["header"]
    entry = get_method(str(header.get("method")))
    facts = header if "tower" in header else _facts_of_run(path)
    if facts is None:
        raise WeightsError(
            f"{path} does not say what tower and options its {entry.title} was built with",
            expected="an imported checkpoint, or the weights of a run beside its provenance.json",
            found=f"a header with {', '.join(sorted(header))}",
            mend="keep weights.pth in its run's folder, or give the run's options beside "
            + command("repro", "eval", entry.name, "--weights", path),
        )
    try:
        tower = TowerSpec(**facts["tower"])
        options = facts["options"]
        entry.make_options(options)
    except (TypeError, KeyError, ReproError) as error:
        raise WeightsError(
            f"{path} was described by another version of this program",
            expected=f"a tower and options of {entry.name} as this version knows them",
            found=str(error).splitlines()[0],
            mend="import the original file again: repro import-checkpoint FILE",
        ) from error
    return DescribedWeights(path, entry, tower, options, header)


def _facts_of_run(path: Path) -> dict[str, Any] | None:
    provenance = path.parent / "provenance.json"
    if not provenance.is_file():
        return None
    facts = read_json(provenance)["facts"]
    tower = facts["tower"]
    spec = {**tower["spec"], "weights": None}
    if folders := tower_folders(tower):
        found = sorted((path.parent.parent / "cache" / "clip").glob(folders))
        spec["model"] = str(found[0]) if found else spec["model"]
    return {"tower": spec, "options": facts["options"]}
