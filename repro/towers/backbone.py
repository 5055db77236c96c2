"""Towers of kind ``backbone``: a file or folder named on the command line in place of a tower of the profile.

A file is imported into the run store's cache (:mod:`repro.checkpoints`) when the tower is built; its content, not
its place, enters the address of runs.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.clip.names import BUILT_IN, HUB_FILES
from repro.clip.spec import TowerSpec
from repro.clip.weights import CONFIG_FILE, model_folder
from repro.errors import UsageError, WeightsError, command, unknown_name
from repro.files import read_json
from repro.hashing import digest, file_digest
from repro.methods.backbones import FORMS, BackboneSource, split_backbone
from repro.towers.kind import Progress, Tower, TowerKind, TowerPlan
from repro.towers.open_clip import KIND as OPEN_CLIP

if TYPE_CHECKING:
    from repro.checkpoints.recognise import Recognised

RECORD, WEIGHTS = "import.json", HUB_FILES[0]
"""What an imported file's folder holds (repro.checkpoints.importing, which imports torch)."""


class Backbone(TowerKind):
    """A CLIP in a file or folder: ``recipe`` has its ``path`` and ``sha256``, ``spec.model`` is what it holds.

    A folder's recipe also names the file of its ``weights``; nothing needs to be imported then.
    """

    name = "backbone"
    in_profiles = False

    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return the content of the weights."""
        return {"weights": tower.plan.recipe["sha256"]}

    def ready(self, tower: Tower) -> bool:
        """Return whether it can be built now: a folder always, a file once it is imported."""
        return "weights" in tower.plan.recipe or (Path(self.spec(tower).model) / RECORD).is_file()

    def make(self, tower: Tower, folder: Path, parts: Sequence[TowerSpec], progress: Progress | None) -> None:
        """Import the file into ``folder``. Raises WeightsError where it changed since it was named."""
        from repro.checkpoints.importing import import_checkpoint
        from repro.checkpoints.reading import read_foreign
        from repro.checkpoints.recognise import recognise

        plan, path = tower.plan, Path(tower.plan.recipe["path"])
        if file_digest(path) != plan.recipe["sha256"]:
            raise WeightsError(f"{path} changed while it was read", mend="run the same command again")
        found = recognise(read_foreign(path), plan.spec.model)
        import_checkpoint(found, folder, tower.store.cache, option="--runs")

    def spec(self, tower: Tower) -> TowerSpec:
        """Return the tower to build, where :meth:`make` left it."""
        spec, recipe = tower.plan.spec, tower.plan.recipe
        if "weights" in recipe:
            return dataclasses.replace(spec, model=recipe["path"], weights=recipe["weights"])
        folder = _import_folder(tower.store.cache, spec.model, recipe["sha256"])
        return dataclasses.replace(spec, model=str(folder), weights=WEIGHTS)

    def untrained(self, tower: Tower) -> TowerSpec:
        """Return what its model looks like; a folder holds its own configuration."""
        spec, recipe = tower.plan.spec, tower.plan.recipe
        return dataclasses.replace(spec, model=recipe["path"] if "weights" in recipe else spec.model, weights=None)

    def folders(self, facts: Mapping[str, Any]) -> str:
        """Return the name of the model: that of its folder, where the one that was named lies in the cache."""
        return str(facts["spec"]["model"])


KIND = Backbone()


def read_backbone(text: str, like: TowerSpec, cache: Path) -> TowerPlan:
    """Return the tower that ``text`` names (``clipself:FILE``, ``openclip:MODEL/TAG`` ..), read out as ``like``.

    ``cache`` is the run store's; an import found there saves reading the file. Raises UsageError for an unknown source
    or model, WeightsError for a file or folder that is no CLIP.
    """
    source, what = split_backbone(text)
    spec = dataclasses.replace(like, dense_residual=source.dense_residual or like.dense_residual)
    path = Path(what).expanduser()
    if path.is_dir() and (os.sep in what or (path / CONFIG_FILE).is_file()):
        return _folder(source, path, spec)
    if path.is_file():
        return _file(source, path, spec, cache, None)
    model, _, weights = what.partition("/")
    if weights and (file := Path(weights).expanduser()).is_file():
        return _file(source, file, spec, cache, model)
    _check_model(source, model, what)
    tag = weights or _only_tag(source, model)
    title = f"{source.title} {model}" + (f" ({tag})" if tag else " (random weights)")
    return TowerPlan(OPEN_CLIP.name, title, dataclasses.replace(spec, model=model, weights=tag))


def _folder(source: BackboneSource, folder: Path, spec: TowerSpec) -> TowerPlan:
    model_folder(str(folder.resolve()))
    weights = next((folder / name for name in HUB_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise WeightsError(
            f"{folder} holds no weights", expected=" or ".join(HUB_FILES), found=f"{CONFIG_FILE} without them"
        )
    content = digest([file_digest(folder / CONFIG_FILE), file_digest(weights)], 64)
    recipe = {"path": str(folder.resolve()), "sha256": content, "weights": weights.name}
    spec = dataclasses.replace(spec, model=folder.resolve().name, weights=None)
    return TowerPlan(KIND.name, f"{source.title} ({folder.resolve().name})", spec, recipe)


def _file(source: BackboneSource, path: Path, spec: TowerSpec, cache: Path, model: str | None) -> TowerPlan:
    content = file_digest(path)
    variant = model or _imported_variant(content, cache)
    if variant is None or not (_import_folder(cache, variant, content) / RECORD).is_file():
        variant = _recognise(path, model, source).variant
    source.check_model(variant)
    recipe = {"path": str(path.resolve()), "sha256": content}
    title = f"{source.title} {variant} ({path.stem})"
    return TowerPlan(KIND.name, title, dataclasses.replace(spec, model=variant, weights=None), recipe)


def _recognise(path: Path, model: str | None, source: BackboneSource) -> Recognised:
    from repro.checkpoints.clip import ClipFormat
    from repro.checkpoints.reading import read_foreign
    from repro.checkpoints.recognise import MisfitError, recognise

    file = read_foreign(path)
    for change in file.changes:
        print(f"{path}: {change}", file=sys.stderr, flush=True)
    try:
        found = recognise(file, model)
    except MisfitError as error:
        if fits := error.report.get("fits"):
            error.expected = f"the model too: {source.name}:MODEL/FILE"
            error.mend = " or ".join(command("--backbone", f"{source.name}:{name}/{path}") for name in fits)
        raise
    if not isinstance(found.format, ClipFormat):
        raise WeightsError(
            f"{path} is not a CLIP model but a trained method",
            expected="weights of a CLIP model",
            found=found.format.describe(found.variant)["title"],
            mend=command("repro", "import-checkpoint", path),
        )
    return found


def _imported_variant(content: str, cache: Path) -> str | None:
    for record in sorted((cache / "clip").glob(f"*-{content[:8]}/{RECORD}")):
        facts = read_json(record)
        if facts.get("source", {}).get("sha256") == content:
            return str(facts["variant"])
    return None


def _import_folder(cache: Path, variant: str, content: str) -> Path:
    return cache / "clip" / f"{variant}-{content[:8]}"


def _check_model(source: BackboneSource, model: str, what: str) -> None:
    from repro.runtime import import_torchvision

    import_torchvision()
    import open_clip

    known = {*open_clip.list_models(), *BUILT_IN}
    if model not in known:
        error = unknown_name("CLIP model", model, known, mend="docs/backbones.md")
        unknown = f"{what} is neither a file nor a folder and does not begin with a CLIP model"
        error.message = unknown + "".join(error.message.partition("; ")[1:])
        error.expected, error.found = f"{FORMS}, MODEL one of open_clip.list_models()", what
        raise error
    source.check_model(model)


def _only_tag(source: BackboneSource, model: str) -> str | None:
    """Return the one published tag of ``model``, None where it has none; UsageError where there are several."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if len(tags) > 1:
        raise UsageError(
            f"{model} has several published weights",
            expected=f"one of {', '.join(tags)}, or a file",
            found="no name of weights",
            mend=command("--backbone", f"{source.name}:{model}/{tags[-1]}"),
        )
    return tags[0] if tags else None
