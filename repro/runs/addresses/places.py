"""Where a made thing lies: the newest that the current code may use, else a place of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from repro.errors import command
from repro.runs.addresses.code import Verdict


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a made thing lies or will lie. ``verdict`` of what is there, None where nothing is; ``stale``: why what
    was made before, which is called ``was``, is not used, None where nothing was."""

    path: Path
    verdict: Verdict | None = None
    stale: str | None = None
    was: str = ""

    @property
    def adopted(self) -> str:
        """Since when and why it is used although the code differs; empty where it does not."""
        return self.verdict.reason if self.verdict is not None and self.verdict.state == "adopted" else ""


def adopted_of(places: Iterable[Place | None]) -> str | None:
    """Say why and since when any of ``places`` is used although the code that made it differs; None where none is."""
    found = dict.fromkeys(p.adopted for p in places if p is not None and p.adopted)
    return "; ".join(found) or None


def adopted_note(what: str, why: str, run: str = "") -> str:
    """Return the footnote of a table that uses ``what`` was taken over, and the command that tells of its ``run``."""
    more = f" ({command('repro', 'runs', 'why', run)})" if run else ""
    return f"Taken over by hand, {what}{more}: {why}."


def settle(
    base: Path,
    there: Callable[[Path], bool],
    judge: Callable[[Path], Verdict],
    before: Iterable[Path] = (),
) -> Place:
    """Find the newest of ``base``, ``base.2`` .. and ``before`` that the current code may use, else a free one.

    ``there`` says whether a path is taken, ``judge`` whether it may be used; ``before`` are names of version 0.1.0.
    """
    path, number, present = base, 1, list[Path]()
    while there(path):
        present.append(path)
        number += 1
        path = base.with_name(f"{base.name}.{number}")
    judged = [(p, judge(p)) for p in [*reversed(present), *(p for p in before if p not in present)]]
    fitting = [(p, verdict) for p, verdict in judged if verdict.fits]
    # What was taken over by hand is meant, whatever was made since.
    for chosen, verdict in sorted(fitting, key=lambda found: found[1].state != "adopted"):
        return Place(chosen, verdict)
    return Place(path, None, judged[0][1].reason, judged[0][0].name) if judged else Place(path)
