"""What a kind of tables does: from a request to a plan, states, numbers, a sheet. One interface, one command for all.

A table names its kind (``kind = "cost"`` in ``configs/tables``). The kind is the ``KIND`` of the module of that name in
:mod:`repro.tables`, or an entry point of the group ``repro.tables`` that another package announces.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from repro.configuration.backbone import swap_table
from repro.configuration.profiles import Profile
from repro.configuration.published import PublishedRows
from repro.configuration.tables import Table, find_kind
from repro.console import Log, duration
from repro.errors import UsageError, command
from repro.mends import Missing
from repro.requests import TableRequest
from repro.runs.plan import Plan
from repro.runs.status import BLOCKED, DONE, FAILED, MISSING, STALE, plan_steps

if TYPE_CHECKING:
    from repro.launch.job import Launch
    from repro.reports.tables.html import Section
    from repro.reports.tables.sheet import Sheet
    from repro.reports.tables.tex_numbers import Number


class State(Protocol):
    """One thing a table is made of: a cell, a row, a control."""

    status: str
    error: str | None

    def to_json(self, table: str) -> dict[str, Any]:
        """Return one flat object (docs/json.md)."""


S = TypeVar("S", bound=State)


class TableKind(ABC, Generic[S]):
    """A kind of tables. Subclasses say what their states are, how they are computed and how they are shown."""

    unit = "cells"
    """What states are called."""
    keeps = "evaluations"
    """What its states hold, in words."""
    evaluates = False
    """Whether states are evaluations of runs on benchmarks, which comparisons, gates and adoption read."""
    no_use: tuple[str, ...] = ()
    """Options of the commands that mean nothing here; naming one is an error."""
    prints_papers = False
    """Whether it shows rows of papers around its own (``printed`` of a table), all, some or none of them."""
    steps = True
    """Whether data, towers and trainings come before."""

    # -- what is to be made ---------------------------------------------------------------------------------------
    def plan(self, table: Table, request: TableRequest) -> Plan:
        """Plan ``table`` under the profile of the request, narrowed to its methods, benchmarks and seeds."""
        profile = request.load()
        measures = request.counted if self.evaluates else ()
        table = swapped_table(table, profile, request)
        return request.narrow(table, profile, overrides=dict(request.training), measures=measures)

    @abstractmethod
    def states(self, plan: Plan, request: TableRequest) -> list[S]:
        """Say where every state stands now; computes nothing."""

    @abstractmethod
    def compute(self, plan: Plan, states: list[S], request: TableRequest, device: str, log: Log) -> list[S]:
        """Compute what is missing and return the states after; one that fails says why, the others continue."""

    def where(self, states: Sequence[S], device: str) -> str:
        """Say where it is computed, for a line of the log."""
        return f"device {device}"

    def launch(self, plan: Plan, words: tuple[str, ...], how: Launch, log: Log) -> list[S]:
        """Compute it by ``how``, whose jobs get the ``words`` of the command; only where it :attr:`evaluates`."""
        raise NotImplementedError

    # -- how it is shown ------------------------------------------------------------------------------------------
    @abstractmethod
    def label(self, state: S) -> str:
        """Name a state: ``CAT-Seg on A-150``."""

    @abstractmethod
    def write(self, result: TableResult[S], folder: Path) -> list[Path]:
        """Write the formats of the request into ``folder`` and return the paths."""

    @abstractmethod
    def text(self, result: TableResult[S]) -> str:
        """Return the table as Markdown."""

    def numbers(self, result: TableResult[S]) -> Iterator[Number]:
        """Yield the numbers for ``numbers.tex``: name of the macro, text, where it comes from."""
        return iter(())

    @abstractmethod
    def section(self, result: TableResult[S]) -> Section:
        """Make the section of an HTML page."""

    def figures(self, result: TableResult[S], folder: Path, log: Log) -> list[Path]:
        """Draw the plots of a report; none by default."""
        return []

    def check(self, result: TableResult[S]) -> None:
        """Raise UsageError for names in the request that only the finished states tell to be wrong."""

    def calibrate(self, plan: Plan, device: str, log: Log) -> None:
        """Measure what an estimate of the plan rests on."""

    def progress(self, plan: Plan) -> dict[str, Any]:
        """Say what is done, for ``repro describe``."""
        words = command("repro", "run", plan.table.name, "--profile", plan.profile.name, "--dry-run")
        return {"state": f"{words} says"}

    def preview(self, result: TableResult[S]) -> Iterator[str]:
        """Yield the lines of ``--dry-run``."""
        plan, states = result.plan, result.states
        yield from heading(plan)
        if self.steps:
            yield from step_lines(plan, result.request.device)
        yield f"\n{self.unit.capitalize()}"
        yield from (f"  {state.status:<8} {self.label(state)}" for state in states)
        yield from missing_lines(states, "\n    ")
        for state in states:
            if state.status == STALE:
                yield f"stale: {self.label(state)}: {state.error}"
        yield f"\n{self.tally(states)}"

    def tally(self, states: Sequence[S]) -> str:
        """Count the states of each status."""
        counts = {s: sum(state.status == s for state in states) for s in (DONE, MISSING, STALE, BLOCKED, FAILED)}
        return ", ".join(f"{n} {s}" for s, n in counts.items() if n) + f" of {len(states)} {self.unit}"

    def warnings(self, states: Sequence[S]) -> Iterator[str]:
        """Yield lines that are said before anything is computed."""
        return iter(())


class SheetKind(TableKind[S]):
    """A kind whose table is one sheet; subclasses say what it holds."""

    @abstractmethod
    def sheet(self, plan: Plan, states: Sequence[S]) -> Sheet:
        """Make the table as it is printed."""

    def around(self, plan: Plan, states: Sequence[S], published: PublishedRows) -> Sheet:
        """Make the table with all, some or none of the papers' rows; :meth:`sheet` where the kind prints none."""
        return self.sheet(plan, states)

    @abstractmethod
    def records(self, plan: Plan, states: Sequence[S]) -> list[Mapping[str, Any]]:
        """Return what stands behind each row of the sheet on an HTML page: ``row``, its name, and its values.

        Rows that are a paper's alone (``italic`` of the sheet) have none.
        """

    def write(self, result: TableResult[S], folder: Path) -> list[Path]:
        import pandas as pd

        from repro.reports.tables.sheet import save

        frame = pd.DataFrame(self.rows(result.plan, result.states))
        texts = {
            "csv": lambda: frame.to_csv(index=False),
            "latex": lambda: self._as(result, "latex").latex(),
            "md": lambda: self._as(result, "md").markdown(),
        }
        return save(folder, result.plan.table.name, texts, result.request.formats)

    def rows(self, plan: Plan, states: Sequence[S]) -> list[dict[str, Any]]:
        """Return the rows of the CSV file."""
        return [self.facts(plan, state) for state in states]

    def facts(self, plan: Plan, state: S) -> dict[str, Any]:
        """Return what is known of a state, without what it waits for."""
        return {k: v for k, v in state.to_json(plan.table.name).items() if k != "missing"}

    def text(self, result: TableResult[S]) -> str:
        return self._as(result, "md").markdown()

    def _as(self, result: TableResult[S], form: str) -> Sheet:
        return self.around(result.plan, result.states, result.request.published_in(form))

    def section(self, result: TableResult[S]) -> Section:
        from repro.reports.tables.html import sheet_section

        plan, states = result.plan, result.states
        return sheet_section(plan, self._as(result, "html"), self.records(plan, states))


@dataclasses.dataclass(frozen=True, eq=False)
class TableResult(Generic[S]):
    """A table as it stands: its plan and states, and what shows them."""

    kind: TableKind[S]
    plan: Plan
    states: list[S]
    request: TableRequest
    kept: dict[str, Any] = dataclasses.field(init=False, default_factory=dict)
    """What a kind computes once for numbers, page and plots; it goes with the result."""

    @property
    def open(self) -> bool:
        """Whether something is left that can be computed."""
        return any(map(_open, self.states))

    @property
    def open_runs(self) -> int:
        """The number of runs something of which is left to compute; 0 for a kind that does not evaluate runs."""
        cells: list[Any] = list(filter(_open, self.states)) if self.kind.evaluates else []
        return len({cell.cell.run.id for cell in cells})

    @property
    def failed(self) -> list[S]:
        """The states that failed."""
        return [s for s in self.states if s.status == FAILED]

    @property
    def exit_code(self) -> int:
        """1 where a state failed, 3 where one waits for data or weights, else 0."""
        return 1 if self.failed else 3 if any(s.status == BLOCKED for s in self.states) else 0

    @cached_property
    def text(self) -> str:
        """The table as Markdown."""
        return self.kind.text(self)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the states as flat objects (docs/json.md)."""
        return [state.to_json(self.plan.table.name) for state in self.states]

    def write(self, folder: Path) -> list[Path]:
        """Write the formats of the request into ``folder`` and return the paths."""
        return self.kind.write(self, folder)


def kind_of(table: Table) -> TableKind[Any]:
    """Find the kind of ``table``; UsageError where there is none."""
    found: TableKind[Any] = find_kind(table.kind)
    return found


def swapped_table(table: Table, profile: Profile, request: TableRequest) -> Table:
    """Return ``table``, or its rows on the swapped tower; UsageError for a tower without a swap."""
    if request.swapped:
        return swap_table(table, profile, request.tower, profile.towers[request.tower].title)
    if request.tower != "base":
        raise UsageError(
            "--tower says which tower --backbone replaces", expected="--backbone SOURCE:WHAT", found="none"
        )
    return table


# -- lines that kinds share ---------------------------------------------------------------------------------------
def heading(plan: Plan) -> Iterator[str]:
    """Yield title, caption and profile."""
    yield f"{plan.table.title}: {plan.table.caption}"
    yield f"Profile {plan.profile.name}: {plan.profile.title}"


def step_lines(plan: Plan, device: str) -> Iterator[str]:
    """Yield the pieces of work that come before, each with its expected time where it is not done."""
    yield "\nSteps"
    for step in plan_steps(plan, device):
        state, left = ("done", "") if step.done else ("missing", duration(step.seconds))
        yield f"  {state:<8} {step.what:<60} {left}".rstrip()


def missing_lines(states: Sequence[Any], between: str = "\n           ") -> Iterator[str]:
    """Yield once what states wait for, and the way out."""
    needs: list[Missing] = [m for s in states if s.status == BLOCKED for m in s.needs]
    yield from (f"missing: {what}{between}{mend}" for what, mend in dict.fromkeys((m.what, m.mend) for m in needs))


def _open(state: Any) -> bool:
    return state.status in (MISSING, STALE)
