"""Which options of the commands a table has a use for."""

from __future__ import annotations

import dataclasses

from repro.configuration.tables import Table
from repro.errors import UsageError, command
from repro.requests import TableRequest
from repro.tables.kind import kind_of


def refuse_options(table: Table, request: TableRequest) -> None:
    """Raise UsageError where the request names what this kind of table has no use for."""
    given = [name for name in _no_use(table) if request.given(name)]
    if given:
        raise UsageError(
            f"{table.name} is a table of {table.kind} and has no use for --{given[0].replace('_', '-')}",
            expected="options of that kind of table",
            found=", ".join(f"--{n.replace('_', '-')}" for n in given),
            mend=f"leave it out; {command('repro', 'describe', table.name)}",
        )
    if request.repeat is not None and request.repeat < 1:
        raise UsageError("a timing needs at least one run", expected="--repeat 1 or more", found=request.repeat)


def _no_use(table: Table) -> tuple[str, ...]:
    """Return the options that mean nothing to ``table``."""
    kind = kind_of(table)
    no_use = kind.no_use if kind.evaluates else (*kind.no_use, "also")
    return no_use if kind.prints_papers else (*no_use, "published")


def narrowed_for(table: Table, request: TableRequest) -> TableRequest | None:
    """Return a request for many tables as one for ``table``, without what its kind has no use for.

    None where the methods it names have no row in the table.
    """
    no_use = set(_no_use(table))
    if request.methods and "methods" not in no_use:
        here = {row.selector for row in table.with_methods(request.methods).rows}
        if here.isdisjoint(request.methods):
            return None
        request = dataclasses.replace(request, methods=[m for m in request.methods if m in here])
    default = TableRequest()
    leave = {name: getattr(default, name) for name in no_use if hasattr(default, name)}
    return dataclasses.replace(request, table=table.name, **leave)
