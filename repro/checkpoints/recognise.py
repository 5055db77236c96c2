"""Which known format a file has, and, where it has none, an error that says how near it comes."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from repro.checkpoints.clip import clip_formats
from repro.checkpoints.formats import Format, Layout, Misfit, likeness
from repro.checkpoints.methods import method_formats
from repro.checkpoints.reading import ForeignFile
from repro.errors import WeightsError, command, unknown_name

_ALIKE = 0.2  # share of common names below which a format is not worth naming


class MisfitError(WeightsError):
    """A file that does not fit; ``report`` holds the whole lists for machines."""

    def __init__(self, message: str, report: dict[str, Any], **facts: Any) -> None:
        super().__init__(message, **facts)
        self.report = {"error": message, **report}


@dataclasses.dataclass(frozen=True)
class Recognised:
    """A file, its format and variant, and the layout it fits."""

    file: ForeignFile
    format: Format
    variant: str
    layout: Layout


@cache
def known_formats() -> tuple[Format, ...]:
    """List methods' official checkpoints first, then CLIP's."""
    return (*method_formats(), *clip_formats())


def recognise(file: ForeignFile, wanted: str | None = None) -> Recognised:
    """Recognise the format and variant of ``file``; ``wanted`` (``--as``) names the variant or a format outright.

    Raises MisfitError for a file that is incomplete, of a variant other than ``wanted`` or of no known format, and for
    one whose tensors fit several variants that compute different things; UsageError for an unknown ``wanted``.
    """
    fits: list[tuple[Recognised, Misfit]] = []
    misfits: list[tuple[Recognised, Misfit]] = []
    for found in _candidates(file, wanted):
        misfit = found.format.misfit(file, found.layout)
        (misfits if misfit else fits).append((found, misfit))
    if len(fits) == 1:
        return fits[0][0]
    if fits:
        raise _ambiguous(file, [found for found, _ in fits])
    if not misfits:
        raise _unknown(file)
    found, misfit = min(misfits, key=lambda pair: len(pair[1]))
    raise _misfit(file, found, misfit, wanted)


def _candidates(file: ForeignFile, wanted: str | None) -> list[Recognised]:
    formats = known_formats()
    if wanted is None or wanted in {f.id for f in formats}:
        chosen = [(f, v) for f in formats if wanted in (None, f.id) for v in f.guess(file)]
    else:
        chosen = [(f, wanted) for f in formats if wanted in f.variants()]
        if not chosen:
            known = [v for f in formats for v in f.variants()] + [f.id for f in formats]
            error = unknown_name(
                "checkpoint", wanted, known, mend=f"{command('repro', 'import-checkpoint', file.path)} (without --as)"
            )
            methods = [v for f in method_formats() for v in f.variants()]
            error.expected = f"one of {', '.join(methods)}, or an open_clip model such as EVA02-B-16"
            raise error
    return [Recognised(file, f, v, f.layout(v, file.shapes)) for f, v in chosen]


def _ambiguous(file: ForeignFile, found: list[Recognised]) -> MisfitError:
    names = [f.variant for f in found]
    why = (
        "OpenAI's weights and what was tuned from them need QuickGELU, others mostly do not"
        if any(n.endswith("-quickgelu") for n in names)
        else "they differ in the image size they were trained with"
    )
    return MisfitError(
        f"{file.path} fits {' and '.join(names)}: the tensors cannot tell",
        {"fits": names},
        expected=f"--as one of them ({why})",
        found=f"{len(file.state)} tensors without that information",
        mend=" or ".join(command("repro", "import-checkpoint", file.path, "--as", n) for n in names),
    )


def _misfit(file: ForeignFile, found: Recognised, misfit: Misfit, wanted: str | None) -> MisfitError:
    title = found.format.describe(found.variant)["title"]
    report: dict[str, Any] = {"nearest": found.variant, **misfit.as_json()}
    mend = f"take a complete file ({found.format.page}); --json lists all names"
    hint = found.format.hint(file.shapes)
    if wanted is not None:
        try:
            fitting = recognise(file).variant
        except MisfitError as error:
            report["nearest"] = error.report.get("nearest")
        else:
            report["nearest"] = fitting
            mend = command("repro", "import-checkpoint", file.path, "--as", fitting)
        hint = hint or (f"nearest known format: {report['nearest']}" if report["nearest"] else None)
    return MisfitError(
        f"{file.path} {'is not' if wanted else 'is nearest to, but not,'} a complete {title} ({found.variant})"
        + (f"\n  {hint}" if hint else ""),
        report,
        expected=f"its {len(found.layout.shapes)} entries",
        found=str(misfit),
        mend=mend,
    )


def _unknown(file: ForeignFile) -> MisfitError:
    likenesses = [
        (likeness(file.state, f.layout(f.variants()[0], {}).shapes), f.title, f.variants()[0]) for f in known_formats()
    ]
    share, title, variant = max(likenesses)
    near = f"; {share:.0%} of the kinds of names are those of {title}" if share >= _ALIKE else ""
    names = sorted(file.state)
    shown = ", ".join(f"{n} {'x'.join(map(str, file.shapes[n])) or 'scalar'}" for n in names[:5])
    return MisfitError(
        f"{file.path} is not a checkpoint of a known format",
        {
            "nearest": variant if share >= _ALIKE else None,
            "likeness": {v: round(s, 3) for s, _, v in likenesses},
            "entries": [{"name": n, "shape": list(file.shapes[n])} for n in names],
        },
        expected="; ".join(f.title for f in known_formats()),
        found=f"{len(names)} tensors: {shown}{' ..' if len(names) > 5 else ''}{near}",
        mend="docs/checkpoints.md lists the files that can be imported",
    )
