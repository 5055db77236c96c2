"""Control tables as CSV, LaTeX and Markdown, and the footnotes of other tables about controls that do not hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repro.errors import command
from repro.measuring.controls import OVERFIT, START, TITLES, ControlStatus, failed_controls
from repro.reports.tables.sheet import Column, Sheet, hardware_remark, plan_remarks, unfinished
from repro.runs.plan import Plan, Run
from repro.runs.status import FAILED

HOLDS, FAILS = "holds", "does not hold"


def control_sheet(plan: Plan, states: Sequence[ControlStatus]) -> Sheet:
    """Return one line per row, one column per control; the numbers stand below."""
    columns = [Column("title", "Method"), Column("seed", "Seed", right=True)]
    columns += [Column(kind, title) for kind, title in TITLES.items()]
    rows = []
    for run in dict.fromkeys(s.control.run.address for s in states):
        own = [s for s in states if s.control.run.address == run]
        first = own[0].control.run
        rows.append({"title": first.row.title, "seed": str(first.seed), **{s.control.kind: _word(s) for s in own}})
    return Sheet.of(plan, columns, rows, control_notes(plan, states))


def _word(state: ControlStatus) -> str:
    if state.verdict is not None:
        return HOLDS if state.verdict.holds else FAILS
    return state.status


def control_notes(plan: Plan, states: Sequence[ControlStatus]) -> list[str]:
    """Return what must stand under the table: profile, the numbers, gaps."""
    lines = [f"Profile {plan.profile.name}: {plan.profile.title}."]
    lines += hardware_remark(s.control.file for s in states if s.verdict and s.control.kind in (OVERFIT, START))
    lines += plan_remarks(plan)
    for state in states:
        run, verdict = state.control.run, state.verdict
        who = f"{run.row.title}, seed {run.seed}, {TITLES[state.control.kind]}"
        if state.status == FAILED:
            lines.append(f"{who} failed: {'; '.join(line.strip() for line in (state.error or '').splitlines())}")
        elif verdict is not None:
            lines.append(f"{who}: {HOLDS if verdict.holds else FAILS}. {verdict.text[0].upper()}{verdict.text[1:]}.")
    return lines + unfinished([s.status for s in states], "controls are not taken")


def control_footnotes(runs: Iterable[Run]) -> list[str]:
    """Return a line for each control that was taken of a row of another table and does not hold."""
    return [
        f"Control does not hold: {run.row.title} ({run.tower.title}, seed {run.seed}), {title}: {verdict.text} "
        f"({command('repro', 'run', 'controls', '--profile', run.profile.name)})."
        for run, title, verdict in failed_controls(runs)
    ]
