"""Options of a request for many tables: each table takes those it has a use for."""

from __future__ import annotations

import pytest

from repro.api.table_options import narrowed_for, refuse_options
from repro.configuration.tables import load_table, table_names
from repro.errors import UsageError
from repro.requests import TableRequest

ALL = TableRequest(seeds=[0], benchmarks=["A-150"], measures=["bias"], published="none", also=["x"], repeat=3)


@pytest.mark.parametrize("name", table_names())
def test_no_table_refuses_what_was_narrowed_for_it(name: str):
    table = load_table(name)
    with pytest.raises(UsageError, match="no use for"):
        refuse_options(table, ALL)
    narrowed = narrowed_for(table, ALL)
    assert narrowed is not None
    assert narrowed.table == name
    refuse_options(table, narrowed)


def taken(name: str, request: TableRequest) -> TableRequest:
    narrowed = narrowed_for(load_table(name), request)
    assert narrowed is not None
    return narrowed


def test_what_a_table_has_a_use_for_stays():
    own = taken("table3", ALL)
    assert (own.seeds, own.benchmarks, own.also, own.published) == ([0], ["A-150"], ["x"], "none")
    assert own.repeat is None
    regions = taken("densevlm-table1", ALL)
    assert (regions.seeds, regions.measures, regions.also) == ([0], (), ())
    assert taken("controls", ALL).published is None


def test_methods_choose_among_the_tables_that_have_rows_of_methods():
    request = TableRequest(methods=["logoseg", "clip"])
    assert narrowed_for(load_table("table3"), request) is None
    assert narrowed_for(load_table("table4"), request) is None
    assert taken("table1", request).methods == ["logoseg", "clip"]
    assert taken("logoseg-table2", request).methods == ["logoseg"]
    assert taken("densevlm-table1", request).methods is None
