"""Make a table of any kind."""

from __future__ import annotations

import dataclasses
from typing import Any

from repro.api.table_options import refuse_options
from repro.configuration.tables import load_table
from repro.console import Log, log, stdout_to_stderr
from repro.hardware import choose_device
from repro.requests import TableRequest
from repro.runs import grid
from repro.tables.kind import TableResult, kind_of


def open_table(request: TableRequest) -> TableResult[Any]:
    """Plan the table and look what is done; computes nothing.

    Raises UsageError for unknown names and for words its kind has no use for.
    """
    table = load_table(request.table)
    refuse_options(table, request)
    kind = kind_of(table)
    plan = kind.plan(table, request)
    if request.only:
        plan = dataclasses.replace(plan, runs=grid.only(plan, request.only))
    return TableResult(kind, plan, kind.states(plan, request), request)


def compute_table(result: TableResult[Any], *, log: Log = log) -> TableResult[Any]:
    """Compute what is missing in this process (or those a launcher started) and return the table after."""
    kind, plan, request = result.kind, result.plan, result.request
    with stdout_to_stderr():
        device = choose_device(request.device)
        log(
            f"{plan.table.title}, profile {plan.profile.name}: {kind.tally(result.states)}; "
            f"{kind.where(result.states, device)}"
        )
        return dataclasses.replace(result, states=kind.compute(plan, result.states, request, device, log))


def make_table(request: TableRequest, *, log: Log = log) -> TableResult[Any]:
    """Open the table and compute what is missing; finished cells are read, nothing is written but into the store."""
    result = open_table(request)
    return compute_table(result, log=log) if result.open else result
