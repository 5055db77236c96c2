"""Files of (image, caption): which format they have, how they are cut into shards, what a shard holds."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from repro.captions import archive
from repro.captions.phrases import clean
from repro.datasets.texts import check_text, read_document
from repro.errors import DataError, UsageError, check_known
from repro.hashing import file_digest

FORMATS = {"tsv": (".tsv",), "coco": (".json",), "webdataset": (".tar",)}
"""The formats and the suffixes of their files."""
MAX_ROW = 1 << 20
"""Bytes of the longest row of a TSV file that is read."""
MAX_JSON = 1 << 31
"""Bytes of the largest captions JSON that is read (COCO's own have 0.1 GB)."""
MAX_CAPTION = 10_000
"""Characters of the longest caption that is parsed: the parser's memory grows with them."""
EXAMPLES = 5
"""Faulty rows that a shard's report names."""


@dataclasses.dataclass
class Tally:
    """What was read, dropped and kept; ``examples`` name the first faulty rows as (where, why)."""

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    malformed: Counter[str] = dataclasses.field(default_factory=Counter)
    examples: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def fault(self, where: str, why: str) -> None:
        """Count a row that cannot be used."""
        self.malformed[why] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((clean(where), why))

    def add(self, other: Tally) -> None:
        """Add the counts of ``other``."""
        self.counts.update(other.counts)
        self.malformed.update(other.malformed)
        self.examples = (self.examples + other.examples)[:EXAMPLES]

    def to_json(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "malformed": dict(self.malformed), "examples": self.examples}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tally:
        return cls(Counter(value["counts"]), Counter(value["malformed"]), [(a, b) for a, b in value["examples"]])


@dataclasses.dataclass
class Record:
    """An image and its different captions; in an archive also where its bytes lie."""

    image: str
    captions: list[str] = dataclasses.field(default_factory=list)
    place: archive.Place | None = None


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of the source that becomes one file of labels: rows of a TSV, images of a JSON, or a whole archive."""

    path: Path
    offset: int = 0
    first: int = 1
    rows: int = 0
    images: tuple[tuple[str, tuple[Any, ...]], ...] = ()


@dataclasses.dataclass
class Plan:
    """The shards of a source, the facts that identify its files, and what the cutting itself found faulty."""

    format: str
    files: list[dict[str, Any]]
    shards: list[Shard]
    tally: Tally


def find_files(source: Path, format_: str) -> tuple[str, list[Path]]:
    """Find the format and the files of ``source``, a file or a folder of them, ordered by name.

    Raises UsageError for an unknown format or one that cannot be told, DataError where there is no such file.
    """
    check_known("format", [format_], ("auto", *FORMATS), mend="repro data captions --help")
    if not source.exists():
        raise DataError(f"{source} is absent", expected="a file or folder of captions", found="nothing")
    if source.is_file() and format_ != "auto":
        return format_, [source]
    files = sorted(f for f in source.iterdir() if f.is_file()) if source.is_dir() else [source]
    found = {n: [f for f in files if f.suffix.lower() in s] for n, s in FORMATS.items() if format_ in ("auto", n)}
    found = {name: chosen for name, chosen in found.items() if chosen}
    if len(found) != 1:
        raise UsageError(
            f"cannot tell the captions' format of {source}",
            expected="files of one kind: " + ", ".join(f"{n} ({' '.join(s)})" for n, s in FORMATS.items()),
            found=", ".join(f"{len(c)} {n}" for n, c in found.items()) or "none of them",
            mend="name it with --format tsv|coco|webdataset; unpack compressed files first (gunzip)",
        )
    return found.popitem()


def make_plan(format_: str, files: list[Path], images: int) -> Plan:
    """Cut ``files`` into shards of ``images`` rows or images (an archive is one shard whatever it holds)."""
    plan = Plan(format_, [], [], Tally())
    cut = {"tsv": _cut_tsv, "coco": _cut_coco, "webdataset": _cut_archive}[format_]
    for path in files:
        cut(plan, path, images)
    return plan


def read_shard(format_: str, shard: Shard, tally: Tally) -> list[Record]:
    """Read the images of ``shard`` with their cleaned captions; what cannot be used is counted in ``tally``.

    An image that comes twice is one record with all its captions; an equal caption of the same image counts once.
    """
    rows = {"tsv": _tsv_rows, "coco": _coco_rows, "webdataset": _archive_rows}[format_](shard, tally)
    records: dict[str, Record] = {}
    for where, image, caption, place in rows:
        tally.counts["pairs"] += 1
        if not isinstance(image, str) or not image.strip() or image != image.encode("utf-8", "replace").decode("utf-8"):
            tally.fault(where, "no image name")
            continue
        if not confined(image.strip()):
            tally.fault(where, "image name leads out of its folder")
            continue
        if not isinstance(caption, str):
            tally.fault(where, "caption is not text")
            continue
        if len(caption) > MAX_CAPTION:
            tally.fault(where, f"caption longer than {MAX_CAPTION:,} characters")
            continue
        record = records.setdefault(image.strip(), Record(image.strip(), place=place))
        text = clean(caption)
        if not text:
            tally.counts["empty_captions"] += 1
        elif text in record.captions:
            tally.counts["duplicate_captions"] += 1
        else:
            record.captions.append(text)
    tally.counts["images"] += len(records)
    tally.counts["captions"] += sum(len(r.captions) for r in records.values())
    return list(records.values())


def confined(image: str) -> bool:
    """Tell whether an image's name is an address, or a path that stays below the folder it is looked for in."""
    controls = any(ord(character) < 32 or ord(character) == 127 for character in image)
    return not controls and ("://" in image or archive.safe_name(image))


Row = tuple[str, Any, Any, archive.Place | None]


def _lines(stream: BinaryIO, digest: Any = None) -> Iterator[bytes | None]:
    """Yield the lines of a stream with their ends; None for one longer than MAX_ROW, which is skipped unkept."""
    while line := stream.readline(MAX_ROW):
        long = len(line) == MAX_ROW and not line.endswith(b"\n")
        while True:
            if digest is not None:
                digest.update(line)
            if line.endswith(b"\n") or not long:
                break
            line = stream.readline(MAX_ROW)
            if not line:
                break
        yield None if long else line


def _cut_tsv(plan: Plan, path: Path, images: int) -> None:
    if path.stat().st_size:
        check_text(path, "a file of captions", "rows of image, tab, caption", "unpack it, save it in UTF-8")
    digest, offset, rows, start = hashlib.sha256(), 0, 0, 0
    with path.open("rb") as stream:
        for _ in _lines(stream, digest):
            rows += 1
            if rows % images == 0:
                plan.shards.append(Shard(path, offset, start + 1, images))
                offset, start = stream.tell(), rows
    if rows > start:
        plan.shards.append(Shard(path, offset, start + 1, rows - start))
    plan.files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()})


def _tsv_rows(shard: Shard, tally: Tally) -> Iterator[Row]:
    with shard.path.open("rb") as stream:
        stream.seek(shard.offset)
        for number, line in zip(range(shard.first, shard.first + shard.rows), _lines(stream), strict=False):
            where = f"{shard.path.name}:{number}"
            if line is None:
                tally.fault(where, f"row longer than {MAX_ROW:,} bytes")
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                tally.fault(where, "row is not UTF-8")
                continue
            columns = text.split("\t")
            if len(columns) != 2:
                tally.fault(where, "row has not two columns")
                continue
            yield where, columns[0], columns[1], None


def _cut_coco(plan: Plan, path: Path, images: int) -> None:
    names: dict[Any, str] = {}
    captions: dict[Any, list[Any]] = {}
    content = _read_coco(path)
    for place, image in enumerate(content["images"]):
        where = f"{path.name}: images[{place}]"
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            plan.tally.fault(where, "image without id")
        elif image["id"] in names:
            plan.tally.fault(where, "image id comes twice")
        else:
            names[image["id"]] = image.get("file_name", "")
            captions[image["id"]] = []
    for place, entry in enumerate(content["annotations"]):
        known = isinstance(entry, dict) and isinstance(entry.get("image_id"), int | str)
        if known and entry["image_id"] in captions:
            captions[entry["image_id"]].append(entry.get("caption"))
        else:
            plan.tally.fault(f"{path.name}: annotations[{place}]", "caption of an unknown image")
    plan.tally.counts["images_without_caption"] += sum(not c for c in captions.values())
    entries = [(names[i], tuple(c)) for i, c in captions.items() if c]
    for first in range(0, len(entries), images):
        plan.shards.append(Shard(path, first=first, images=tuple(entries[first : first + images])))
    plan.files.append({"name": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)})


def _read_coco(path: Path) -> dict[str, list[Any]]:
    kind = "a file of COCO captions"
    expected = '{"images": [{"id", "file_name"}, ...], "annotations": [{"image_id", "caption"}, ...]}'
    mend = "name annotations/captions_train2017.json, or the right --format"
    if path.stat().st_size > MAX_JSON:
        found = f"{path.stat().st_size:,} bytes, more than {MAX_JSON:,}"
    else:
        content = read_document(path, kind, expected, mend)
        if all(isinstance(content.get(k), list) for k in ("images", "annotations")):
            return content
        found = f"keys {', '.join(content)[:200]}"
    raise DataError(f"{path} is not {kind}", expected=expected, found=found, mend=mend)


def _coco_rows(shard: Shard, tally: Tally) -> Iterator[Row]:
    for image, captions in shard.images:
        for caption in captions:
            yield f"{shard.path.name}: {image}", image, caption, None


def _cut_archive(plan: Plan, path: Path, images: int) -> None:
    # An archive holds the images too: reading it all to identify it would take as long as the work itself. What its
    # captions say is kept with the labels of its shard instead.
    archive.check(path)
    status = path.stat()
    plan.files.append({"name": path.name, "bytes": status.st_size, "modified_ns": status.st_mtime_ns})
    plan.shards.append(Shard(path))


def _archive_rows(shard: Shard, tally: Tally) -> Iterator[Row]:
    for sample in archive.read(shard.path, tally.fault):
        where = f"{shard.path.name}: {sample.key}"
        if sample.image is None:
            tally.fault(where, "caption without an image")
        elif sample.caption is None:
            tally.counts["images_without_caption"] += 1
        else:
            yield where, f"{shard.path.name}/{sample.image.member}", sample.caption, sample.image
