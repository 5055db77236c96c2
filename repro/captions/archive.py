"""Webdataset shards read in place: nothing is unpacked, and no size that a header claims is believed.

A sample is the members that share a name up to its first dot: an image (``.jpg``, ...) and a caption (``.txt``, or the
key ``caption`` of ``.json``), as img2dataset writes them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from repro.errors import DataError

IMAGES = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"})
MAX_TEXT = 1 << 20
"""Bytes of the largest caption member, and of the largest header, that is read."""
MAX_MEMBERS = 1_000_000
"""Members that are read of one archive (img2dataset writes 30,000)."""

Fault = Callable[[str, str], None]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an image lies in its archive: the member's name, its first byte and its length."""

    member: str
    offset: int
    bytes: int


@dataclasses.dataclass
class Sample:
    """The members of one key; ``caption`` is None where there is none."""

    key: str
    image: Place | None = None
    caption: object = None
    from_text: bool = False


class _Guarded(io.FileIO):
    """A file that refuses to read more at once than a caption or a header may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_TEXT + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return super().read(size) or b""


def check(path: Path) -> None:
    """Raise DataError where ``path`` does not begin as an uncompressed tar does."""
    try:
        with _Guarded(path) as stream, tarfile.open(fileobj=stream, mode="r:"):
            return
    except tarfile.TarError as error:
        with path.open("rb") as file:
            packed = file.read(4).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zX", b"\x28\xb5\x2f\xfd"))
        raise DataError(
            f"{path} is not a webdataset shard",
            expected="an uncompressed tar archive",
            found="a compressed file" if packed else error,
            mend="unpack compressed archives first, fetch damaged ones again",
        ) from error


def safe_name(name: str) -> bool:
    """Tell whether a member's name stays below the folder it would be unpacked to."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name.strip()) and not (path.is_absolute() or ".." in path.parts or "\0" in name or name[1:2] == ":")


def read(path: Path, fault: Fault) -> Iterator[Sample]:
    """Yield the samples of an archive in the order of their first members.

    Links, devices, names that lead out of a folder, captions above MAX_TEXT and archives that break off are reported to
    ``fault`` (where, why) and left out; what precedes a break is kept.
    """
    samples: dict[str, Sample] = {}
    with _Guarded(path) as stream:
        try:
            _collect(path, stream, samples, fault)
        except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
            fault(f"{path.name}: {error}", "archive is damaged or breaks off")
    for sample in samples.values():
        if sample.image is not None or sample.caption is not None:
            yield sample


def _collect(path: Path, stream: _Guarded, samples: dict[str, Sample], fault: Fault) -> None:
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        size, count = path.stat().st_size, 0
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read; none is needed again
            where = f"{path.name}: {member.name[:200]}"
            if (count := count + 1) > MAX_MEMBERS:
                fault(where, f"archive has more than {MAX_MEMBERS:,} members")
                return
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                fault(where, "member is a link, a device or sparse")
            elif not safe_name(member.name):
                fault(where, "member's name leads out of the archive")
            elif member.size < 0 or member.offset_data + member.size > size:
                fault(where, "member is longer than the archive")
                return
            else:
                _take(tar, member, samples, where, fault)
        # tarfile takes a damaged header as the end; a whole archive ends in a block of zeros.
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0") or stream.tell() < tar.offset + tarfile.BLOCKSIZE:
            raise tarfile.ReadError("no end mark")


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, samples: dict[str, Sample], where: str, fault: Fault) -> None:
    folder, _, name = member.name.rpartition("/")
    stem, _, suffix = name.partition(".")
    suffix = suffix.lower()
    key = f"{folder}/{stem}" if folder else stem
    sample = samples.setdefault(key, Sample(key))
    if suffix in IMAGES:
        if sample.image is None:
            sample.image = Place(member.name, member.offset_data, member.size)
        else:
            fault(where, "sample has two images")
    elif suffix in ("txt", "json"):
        if member.size > MAX_TEXT:
            fault(where, f"caption member larger than {MAX_TEXT:,} bytes")
            return
        stream = tar.extractfile(member)
        content = stream.read() if stream else b""
        try:
            if suffix == "txt":
                if sample.from_text:
                    fault(where, "sample has two captions")
                    return
                sample.caption, sample.from_text = content.decode("utf-8-sig"), True
            elif not sample.from_text:
                value = json.loads(content)
                sample.caption = value.get("caption") if isinstance(value, dict) else None
        except (ValueError, RecursionError):
            fault(where, "caption is not UTF-8 text or JSON")
