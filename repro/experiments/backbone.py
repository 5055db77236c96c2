"""Backbone swap: a tower of a profile replaced by another CLIP, under every method and with its settings.

A file is imported into the run store's cache (:mod:`repro.checkpoints`) when the tower is built; its content, not
its place, enters the address of runs.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.backbones import FORMS, BackboneSource, split_backbone
from repro.clip.names import BUILT_IN, HUB_FILES
from repro.clip.spec import TowerSpec
from repro.clip.weights import CONFIG_FILE, model_folder
from repro.errors import UsageError, WeightsError, command, unknown_name
from repro.experiments.profiles import Profile, TowerPlan
from repro.experiments.tables import Table
from repro.files import read_json
from repro.hashing import digest, file_digest

if TYPE_CHECKING:
    from repro.checkpoints.recognise import Recognised

KIND = "backbone"
"""Towers of a named file or folder: ``recipe`` has its ``path`` and ``sha256``, ``spec.model`` is what it holds."""
RECORD, WEIGHTS = "import.json", HUB_FILES[0]
"""What an imported file's folder holds (repro.checkpoints.importing, which imports torch)."""
Residual = Literal["cls", "token"]


def swap(
    profile: Profile,
    backbone: str | None,
    *,
    tower: str = "base",
    dense_residual: Residual | None = None,
    cache: Path,
) -> Profile:
    """``profile`` with its ``tower`` replaced by ``backbone`` (``clipself:FILE``, ``openclip:MODEL/TAG`` ..).

    Resolution and read-out are those of the replaced tower, but for the residual of the last block, which is
    ``dense_residual``, else what the backbone's source was trained with. Without ``backbone`` only that changes.
    ``cache`` is the run store's; an import found there saves reading the file. Raises UsageError for an unknown tower,
    source or model, WeightsError for a file or folder that is no CLIP.
    """
    if tower not in profile.towers:
        raise unknown_name(
            f"tower of profile {profile.name}", tower, profile.towers, mend=command("repro", "describe", profile.name)
        )
    plan = profile.towers[tower]
    if backbone is not None:
        plan = read_backbone(backbone, plan.spec, cache)
    if dense_residual is not None:
        plan = dataclasses.replace(
            plan,
            title=f"{plan.title}, {dense_residual} residual",
            spec=dataclasses.replace(plan.spec, dense_residual=dense_residual),
        )
    return dataclasses.replace(profile, towers={**profile.towers, tower: plan})


def swap_table(table: Table, profile: Profile, tower: str, label: str) -> Table:
    """The rows of ``table`` built on the ``tower`` that was replaced in ``profile``, as a table of its own.

    Its name ends with ``label``, so that the original's files stay; nothing published belongs to its rows. UsageError
    where there is no such row.
    """
    rows = tuple(dataclasses.replace(row, published={}) for row in table.rows if row.tower == tower)
    if not rows:
        raise UsageError(
            f"{table.name} has no row on tower {tower}",
            expected=f"one of {', '.join(sorted({r.tower for r in table.rows}))}",
            found=tower,
            mend="--tower KEY",
        )
    name = f"{table.name}-{re.sub(r'[^A-Za-z0-9_.]+', '-', label).strip('-')}"
    remark = f"All rows are built on {profile.towers[tower].title} in place of the profile's tower {tower}."
    return dataclasses.replace(table, name=name, rows=rows, remarks=(*table.remarks, remark))


def read_backbone(text: str, like: TowerSpec, cache: Path) -> TowerPlan:
    """The tower ``text`` names, read out as ``like``; see :func:`swap`."""
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
    return TowerPlan("open_clip", title, dataclasses.replace(spec, model=model, weights=tag))


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
    return TowerPlan(KIND, f"{source.title} ({folder.resolve().name})", spec, recipe)


def _file(source: BackboneSource, path: Path, spec: TowerSpec, cache: Path, model: str | None) -> TowerPlan:
    content = file_digest(path)
    variant = model or _imported_variant(content, cache)
    if variant is None or not (_import_folder(cache, variant, content) / RECORD).is_file():
        variant = _recognise(path, model, source).variant
    source.check_model(variant)
    recipe = {"path": str(path.resolve()), "sha256": content}
    title = f"{source.title} {variant} ({path.stem})"
    return TowerPlan(KIND, title, dataclasses.replace(spec, model=variant, weights=None), recipe)


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
            f"{path} is no CLIP model but a trained method",
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
        error.message = f"{what} is no file, no folder and begins with no CLIP model" + error.message.partition("; ")[2]
        error.expected, error.found = f"{FORMS}, MODEL one of open_clip.list_models()", what
        raise error
    source.check_model(model)


def _only_tag(source: BackboneSource, model: str) -> str | None:
    """The one published tag of ``model``, None where it has none; UsageError where there are several."""
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


# -- towers of kind KIND, as repro.experiments.assets asks for them ---------------------------------------------------
def identity(plan: TowerPlan) -> Mapping[str, Any]:
    """What identifies the weights: their content."""
    return {"weights": plan.recipe["sha256"]}


def architecture(plan: TowerPlan) -> TowerSpec:
    """What its model looks like; the weights are those of :func:`built_spec`."""
    return dataclasses.replace(plan.spec, model=plan.recipe["path"]) if "weights" in plan.recipe else plan.spec


def built_spec(plan: TowerPlan, cache: Path) -> TowerSpec:
    """The tower to build, where :func:`ensure` left it."""
    if "weights" in plan.recipe:
        return dataclasses.replace(plan.spec, model=plan.recipe["path"], weights=plan.recipe["weights"])
    folder = _import_folder(cache, plan.spec.model, plan.recipe["sha256"])
    return dataclasses.replace(plan.spec, model=str(folder), weights=WEIGHTS)


def ready(plan: TowerPlan, cache: Path) -> bool:
    """Whether it can be built now."""
    return "weights" in plan.recipe or (Path(built_spec(plan, cache).model) / RECORD).is_file()


def ensure(plan: TowerPlan, cache: Path) -> None:
    """Import the file into ``cache``. Raises WeightsError where it changed since it was named."""
    from repro.checkpoints.importing import import_checkpoint
    from repro.checkpoints.reading import read_foreign
    from repro.checkpoints.recognise import recognise

    path = Path(plan.recipe["path"])
    if file_digest(path) != plan.recipe["sha256"]:
        raise WeightsError(f"{path} changed while it was read", mend="run the same command again")
    found = recognise(read_foreign(path), plan.spec.model)
    import_checkpoint(found, _import_folder(cache, plan.spec.model, plan.recipe["sha256"]), cache)
