"""A kind of tables is one object: the commands, the page and the library work with one they never heard of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from repro.api import describing
from repro.api import tables as api_tables
from repro.api.tables import open_table
from repro.cli.commands import report
from repro.cli.main import main
from repro.configuration import tables
from repro.configuration.tables import Table, load_table, table_names
from repro.errors import UsageError
from repro.reports.tables.sheet import Column, Sheet
from repro.requests import TableRequest
from repro.runs.plan import Plan
from repro.runs.status import DONE, FAILED, MISSING
from repro.tables.kind import SheetKind, TableKind, kind_of


@dataclasses.dataclass
class OptionCount:
    """The number of options of a row's method."""

    row: str
    status: str
    count: int | None = None
    error: str | None = None

    def to_json(self, table: str) -> dict[str, Any]:
        return {"table": table, **dataclasses.asdict(self)}


class OptionKind(SheetKind[OptionCount]):
    """Counts options; keeps what it has counted in the store."""

    unit, keeps, steps, no_use = "rows", "numbers of options", False, ("seeds",)

    def states(self, plan: Plan, request: TableRequest) -> list[OptionCount]:
        file = plan.assets.store.cache / "options.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        return [OptionCount(r.row.id, DONE if r.row.id in known else MISSING, known.get(r.row.id)) for r in plan.runs]

    def compute(
        self, plan: Plan, states: list[OptionCount], request: TableRequest, device: str, log: Any
    ) -> list[OptionCount]:
        counted = {r.row.id: len(dataclasses.fields(r.entry.options)) for r in plan.runs}
        for state in states:
            state.status, state.count = DONE, counted[state.row]
            if state.row == "clip-base" and request.measures:
                state.status, state.error = FAILED, "asked to"
        plan.assets.store.cache.mkdir(parents=True, exist_ok=True)
        (plan.assets.store.cache / "options.json").write_text(json.dumps(counted))
        return states

    def label(self, state: OptionCount) -> str:
        return f"options of {state.row}"

    def sheet(self, plan: Plan, states: Sequence[OptionCount]) -> Sheet:
        rows = [{"row": s.row, "count": str(s.count or "")} for s in states]
        columns = [Column("row", "Method"), Column("count", "Options", right=True)]
        return Sheet(plan.table.title, plan.table.caption, "tab:options", columns, rows, [])

    def records(self, plan: Plan, states: Sequence[OptionCount]) -> list[Mapping[str, Any]]:
        return [{"row": s.row, "cost": {"count": s.count}} for s in states]

    def numbers(self, result: Any) -> Iterator[tuple[str, str, str]]:
        yield from (("Options" + s.row.title().replace("-", ""), str(s.count), "counted") for s in result.states)


KIND = OptionKind()


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A table of the kind, which another package announces."""
    point = SimpleNamespace(load=lambda: KIND)
    monkeypatch.setattr(tables, "entry_points", lambda group, name: [point] if name == "options" else [])
    made = dataclasses.replace(load_table("table1"), name="options", title="Options", caption="Options", kind="options")
    for module in (api_tables, report, describing):
        monkeypatch.setattr(module, "load_table", lambda name: made if name == "options" else load_table(name))
    monkeypatch.setattr(describing, "table_names", lambda: [*table_names(), "options"])
    tables.find_kind.cache_clear()
    yield "options"
    tables.find_kind.cache_clear()


def test_a_kind_from_elsewhere_is_run_shown_and_reported(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--profile", "smoke", "--runs", str(tmp_path / "runs")]
    files = ["--results", str(tmp_path / "results")]

    def said(*call: str) -> str:
        capsys.readouterr()
        assert main([*call, *words]) == 0
        return capsys.readouterr().out

    assert "options of disa-base" in said("run", table, "--dry-run")
    assert "| catseg-base | " in said("run", table, *files)
    counts = {row["row"]: row["count"] for row in json.loads(said("run", table, *files, "--json"))}
    assert counts["clip-base"] == 2
    assert "clip-base,done,2" in (tmp_path / "results" / "options.csv").read_text()
    said("report", table, "--html", *files)
    assert "\\newcommand{\\OptionsClipBase}{2}" in (tmp_path / "results" / "numbers.tex").read_text()
    assert ">Options<" in (tmp_path / "results" / "options.html").read_text()
    assert "repro run options" in said("describe", table)


def test_a_kind_refuses_what_it_has_no_use_for(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", table, "--profile", "smoke", "--seeds", "1"]) == 2
    assert "has no use for --seeds" in capsys.readouterr().err
    assert main(["run", table, "--profile", "smoke", "--launcher", "local"]) == 2
    assert "made in one process" in capsys.readouterr().err


@pytest.mark.follows("repro.configuration.tables:find_kind")
def test_a_kind_of_an_absent_package_is_installed_or_the_table_corrected() -> None:
    unknown: Table = dataclasses.replace(load_table("table1"), kind="poems")
    with pytest.raises(UsageError, match="unknown kind of table 'poems'") as caught:
        kind_of(unknown)
    assert "correct the table" in str(caught.value.mend)
    kind_of(dataclasses.replace(unknown, kind="benchmarks"))


@pytest.mark.parametrize("name", table_names())
def test_every_table_has_a_kind(name: str) -> None:
    assert isinstance(kind_of(load_table(name)), TableKind)


def test_what_was_computed_of_other_states_does_not_go_with_them(tmp_path: Path) -> None:
    result = open_table(TableRequest(table="table1", profile="smoke", runs=tmp_path, methods=["clip"]))
    result.kept["evidence"] = "of these states"
    assert dataclasses.replace(result, states=[]).kept == {}
