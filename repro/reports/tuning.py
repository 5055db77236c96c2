"""What a search of training settings found: all trials as CSV, the chosen ones as a sheet and as lines of a profile."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.files import write_text
from repro.reports.tables.sheet import Column, Sheet, number
from repro.requests import TuneRequest

FILE = "tuning.csv"
DONE, DIVERGED, FAILED = "done", "diverged", "failed"
CHOSEN, NOT_CHOSEN = "yes", ""
SEARCH = ("profile", "method", "tower", "space", "seed", "trials", "scenes", "schedule", "training")
"""What a search is: rows that agree in these belong to one, and a new search of the same replaces them."""
COLUMNS = (
    *SEARCH,
    *("trial", "rung", "iterations", "lr", "weight_decay", "loss_weights"),
    *("miou_gt", "pacc", "seconds", "status", "error", "chosen", "hardware", "date"),
)

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Tuning:
    """All trials of a search, a row for each on each rung it came to; figures are fractions."""

    request: TuneRequest
    rows: Sequence[Row]

    @property
    def chosen(self) -> list[Row]:
        """The chosen row of every method that has one."""
        return [row for row in self.rows if row["chosen"]]

    @property
    def exit_code(self) -> int:
        """1 where the search of a method did not come to its end."""
        return 0 if {r["method"] for r in self.chosen} == {r["method"] for r in self.rows} else 1

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rows as flat objects (docs/json.md)."""
        return [{k: row.get(k) for k in COLUMNS} for row in self.rows]

    def write(self, folder: Path) -> Path:
        """Write all trials to ``folder``/tuning.csv and return its path; rows of other searches stay in it."""
        path = folder / FILE
        own = [_text(row) for row in self.rows]
        mine = {_search(row) for row in own}
        kept = [row for row in read_tuning(path) if _search(row) not in mine] if path.is_file() else []
        write_text(path, _csv([*kept, *own]))
        return path

    def sheet(self) -> Sheet:
        """Return the chosen values of each method, with what they and the present values reached."""
        columns = [
            Column("method", "Method"),
            Column("trial", "Trial", right=True),
            Column("lr", "Learning rate", right=True),
        ]
        columns += [Column("weight_decay", "Weight decay", right=True), Column("loss_weights", "Loss weights")]
        columns += [
            Column("chosen", "chosen", "mIoU (%)", right=True),
            Column("present", "present", "mIoU (%)", right=True),
        ]
        remarks = [_budget(row) for row in self.chosen]
        methods = {row["method"] for row in self.chosen}
        missing = [row["method"] for row in self.rows if row["method"] not in methods]
        remarks += [f"{name}: the search did not come to its end." for name in dict.fromkeys(missing)]
        lost = [row for row in self.rows if row["status"] != DONE]
        remarks += [
            f"Lost: {r['method']}, trial {r['trial']} at {r['iterations']} iterations: {r['error']}" for r in lost
        ]
        caption = (
            "Chosen by mIoU over classes with ground truth on held-out training scenes; no benchmark was looked at."
        )
        return Sheet("Tuning", caption, "tab:tuning", columns, [self._cells(row) for row in self.chosen],
                     [" ".join(line.split()) for line in dict.fromkeys(remarks)])  # fmt: skip

    def _cells(self, row: Row) -> dict[str, str]:
        present = [r for r in self.rows if (r["method"], r["trial"], r["rung"]) == (row["method"], 0, row["rung"])]
        return {
            "method": row["method"],
            "trial": str(row["trial"]),
            "lr": f"{row['lr']:g}",
            "weight_decay": f"{row['weight_decay']:g}",
            "loss_weights": _weights(row["loss_weights"]) or "none",
            "chosen": number(100 * row["miou_gt"], 2),
            "present": number(100 * present[0]["miou_gt"], 2) if present and present[0]["status"] == DONE else "",
        }

    def lines(self) -> list[str]:
        """Return what a profile says to run as chosen: ``train_overrides``, and options of ``methods``."""
        profile = self.request.load()
        overrides = {name: dict(values) for name, values in profile.train_overrides.items()}
        options = {}
        for row in self.chosen:
            own = overrides.get(row["method"], {}) | {name: row[name] for name in ("lr", "weight_decay")}
            overrides[row["method"]] = {k: v for k, v in own.items() if v != getattr(profile.train, k)}
            if row["loss_weights"] and row["trial"]:
                options[row["method"]] = row["loss_weights"]
        lines = [f"train_overrides = {_dict({name: _dict(own) for name, own in overrides.items() if own})}"]
        return lines + [f"# methods, {name}, {self.request.tower}: {_dict(own)}" for name, own in options.items()]


def read_tuning(path: Path) -> list[dict[str, str]]:
    """Return the rows of a tuning.csv, all values as text."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def weights_of(text: str) -> dict[str, float]:
    """Return the loss weights that a row of tuning.csv names as ``name=value;..``."""
    return {name: float(value) for name, _, value in (pair.partition("=") for pair in text.split(";") if pair)}


def _search(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in SEARCH)


def _text(row: Row) -> dict[str, str]:
    shown = {**row, "loss_weights": _weights(row["loss_weights"]), "error": " ".join(str(row.get("error", "")).split())}
    return {name: "" if shown.get(name) is None else str(shown[name]) for name in COLUMNS}


def _csv(rows: Iterable[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _weights(weights: Mapping[str, float]) -> str:
    return ";".join(f"{name}={value:g}" for name, value in weights.items())


def _dict(values: Mapping[str, Any]) -> str:
    return f"dict({', '.join(f'{name}={value}' for name, value in values.items())})"


def _budget(row: Row) -> str:
    return (
        f"Tuning: chosen by repro tune, {row['trials']} trials a method on {row['scenes']} held-out training scenes, "
        f"{row['schedule']} iterations at the most, seed {row['seed']}; {row['space']}."
    )
