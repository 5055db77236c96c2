"""``repro weights [NAME]``: which published weights are known, and downloading one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.cli import common
from repro.runs.store import RunStore

if TYPE_CHECKING:
    from repro.checkpoints.fetching import Fetched
    from repro.checkpoints.released import KnownFile


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``weights``."""
    parser.add_argument("name", nargs="?", help="which to download: a name of the list, or MODEL/TAG of open_clip")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the file (default: the run store's cache; of a tag the cache of the Hugging Face hub)",
    )
    common.declare(parser, "runs", "json")
    parser.epilog = (
        "Without a name: all that is known, with sizes, licences, addresses, and whether it is here. A download that\n"
        "broke off goes on where it was; SHA-256 is compared where one is published. Without a network the error says\n"
        "what to fetch by hand and where to put it. Mind the licences of the files (docs/checkpoints.md)."
    )
    parser.set_defaults(execute=weights)


def weights(options: argparse.Namespace) -> int:
    """List what is known, or make sure that one file is here."""
    from repro.checkpoints.released import fetch_file, get_file, known_files

    cache = RunStore(options.runs).cache
    if options.name is None:
        listed = list(known_files().values())
        common.answer(options, lambda: [k.to_json(cache) for k in listed], lambda: _print_list(listed, cache))
        return 0
    known = get_file(options.name)
    with common.stdout_to_stderr():
        found = fetch_file(known, cache, options.out)
    following = known.use(found.path, options.out)
    answer = {**known.to_json(cache), "here": str(found.path), **found.to_json(), "next": following}
    common.answer(options, lambda: answer, lambda: _print_file(known, found, following))
    return 0


def _print_list(listed: list[KnownFile], cache: Path) -> None:
    for known in listed:
        facts: dict[str, Any] = known.to_json(cache)
        size = f"{facts['size'] / 1e6:,.0f} MB, " if facts["size"] else ""
        print(f"{facts['name']}  ({size}licence: {facts['licence'] or 'see the page'})")
        print(f"  for:  {facts['title']}")
        print(f"  from: {known.address}" + (f" (by hand: {known.file.why})" if known.file.why else ""))
        print(f"  here: {facts['here'] or 'no'}")


def _print_file(known: KnownFile, found: Fetched, following: str) -> None:
    state = "written" if found.new else "already there"
    print(f"{state}: {found.path} ({found.size / 1e6:,.1f} MB)")
    compared = (
        "as published" if found.checked else "none is published to compare it with; it is recorded beside the file"
    )
    print(f"  sha256 {found.sha256}: {compared}")
    print(f"  licence: {known.file.licence or f'see {known.file.page}'}")
    print(f"next: {following}")
