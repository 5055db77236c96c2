"""Which published weights are known, where each belongs on this machine, and how it is had.

Methods and sources of backbones list their files (:class:`repro.methods.released.ReleasedFile`); the tags of open_clip
that the profiles name come from :data:`repro.clip.names.TAGS`, any other as ``MODEL/TAG``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from repro.checkpoints.fetching import Fetched, Published, fetch, present
from repro.checkpoints.hub import fetch_into_cache, find_file
from repro.clip.names import HUB_FILES, TAGS, TagSource, uses_quick_gelu
from repro.clip.weights import cached_file, tag_source
from repro.console import Log, log
from repro.errors import UsageError, WeightsError, command, unknown_name
from repro.hashing import file_digest
from repro.methods import registry
from repro.methods.backbones import BUILT_IN, backbone_sources
from repro.methods.released import ReleasedFile

DOWNLOADS = "downloads"
"""The folder of a run store's cache."""
_HUB = "https://huggingface.co"
# As the pages of the repositories say; of the others they were not read.
_LICENCES = {
    "laion/CLIP-ViT-B-16-laion2B-s34B-b88K": "MIT",
    "laion/CLIP-convnext_base_w_320-laion_aesthetic-s13B-b82K-augreg": "MIT",
    "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k": "MIT",
}


@dataclasses.dataclass(frozen=True)
class KnownFile:
    """A published file and what of this program takes it.

    ``method`` is evaluated with it, or it is a model of the ``source`` of backbones. ``tag`` is where open_clip's
    loader looks for it, for one of its tags.
    """

    file: ReleasedFile
    method: str = ""
    source: str = ""
    tag: TagSource | None = None

    @property
    def address(self) -> str:
        """Where it is fetched from: the file, its repository on the hub, or the page it is fetched from by hand."""
        return self.file.url or (f"{_HUB}/{self.file.hub}" if self.file.hub else self.file.page)

    def place(self, cache: Path, out: Path | None = None) -> Path | None:
        """Return where the file belongs: in ``out``, else in ``cache``; None for the hub's own cache."""
        if self.tag:  # all tags have files of one name
            return out and out / f"{self.file.name.replace('/', '-')}.safetensors"
        return (out or cache / DOWNLOADS / self.file.name) / self.file.file

    def find(self, cache: Path, out: Path | None = None) -> Path | None:
        """Return the file where it is here; nothing is read."""
        place = self.place(cache, out)
        if place is None:
            return cached_file(self.tag) if self.tag else None
        return place if place.is_file() else None

    def use(self, path: Path, out: Path | None = None) -> str:
        """Return the command that uses the file, which lies at ``path``."""
        data = ("--profile", "paper", "--data-root", "DATA")
        if self.method:
            return command("repro", "eval", self.method, "--weights", path, *data)
        what: object = path
        if self.tag:
            what = f"{self.file.name.partition('/')[0]}/{path}" if out else self.file.name
        return command("repro", "backbone", f"{self.source}:{what}", *data)

    def by_hand(self, cache: Path, out: Path | None = None) -> str:
        """Say how the file is had without a network here: from where, and where to put it."""
        file, place = self.file, self.place(cache, out)
        size = f" ({file.size / 1e6:,.0f} MB)" if file.size else ""
        address = self.address + (f"/resolve/main/{file.file}" if self.tag else "")
        what = f"by hand: fetch {file.file}{size} from {address}"
        if place is not None:
            return f"{what} and put it at {command(place)}, then give the same command again"
        model = file.name.partition("/")[0]
        return f"{what} and name it where it lies: {command('--backbone', f'{self.source}:{model}/FILE')}"

    def to_json(self, cache: Path) -> dict[str, Any]:
        """Return what is known of it as plain data; ``here`` is its path or null."""
        here = self.find(cache)
        facts = {k: v or None for k, v in dataclasses.asdict(self.file).items() if k != "why"}
        return {**facts, "by_hand": self.file.why or None, "here": here and str(here)}


def known_files() -> dict[str, KnownFile]:
    """Return all known files by name: checkpoints of methods, CLIPs of other authors, tags of the profiles."""
    found = [KnownFile(f, method=entry.name) for entry in registry().values() for f in entry.released]
    found += [KnownFile(f, source=source.name) for source in backbone_sources().values() for f in source.released]
    # The plain names of models that need QuickGELU are in the table only so that they are refused.
    tags = {key: tag for key, tag in TAGS.items() if tag.quick_gelu == uses_quick_gelu(key[0])}
    found += [_of_tag(model, name, tag) for (model, name), tag in tags.items()]
    return {known.file.name: known for known in found}


def get_file(name: str) -> KnownFile:
    """Return what is known under ``name``, a published file's own name or ``MODEL/TAG``; UsageError for nothing."""
    known = known_files()
    by_file = {k.file.file: k for k in known.values() if not k.tag}
    if name in known or name in by_file:
        return known.get(name) or by_file[name]
    model, _, tag = name.partition("/")
    source = tag_source(model, tag) if tag else None
    if source is None:
        raise unknown_name("weights", name, known, mend="repro weights")
    if source.quick_gelu != uses_quick_gelu(model):
        right = f"{model}-quickgelu" if source.quick_gelu else model.removesuffix("-quickgelu")
        raise UsageError(
            f"the weights {tag} are not those of {model}",
            expected=right,
            found=model,
            mend=command("repro", "weights", f"{right}/{tag}"),
        )
    return _of_tag(model, tag, source)


def fetch_file(known: KnownFile, cache: Path, out: Path | None = None, log: Log = log) -> Fetched:
    """Return the file of ``known``, downloaded where it is not here: to ``out``, else into ``cache`` or the hub's own.

    Raises WeightsError for one that can only be fetched by hand and is not there, and as
    :func:`repro.checkpoints.fetching.fetch`.
    """
    file, place, by_hand = known.file, known.place(cache, out), known.by_hand(cache, out)
    if place is None:
        here = known.find(cache)
        if here is not None:
            return _in_cache(here)
        return fetch_into_cache(find_file(file.hub, HUB_FILES, by_hand), by_hand)
    if (found := present(place, file.sha256)) is not None:
        return found
    if file.hub:
        there = find_file(file.hub, (file.file,), by_hand)
        log(f"{file.name}: from {there.url}")
        return fetch(Published(there.url, file.page, by_hand, there.sha256, there.size), place)
    if not file.url:
        raise WeightsError(
            f"{file.name} cannot be fetched by a command: {file.why}",
            expected=place,
            found="no such file",
            mend=by_hand,
        )
    log(f"{file.name}: from {file.url}")
    return fetch(Published(file.url, file.page, by_hand, file.sha256, file.size), place)


def _of_tag(model: str, tag: str, source: TagSource) -> KnownFile:
    if not source.hub:
        raise UsageError(
            f"open_clip does not fetch {model}/{tag} from the Hugging Face hub",
            expected="a tag with a repository of the hub",
            found=source.file or "no address",
            mend="repro weights",
        )
    page, licence = f"{_HUB}/{source.hub}", _LICENCES.get(source.hub, "")
    title = f"open_clip {model}, weights {tag}"
    file = ReleasedFile(f"{model}/{tag}", title, HUB_FILES[0], page, hub=source.hub, licence=licence)
    # The source that knows how the model's dense features are read, else the one of all models.
    fitting = [s for s in BUILT_IN if s.models and model.startswith(s.models)]
    return KnownFile(file, source=(fitting or BUILT_IN)[0].name, tag=source)


def _in_cache(path: Path) -> Fetched:
    """Describe a file of a cache of other code, in which nothing is written."""
    digest = file_digest(path)
    named = path.resolve().name  # the hub's cache names large files by their SHA-256
    return Fetched(path, digest, path.stat().st_size, digest == named, False)
