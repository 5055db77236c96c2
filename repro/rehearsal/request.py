"""What a rehearsal is asked for, and the plan it follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile
from repro.configuration.tables import facts_of, load_table
from repro.errors import UsageError, command
from repro.runs.plan import Plan, Selection

WARMUP = 1
"""Steps of a training, and images of a row, before those that are measured."""


@dataclasses.dataclass(frozen=True)
class RehearsalRequest(Selection):
    """A rehearsal of ``table`` under ``profile``, narrowed to ``methods``, ``benchmarks`` and ``seeds`` (None: all).

    ``steps`` of each training and ``images`` of each benchmark are measured, for at most ``minutes`` per row (None: as
    long as it takes). A batch goes through the method in ``accumulate`` parts (0: as few as the memory has room for).
    ``memory_gib`` replaces what the device has free, ``training`` fields of the training settings.
    """

    table: str = ""
    profile: str = "mini"
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: int = 3
    images: int = 2
    minutes: float | None = None
    accumulate: int = 0
    checkpoint_activations: bool = False
    memory_gib: float | None = None
    device: str = "auto"

    def plan(self) -> Plan:
        """Plan the table. Raises UsageError for unknown names, numbers that cannot be and other kinds of tables."""
        for name, least in {"steps": 1, "images": 1, "accumulate": 0}.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} of a rehearsal", expected=f"{least} or more", found=getattr(self, name))
        for name in ("minutes", "memory_gib"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise UsageError(f"{name} of a rehearsal", expected="more than 0", found=value)
        table, profile = load_table(self.table), load_profile(self.profile)
        if not facts_of(table).evaluates:
            raise UsageError(
                f"{table.name} is a table of {table.kind}: only tables of benchmarks are rehearsed",
                expected="a table whose rows are trained and evaluated, such as table1",
                found=table.name,
                mend="this shows what it needs: "
                + command("repro", "run", table.name, "--profile", self.profile, "--dry-run"),
            )
        return self.narrow(table, profile, overrides=dict(self.training))

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain data, for another process."""
        values = dataclasses.asdict(self)
        return {**values, "runs": str(self.runs), "data_root": self.data_root and str(self.data_root)}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> RehearsalRequest:
        """Return the request that :meth:`to_json` wrote."""
        root = values["data_root"]
        return cls(**{**values, "runs": Path(values["runs"]), "data_root": root and Path(root)})
