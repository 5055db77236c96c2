"""``repro data captions``: captions to files of labels, shard by shard, so that a killed run resumes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import repro
from repro.captions import phrases, sources
from repro.captions.labels import PROVENANCE, SHARDS, VOCABULARY, read_counts
from repro.captions.sources import Plan, Record, Shard, Tally
from repro.datasets.contents import stamp
from repro.datasets.parallel import parallel
from repro.errors import DataError, ResourceError, UsageError, command
from repro.files import read_json, write_atomic, write_json, write_text
from repro.hashing import digest, file_digest
from repro.sources import sources as project_sources

SCHEMA = 1
"""Version of the output format."""
PLAN = "plan.json"
LEFTOVERS = ".*.partial"
"""What a killed process was writing."""
SHARD_IMAGES = 5_000
"""Images of a shard: some ten seconds of parsing, which is what a kill can cost each process."""
ARCHIVES = "webdataset"
"""The format whose sources are not identified by all of their bytes."""


@dataclasses.dataclass(frozen=True)
class _Task:
    """One shard for a worker."""

    format: str
    shard: Shard
    exclusions: Path
    target: Path


def convert(
    source: Path,
    out: Path,
    format_: str = "auto",
    jobs: int = 1,
    exclusions: Path = phrases.EXCLUSIONS,
    shard_images: int = SHARD_IMAGES,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the labels of ``source`` to the folder ``out`` and return its provenance (docs/captions.md).

    Shards that are already there are kept: after a kill the same call resumes and ends with the same files.
    ``progress`` is told shards (done, in all). Raises UsageError for an ``out`` that holds something else or labels
    made otherwise, DataError for a source that cannot be read or holds no usable caption, ResourceError without spaCy
    or its model, or where the system ends a process.
    """
    plan, identity = _planned(source, format_, exclusions, shard_images, jobs)
    return _convert(plan, identity, out, exclusions, jobs, progress)


def convert_into(cache: Path, source: Path, jobs: int = 1, progress: Callable[[int, int], None] | None = None) -> Path:
    """Return the folder below ``cache`` with the labels of ``source`` by the defaults of :func:`convert`, made first
    where they are not there. Other sources, and another code, have another folder. Raises as :func:`convert`.
    """
    plan, identity = _planned(source, "auto", phrases.EXCLUSIONS, SHARD_IMAGES, jobs)
    folder = cache / f"{source.stem}-{digest(identity, 10)}"
    _convert(plan, identity, folder, phrases.EXCLUSIONS, jobs, progress)
    return folder


def _convert(
    plan: Plan,
    identity: dict[str, Any],
    out: Path,
    exclusions: Path,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Write what :func:`_planned` found to ``out`` and return its provenance."""
    _claim(out, identity)
    if (out / PROVENANCE).is_file() and not _pending(out, plan):
        return dict(read_json(out / PROVENANCE))
    (out / PROVENANCE).unlink(missing_ok=True)
    pending = _pending(out, plan)
    done, total = len(plan.shards) - len(pending), len(plan.shards)
    if progress:
        progress(done, total)
    tasks = [_Task(plan.format, plan.shards[i], exclusions.resolve(), _target(out, i)) for i in pending]
    try:
        for _ in parallel(_work, tasks, jobs, chunk=1):
            done += 1
            if progress:
                progress(done, total)
    except BrokenProcessPool as error:
        raise ResourceError(
            "the system ended a process, probably for lack of memory",
            expected=f"{jobs} processes of about 0.5 GiB each",
            found=error,
            mend="the same command with fewer --jobs; finished shards are kept",
        ) from error
    return _finish(out, plan, identity)


def _planned(source: Path, format_: str, exclusions: Path, shard_images: int, jobs: int) -> tuple[Plan, dict[str, Any]]:
    """Return the shards of ``source`` and what identifies the labels that are made of it."""
    if shard_images < 1 or jobs < 1:
        raise UsageError(
            "a shard needs an image and the work a process", expected="1 or more", found=(shard_images, jobs)
        )
    exclusion_list = phrases.Exclusions.read(exclusions)
    versions = phrases.parser_versions()
    with _readable(source):
        plan = sources.make_plan(*sources.find_files(source, format_), shard_images)
    return plan, {
        "schema": SCHEMA,
        "format": plan.format,
        "sources": plan.files,
        "shard_images": shard_images,
        "exclusions": {
            "file": exclusions.name,
            "sha256": file_digest(exclusions),
            "substrings": len(exclusion_list.parts),
            "phrases": len(exclusion_list.whole),
        },
        "parser": versions,
        "code": project_sources().source(["repro.captions.convert:_work"]).digest,
    }


@contextlib.contextmanager
def _readable(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot read {error.filename or source}",
            expected="a readable file",
            found=error.strerror,
            mend=command("ls", "-l", Path(error.filename or source)),
        ) from error


def _target(out: Path, number: int) -> Path:
    return out / SHARDS / f"{number:06d}.jsonl"


def _report(target: Path) -> Path:
    return target.with_suffix(".json")


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Make ``out`` the folder of this work; UsageError where it is already another's."""
    path = out / PLAN
    if path.is_file():
        found = read_json(path)
        differing = [k for k in identity if not isinstance(found, dict) or found.get(k) != identity[k]]
        if differing:
            raise UsageError(
                f"{out} holds labels that were made differently: {', '.join(differing)} differ",
                expected=f"the same {differing[0]}: {json.dumps(identity[differing[0]])[:200]}",
                found=json.dumps(found.get(differing[0]) if isinstance(found, dict) else found)[:200],
                mend="name another --out",
            )
        return
    if out.exists() and (not out.is_dir() or {*out.iterdir()} - {*out.glob(LEFTOVERS)}):
        raise UsageError(
            f"{out} is not an empty folder", expected="a new one", found="other files", mend="name another --out"
        )
    write_json(path, identity)


def _pending(out: Path, plan: Plan) -> list[int]:
    """Return the shards without a complete result; the report is written last and says how long its labels are.

    Archives are not identified by a digest of their bytes: one that was touched since is looked into again.
    """
    pending = []
    for number in range(len(plan.shards)):
        target = _target(out, number)
        try:
            report = read_json(_report(target))
            complete = target.stat().st_size == report["bytes"]
            if plan.format == ARCHIVES:
                complete = complete and report.get("stamp") == stamp(plan.shards[number].path)
        except FileNotFoundError:
            complete = False
        if not complete:
            pending.append(number)
    return pending


def _work(task: _Task) -> None:
    """Write one shard's labels and then its report; of an archive that still says the same, the report alone."""
    _end_with_parent()
    tally = Tally()
    seen = stamp(task.shard.path)
    kept = _kept(task) if task.format == ARCHIVES else {}
    records = sources.read_shard(task.format, task.shard, tally)
    read = digest([dataclasses.asdict(record) for record in records], 64)
    if kept.get("read") == read:
        write_json(_report(task.target), {**kept, "stamp": seen})
        return
    texts = [c for r in records for c in r.captions]
    labels = iter(phrases.extract(texts, phrases.Exclusions.read(task.exclusions), tally.counts))
    lines = []
    for record in records:
        found = dict.fromkeys(label for _ in record.captions for label in next(labels))
        tally.counts["labels"] += len(found)
        tally.counts["images_without_label"] += not found
        lines.append(_line(record, list(found)))
    content = "".join(lines).encode()
    write_atomic(task.target, lambda stream: stream.write(content))
    facts: dict[str, Any] = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": task.shard.path.name,
    }
    if task.format == ARCHIVES:
        facts |= {"stamp": seen, "read": read}
    write_json(_report(task.target), {**facts, **tally.to_json()})


def _kept(task: _Task) -> dict[str, Any]:
    """Return the report of labels that are there whole, {} where none are."""
    try:
        report = dict(read_json(_report(task.target)))
        return report if file_digest(task.target) == report["sha256"] else {}
    except (OSError, DataError, KeyError, ValueError, TypeError):
        return {}


def _line(record: Record, labels: list[str]) -> str:
    value: dict[str, Any] = {"image": record.image, "labels": labels}
    if record.place is not None:
        archive = record.image.removesuffix(f"/{record.place.member}")
        value |= {"archive": archive, "offset": record.place.offset, "bytes": record.place.bytes}
    return json.dumps(value, ensure_ascii=False) + "\n"


@functools.cache
def _end_with_parent() -> None:
    """End this worker when the command is killed, which would otherwise leave it waiting for work forever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _finish(out: Path, plan: Plan, identity: dict[str, Any]) -> dict[str, Any]:
    """Count the vocabulary, write it and the provenance, and return that."""
    tally, counts, digests = Tally(), Counter[str](), []
    tally.add(plan.tally)
    for number in range(len(plan.shards)):
        target = _target(out, number)
        report = read_json(_report(target))
        if file_digest(target) != report["sha256"]:
            raise DataError(
                f"{target} was changed after it was written",
                expected=f"SHA-256 {report['sha256']}",
                found=file_digest(target),
                mend="the same command again, with another --out",
            )
        tally.add(Tally.from_json(report))
        counts.update(read_counts(target))
        digests.append(report["sha256"])
    if not tally.counts["captions"]:
        raise DataError(
            "the source holds no usable pair of image and caption",
            expected=f"captions as {plan.format} has them",
            found="; ".join(f"{n} x {why}" for why, n in tally.malformed.most_common(3)) or "no row at all",
            mend="name the right --format and another --out, see docs/captions.md",
        )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    write_text(out / VOCABULARY, "".join(f"{label}\t{count}\n" for label, count in ordered))
    tally.counts["vocabulary"] = len(ordered)
    provenance = {
        **identity,
        "version": repro.__version__,
        "shards": len(plan.shards),
        **tally.to_json(),
        "labels_digest": digest(digests, 64),
        "vocabulary_sha256": file_digest(out / VOCABULARY),
    }
    for leftover in (*out.glob(LEFTOVERS), *(out / SHARDS).glob(LEFTOVERS)):
        leftover.unlink(missing_ok=True)
    write_json(out / PROVENANCE, provenance)
    return dict(read_json(out / PROVENANCE))
