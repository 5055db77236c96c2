"""Downloads of published files: resumed where they broke off, checked, and whole or absent under their name."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import repro
from repro import ranks
from repro.checkpoints.room import check_folder
from repro.errors import ResourceError, WeightsError, command
from repro.files import check_room, read_json, storage_errors, write_json
from repro.hashing import file_digest
from repro.locks import folder_lock

_CHUNK = 2**20
_TIMEOUT_S = 30.0
_PART, _FROM = "data", "from.json"
"""What lies in the hidden folder of an unfinished download: what came so far, and what it is a part of."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A file as its owners publish it: ``sha256`` empty and ``size`` (bytes) 0 where they say nothing.

    ``page`` is where they describe it, ``by_hand`` how it is had without a network here.
    """

    url: str
    page: str
    by_hand: str
    sha256: str = ""
    size: int = 0


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A file that is here. ``checked``: its SHA-256 is the published one; ``new``: this call has downloaded it."""

    path: Path
    sha256: str
    size: int
    checked: bool
    new: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def fetch(published: Published, target: Path) -> Fetched:
    """Download ``published`` to ``target``, or find it there.

    What came is kept when the connection breaks, and continued by the next call. Beside the file lies
    ``<name>.json``: from where, SHA-256, bytes, and whether the digest was published. Raises ResourceError where the
    address cannot be reached, the connection breaks, or the folder cannot be written or is too small; WeightsError
    where the address has no such file, and for one that is not the published one: nothing is kept then.
    """
    if found := present(target, published.sha256):
        return found
    check_folder(target.parent, 0)
    partial = target.with_name(f".{target.name}.partial")
    part = partial / _PART
    with folder_lock(partial, wait=True):
        try:
            if found := present(target, published.sha256):  # fetched by a process that this one waited for
                return found
            partial.mkdir(parents=True, exist_ok=True)
            if not (part.is_file() and published.size and part.stat().st_size == published.size):
                _transfer(published, target, partial)
            return _accept(published, part, target)
        finally:
            if not part.exists():
                shutil.rmtree(partial, ignore_errors=True)


def present(target: Path, sha256: str = "", *, source: str = "") -> Fetched | None:
    """Return what lies at ``target``, compared with ``sha256`` or else with its own record; None where nothing does.

    A file that was put there by hand, or by other code from ``source``, gets a record. WeightsError where the digests
    differ.
    """
    if not target.is_file():
        return None
    record = target.with_name(f"{target.name}.json")
    known = sha256 or (read_json(record)["sha256"] if record.is_file() else "")
    digest = file_digest(target)
    if known and digest != known:
        raise WeightsError(
            f"{target} is not the file that was {'published' if sha256 else 'fetched'}",
            expected=f"SHA-256 {known}",
            found=f"SHA-256 {digest}, {target.stat().st_size:,} bytes",
            mend=f"move {command(target)} away and give the same command again",
        )
    found = Fetched(target, digest, target.stat().st_size, bool(sha256), False)
    if not record.is_file():
        _write_record(found, source or "put there by hand")
    return found


def _write_record(found: Fetched, source: str) -> None:
    facts = {"source": source, "sha256": found.sha256, "bytes": found.size, "published_digest": found.checked}
    write_json(found.path.with_name(f"{found.path.name}.json"), facts)


def _accept(published: Published, part: Path, target: Path) -> Fetched:
    """Rename what came to ``target`` where it is what was published; else remove it."""
    digest, size = file_digest(part), part.stat().st_size
    if published.sha256 not in ("", digest):
        part.unlink()
        raise _another_file(published, f"SHA-256 {published.sha256}", f"SHA-256 {digest}, {size:,} bytes")
    found = Fetched(target, digest, size, bool(published.sha256), True)
    _write_record(found, published.url)
    with storage_errors(target):
        part.replace(target)
    return found


def _another_file(published: Published, expected: str, found: str) -> WeightsError:
    return WeightsError(
        f"{published.url} gave another file than was published; nothing of it was kept",
        expected=expected,
        found=found,
        mend=f"give the same command again; where the same comes again, {published.page} says what is published now",
    )


def _transfer(published: Published, target: Path, partial: Path) -> None:
    """Add to what came before what is still to come."""
    part, source = partial / _PART, partial / _FROM
    begun = read_json(source) if source.is_file() and part.is_file() else {}
    same = begun.get("url") == published.url and (begun.get("version") or published.sha256)
    done = part.stat().st_size if same else 0
    with _open(published, done, begun.get("version") if done else None) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            done = 0  # it changed there, or the server gives whole files only
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else published.size
        if published.size and total != published.size:
            part.unlink(missing_ok=True)
            raise _another_file(published, f"{published.size:,} bytes", f"{total:,} bytes")
        check_room(
            target,
            total - done + 2**20,
            target.name,
            mend="free some space, or name a folder on another disk with --out",
        )
        write_json(source, {"url": published.url, "version": _version(response)})
        with storage_errors(target), part.open("ab" if done else "wb") as stream:
            _copy(response, stream, done, total, target.name)
            stream.flush()
            os.fsync(stream.fileno())
    have = part.stat().st_size
    if total and have != total:
        raise ResourceError(
            f"the download of {target.name} broke off",
            expected=f"{total:,} bytes",
            found=f"{have:,} bytes, which are kept",
            mend="give the same command again: it goes on from there",
        )


def _copy(response: http.client.HTTPResponse, stream: IO[bytes], done: int, total: int, name: str) -> None:
    """Write what comes to ``stream`` until it ends or breaks."""
    from tqdm import tqdm

    quiet = not (ranks.is_first() and sys.stderr.isatty())
    with tqdm(initial=done, total=total or None, desc=name, unit="B", unit_scale=True, disable=quiet) as bar:
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, http.client.HTTPException):  # the length says that something is missing
                return
            if not chunk:
                return
            stream.write(chunk)
            bar.update(len(chunk))


def _version(response: http.client.HTTPResponse) -> str | None:
    """Return what names this version of the file in a later request for the rest of it; None where nothing does."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else None


@contextlib.contextmanager
def _open(published: Published, begin: int, version: str | None) -> Iterator[http.client.HTTPResponse]:
    """Ask for the bytes from ``begin`` on: of ``version`` where one is known, else whatever it is now."""
    headers = {"User-Agent": f"repro/{repro.__version__}", "Accept-Encoding": "identity"}
    if begin:
        headers |= {"Range": f"bytes={begin}-"} | ({"If-Range": version} if version else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(published.url, headers=headers), timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if begin and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                response = None
            else:
                raise WeightsError(
                    f"{published.url} does not give the file",
                    expected="the file",
                    found=f"the answer {error.code} {error.reason}",
                    mend=f"see {published.page} for where it is now; {published.by_hand}",
                ) from error
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(published.url, error, published.by_hand) from error
    if response is None:  # there is nothing after what came before: it is no part of this file
        with _open(published, 0, None) as whole:
            yield whole
        return
    with response:
        yield response


def unreachable(url: str, error: Exception, by_hand: str) -> ResourceError:
    """Return the error for an address that cannot be reached."""
    reason = getattr(error, "reason", None) or error
    return ResourceError(
        f"{url} cannot be reached",
        expected="a network",
        found=str(reason).strip().split("\n")[0][:200] or type(error).__name__,
        mend=by_hand,
    )
