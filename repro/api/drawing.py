"""``repro data synth``: the miniature of a profile, drawn into the run store or a folder of the user's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile
from repro.console import log
from repro.errors import UsageError
from repro.files import write_json
from repro.paths import DEFAULT_RUNS
from repro.runs.assets import Assets


@dataclasses.dataclass(frozen=True)
class SynthRequest:
    """The generated data of a profile, below ``out`` (None: in the store ``runs``), from ``seed`` (None: its own).

    ``prepared``: labels are converted as well; in the store they always are.
    """

    profile: str = "mini"
    runs: Path = DEFAULT_RUNS
    out: Path | None = None
    seed: int | None = None
    prepared: bool = True


def draw_data(request: SynthRequest) -> Path:
    """Draw the data and return their root; UsageError for a profile that draws none."""
    profile = load_profile(request.profile)
    if not profile.synthetic:
        raise UsageError(
            f"profile {profile.name} has no generated data",
            expected="a profile that draws its own",
            mend="--profile mini",
        )
    data = {**profile.data, "seed": profile.data["seed"] if request.seed is None else request.seed}
    if request.out is None:
        return Assets(dataclasses.replace(profile, data=data), request.runs, None).ensure_data(log)
    _draw_into(request.out, data, prepared=request.prepared)
    return request.out


def _draw_into(root: Path, data: dict[str, Any], *, prepared: bool) -> None:
    """Draw the miniature ``data`` describes into a folder the user named; anew where other code drew what is there."""
    from repro.mini.draw import draw_miniature
    from repro.mini.synth import MANIFEST
    from repro.runs.addresses.code import FILE, Code
    from repro.runs.addresses.judging import miniature_subject
    from repro.runs.progress import count_progress

    code, subject = Code(None), miniature_subject(data)
    if (root / MANIFEST).is_file() and not (verdict := code.judge(root / FILE, subject, {})).fits:
        log(f"drawing anew: {verdict.reason}")
        (root / MANIFEST).unlink()
    draw_miniature(root, data["seed"], data.get("sizes", {}), log, prepared=prepared, progress=count_progress)
    if not (root / FILE).is_file() or not code.judge(root / FILE, subject, {}).fits:
        write_json(root / FILE, code.record(subject, {}))
