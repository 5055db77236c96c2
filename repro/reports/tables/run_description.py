"""One run of the store: what is done, from what it was made, which rows it serves, and whether the code is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.files import read_json
from repro.reports.tables.evidence import LOSSES, read_losses
from repro.runs.addresses.adopting import pieces, uses
from repro.runs.addresses.stored import stored_run
from repro.runs.gates.early import read_early
from repro.runs.scored import METHOD as PREDICTIONS
from repro.runs.scored import OTHER_CODE
from repro.runs.store import COMPLETE, RunStore, part_of

KEPT = ("miou_gt", "miou_union", "num_images", "protocol_digest", "hardware", "seconds")


def describe_run(store: RunStore, run_id: str) -> dict[str, Any]:
    """Return what is known of ``run_id`` (keys: docs/reports.md); RunStore.run(run_id) must hold a provenance.json."""
    folder = store.run(run_id)
    record = read_json(folder / "provenance.json")
    facts = record.get("facts", {})
    method = facts.get("method")
    return {
        "run": run_id,
        "method": method,
        "seed": facts.get("seed"),
        "training": _training(store, run_id, facts.get("train")),
        "evaluations": {p.name: _evaluation(p) for p in sorted(folder.glob("eval/*")) if p.is_dir()},
        **_users(store, run_id),
        "code": code_of(store, run_id),
        "made from": {k: v for k, v in facts.items() if k not in ("method", "seed", "code")},
        "made by": {k: record.get(k) for k in ("command", "created", "repro", "git", "python", "packages", "hardware")},
        "files MiB": {p.name: round(p.stat().st_size / 2**20, 2) for p in sorted(folder.iterdir()) if p.is_file()},
    }


def summaries(store: RunStore, *, method: str | None = None, benchmark: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield id and state line of every run in the store, or of those of ``method`` or evaluated on ``benchmark``."""
    for path in sorted(store.root.glob("*/provenance.json")):
        run_id, facts = path.parent.name, read_json(path).get("facts", {})
        metrics = {p.parent.name: p for p in sorted(path.parent.glob(f"eval/*/{COMPLETE}"))}
        if method is not None and facts.get("method") != method:
            continue
        if benchmark is not None:
            own = {n: p for n, p in metrics.items() if n.partition("@")[0] == benchmark}
            for name, found in own.items():
                note = f" ({part})" if (part := part_of(found.parent)) else ""
                yield run_id, f"{name}{note}: mIoU {100 * read_json(found)['miou_gt']:.2f} %"
            continue
        training = _training(store, run_id, facts.get("train"))
        trained = "not trained" if facts.get("train") is None else f"training {training['state']}"
        trained = f"{facts['name']}, {OTHER_CODE}" if facts.get("method") == PREDICTIONS else trained
        if training["state"] not in ("finished", "not begun") and facts.get("train"):
            trained += f" ({training['iterations']} of {training['of']} iterations)"
        yield run_id, f"{trained}; evaluated on {', '.join(metrics) or 'nothing'}"


def _training(store: RunStore, run_id: str, settings: dict[str, Any] | None) -> dict[str, Any]:
    if settings is None:
        return {"state": "none: this method is not trained"}
    logged = read_losses(store.run(run_id) / LOSSES)
    done = store.weights(run_id).is_file()
    last = logged[-1] if logged else {}
    return {
        "state": "finished" if done else "interrupted or under way" if logged else "not begun",
        "iterations": settings.get("iterations") if done else last.get("iteration", 0),
        "of": settings.get("iterations"),
        "last loss": last.get("loss"),
        **({"early look": early} if (early := read_early(store.run(run_id))) else {}),
    }


def _evaluation(folder: Path) -> dict[str, Any]:
    """Return the state of one evaluation folder and, where it is complete, its numbers."""
    if not (folder / COMPLETE).is_file():
        begun = any(folder.glob("*.partial.npz"))
        return {"state": "interrupted or under way" if begun else "not begun"}
    metrics = read_json(folder / COMPLETE)
    own: dict[str, Any] = {k: metrics[k] for k in KEPT if k in metrics}
    own |= {"part": part} if (part := part_of(folder)) else {}
    measures = sorted(p.parent.name.partition("-")[0] for p in folder.glob("measures/*/measure.json"))
    return {"state": "finished", **own, **({"measures": measures} if measures else {})}


def _users(store: RunStore, run_id: str) -> dict[str, list[str]]:
    """Return the rows of tables that this run serves, and why it does not serve those of the same name."""
    try:
        served, others = uses(stored_run(run_id, store.root), run_id)
    except ReproError as error:
        return {"used by": [], "not used by": [f"not known: {error.message}"]}
    return {"used by": served, "not used by": others}


def code_of(store: RunStore, run_id: str) -> dict[str, str]:
    """Tell, of everything the run rests on, whether the current code computes the same."""
    try:
        return {
            p.what: ": ".join(filter(None, (p.verdict.state, p.verdict.reason))) for p in pieces(run_id, store.root)
        }
    except ReproError as error:
        return {"state": f"not known: {error.message}"}
