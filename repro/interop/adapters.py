"""Models of mmsegmentation and detectron2 as methods that are evaluated: entry points of the group ``repro.adapters``.

Nothing here imports either library. The files that the options name are known by their content, which is an option
that nobody gives (``content``): so it is part of the addresses of runs.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from repro.errors import UsageError, WeightsError, command
from repro.hashing import digest, file_digest
from repro.methods import MethodEntry
from repro.methods.options import check_options

_BASE = re.compile(r"^_BASE_\s*:\s*['\"]?([^'\"#\n]+?)['\"]?\s*(?:#.*)?$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class ForeignModel:
    """A model that is closed: its files, and the names of its classes."""

    method = ""
    """The name of the adapter."""
    config: str = ""
    """The library's own configuration file. It may run code: name only files that you trust."""
    checkpoint: str = ""
    """A checkpoint of tensors (torch's format). A pickle of anything else is refused."""
    names: str = ""
    """A JSON list of the model's classes in its order, where its files name them otherwise than the benchmark does."""
    content: str = dataclasses.field(default="", init=False)
    """What the files hold, as a digest."""

    def __post_init__(self) -> None:
        check_options(self.method, self)
        given = {name: getattr(self, name) for name in ("config", "checkpoint", "names") if getattr(self, name)}
        for name, text in given.items():
            if not Path(text).is_file():
                raise WeightsError(
                    f"no file {text}",
                    expected=f"the {name} of a model, as a file",
                    found="a folder" if Path(text).is_dir() else "nothing",
                    mend=self.usage(),
                )
        self.check()
        if self.config and self.checkpoint:
            files = [Path(self.checkpoint), *([Path(self.names)] if self.names else [])]
            parts = [*map(file_digest, files), *(_version(name) for name in self.distributions())]
            object.__setattr__(self, "content", digest([self.config_content(Path(self.config)), *parts], 16))

    def distributions(self) -> tuple[str, ...]:
        """Return packages whose version is part of the address: their code is not ours to judge."""
        return ()

    def check(self) -> None:
        """Raise for files of a kind that is not read."""

    def config_content(self, config: Path) -> Any:
        """Return what identifies what ``config`` says, with the files it builds on, as plain data."""
        return file_digest(config)

    def files(self) -> tuple[Path, Path]:
        """Return the configuration and the checkpoint; UsageError where one is not named."""
        if not (self.config and self.checkpoint):
            absent = " and ".join(name for name in ("config", "checkpoint") if not getattr(self, name))
            raise UsageError(f"{self.method} needs a {absent}", expected="both", mend=self.usage())
        return Path(self.config), Path(self.checkpoint)

    def class_names(self, own: list[str] | None) -> list[str]:
        """Return the classes of the model: those of the file ``names``, else its ``own``.

        UsageError where neither is there, and for a file that is no list of names.
        """
        if not self.names:
            if own is None:
                raise UsageError(
                    "the files of the model do not name its classes",
                    mend=f"name them in the model's order: {command('-o', 'names=FILE')}, a JSON list",
                )
            return own
        try:
            listed = json.loads(Path(self.names).read_text(encoding="utf-8"))
            if not (isinstance(listed, list) and listed and all(isinstance(name, str) for name in listed)):
                raise ValueError(f"{type(listed).__name__}")
        except ValueError as error:
            raise UsageError(
                f"{self.names} is no list of classes",
                expected='a JSON list of names: ["wall", "sky", ..]',
                found=error,
                mend="write the names of the model's classes into it, in its order",
            ) from error
        return list(listed)

    def usage(self) -> str:
        """Return the command that names the files."""
        return command("repro", "eval", self.method, "-o", "config=FILE", "-o", "checkpoint=FILE")

    def rename(self) -> str:
        """Say how classes that are called otherwise are matched."""
        return f"evaluate on the data set the model was made for, or name its classes: {command('-o', 'names=FILE')}"


@dataclasses.dataclass(frozen=True)
class MmsegModel(ForeignModel):
    """A model of mmsegmentation: its configuration (.py) and a checkpoint of its Runner, or a published one."""

    method = "mmseg"

    def distributions(self) -> tuple[str, ...]:
        """Return the names the library is installed by."""
        return "onedl-mmsegmentation", "mmsegmentation"

    def config_content(self, config: Path) -> Any:
        """Return the values of ``config``, those of its bases included; UsageError where it cannot be read."""
        from mmengine.config import Config

        try:
            values = Config.fromfile(config, import_custom_modules=False).to_dict()
        except Exception as error:  # a configuration is Python: whatever it raises
            raise UsageError(
                f"{config} cannot be read as a configuration of mmengine",
                expected="a file that mmengine.config.Config.fromfile reads",
                found=f"{type(error).__name__}: {error}",
                mend="name the file that `mmengine` trained with: Runner writes it into its work_dir",
            ) from error
        return json.loads(json.dumps(values, default=str, sort_keys=True))


@dataclasses.dataclass(frozen=True)
class Detectron2Model(ForeignModel):
    """A semantic-segmentation model of detectron2: its yacs configuration (.yaml) and a checkpoint (.pth)."""

    method = "detectron2"

    setup: str = ""
    """``module:function``, called with the configuration before the file is read; adds the keys of a project and, by
    being imported, its architectures. Several are divided by commas."""
    outputs: Literal["logits", "probabilities"] = "logits"
    """What ``sem_seg`` of the model holds: logits (SemanticSegmentor), or values of 0 to 1 (MaskFormer, CAT-Seg)."""

    def distributions(self) -> tuple[str, ...]:
        """Return the names the library is installed by."""
        return ("detectron2",)

    def check(self) -> None:
        """Raise UsageError for a LazyConfig, WeightsError for a pickle."""
        if self.config and Path(self.config).suffix not in (".yaml", ".yml"):
            raise UsageError(
                f"{self.config} is no yacs configuration",
                expected="a .yaml file",
                found="a LazyConfig, which builds its model by code of its own" if self.config.endswith(".py") else "",
                mend="evaluate it with detectron2 and score what it predicts: docs/predictions.md",
            )
        if self.checkpoint.endswith(".pkl"):
            raise WeightsError(
                f"{self.checkpoint} is a pickle, and no pickle is opened",
                expected="a .pth file of tensors",
                found=".pkl",
                mend="save the model that detectron2 loads from it, where you trust it: "
                "torch.save({'model': model.state_dict()}, 'model.pth')",
            )

    def config_content(self, config: Path) -> Any:
        """Return the digests of ``config`` and of the files of its ``_BASE_``."""
        return [file_digest(path) for path in _yaml_chain(config, set())]


def _yaml_chain(config: Path, seen: set[Path]) -> Iterator[Path]:
    if config.resolve() in seen:
        return
    seen.add(config.resolve())
    yield config
    for base in _BASE.findall(config.read_text(encoding="utf-8")):
        inner = Path(base).expanduser()
        place = inner if inner.is_absolute() else config.parent / inner
        if place.is_file():
            yield from _yaml_chain(place, seen)


def _version(distribution: str) -> str:
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return f"{distribution} absent"


MMSEG = MethodEntry(
    name="mmseg",
    title="model of mmsegmentation",
    paper="mmsegmentation",
    options=MmsegModel,
    build="repro.interop.mmseg.method:build",
    trainable=False,
    tower=False,
)
DETECTRON2 = MethodEntry(
    name="detectron2",
    title="model of detectron2",
    paper="detectron2",
    options=Detectron2Model,
    build="repro.interop.detectron2.method:build",
    trainable=False,
    tower=False,
)
