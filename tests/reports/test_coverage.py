"""Every table, figure and claim of the specifications has a row, a command that parses, and a state that was found."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from repro.cli.main import COMMANDS, main, make_parser
from repro.configuration.tables import load_table, table_names
from repro.paths import MEASURED
from repro.reports import coverage
from repro.reports.coverage import MADE, OUTSIDE, PLANNED, UNMEASURED, Item, coverage_page, papers

ROOT = Path(__file__).resolve().parents[2]
SPECS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "specs").glob("*.md")}
SECTION = re.compile(r"^## (?:\d+\. )?Tables, figures and claims$", re.M)
NUMBER = r"(?:\d+|[IVX]+)\b"
MENTION = re.compile(rf"\b(Table|Figure)s? ({NUMBER}(?:(?:, | and ){NUMBER})*)(?! of version)")
"""``Table 3``, ``Tables 3 and 4``; not those of another version of the paper."""

EVERY = [(paper, item) for paper in papers().values() for item in paper.items]
NAMES = [f"{paper.id} {item.name}" for paper, item in EVERY]


def printed(sheet: str) -> Iterator[str]:
    """The items of a specification: those its last table lists and those its text mentions."""
    if found := SECTION.search(sheet):
        rows = re.findall(r"^\| ([^|]+) \|", sheet[found.end() :], re.M)
        yield from (row for row in rows if row != "item")
    for kind, numbers in MENTION.findall(sheet):
        yield from (f"{kind} {number}" for number in re.findall(NUMBER, numbers))


def without_row(sheets: dict[str, str]) -> list[str]:
    rows = {(paper.id, item.name) for paper, item in EVERY}
    return sorted({f"{paper}: {item}" for paper, text in sheets.items() for item in printed(text)} - {
        f"{paper}: {item}" for paper, item in rows
    })  # fmt: skip


def test_every_item_of_the_specifications_has_a_row() -> None:
    assert without_row(SPECS) == [], "give it a row in results/coverage, then: repro coverage --page docs/coverage.md"


def test_an_item_without_a_row_is_noticed() -> None:
    assert without_row({"disa": "Tables 3 and 9 say so.", "synseg": "Table IV"}) == [
        "disa: Table 9",
        "synseg: Table IV",
    ]
    listed = "## Tables, figures and claims\n\n| item | what |\n|---|---|\n| Claim 99 | x |\n"
    assert without_row({"disa": listed}) == ["disa: Claim 99"]
    assert without_row({"synseg": "taken from Table 3 of version 2"}) == []


def test_every_row_is_an_item_of_its_specification() -> None:
    assert {p.id for p in papers().values()} == {name for name, text in SPECS.items() if SECTION.search(text)}
    unknown = [f"{paper.id}: {item.name}" for paper, item in EVERY if item.name not in set(printed(SPECS[paper.id]))]
    assert unknown == []
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(("item"), [item for _, item in EVERY if item.command], ids=lambda item: item.command)
def test_the_command_of_a_row_is_one(item: Item) -> None:
    program, *words = shlex.split(item.command)
    assert program == "repro"
    assert words[0] in COMMANDS
    parser, _ = make_parser(words)
    options = parser.parse_args(words)
    drawn = words[0] == "figures"  # what the result of a figure is called follows from no table
    tables = {"" if drawn else item.table, getattr(options, "table", None) or ""}
    assert tables - {""} <= set(table_names())
    assert not drawn or re.fullmatch(r"[a-z]+-[a-z0-9]+|", item.result)
    if item.rows:
        assert set(item.rows) <= {row.id for row in load_table(item.table).rows}


@pytest.mark.parametrize(("paper", "item"), EVERY, ids=NAMES)
def test_a_row_has_a_command_or_says_why_not(paper: coverage.Paper, item: Item) -> None:
    assert item.command or item.planned or item.outside
    assert not (item.planned and item.outside)
    assert "|" not in item.what + item.note + item.planned + item.outside + item.command


def test_published_values_are_those_of_the_papers_rows() -> None:
    counts = {(p.id, i.name): p.published(i) for p, i in EVERY}
    assert (counts["disa", "Table 1"], counts["catseg", "Pretrained models"]) == (118, 12)
    assert all(count for (_, name), count in counts.items() if name.startswith("Table") and name != "Table 8")


def result(folder: Path, profile: str, name: str, *states: str) -> None:
    (folder / profile).mkdir(parents=True, exist_ok=True)
    lines = ["row,status", *(f"r{n},{state}" for n, state in enumerate(states))]
    (folder / profile / name).write_text("\n".join(lines) + "\n")


def test_states_are_read_off_the_committed_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MEASURED", tmp_path)
    coverage._measured.cache_clear()
    result(tmp_path, "mini", "table1_cells.csv", "done", "done", "missing")
    result(tmp_path, "paper", "table1.csv", "missing", "missing", "missing")
    try:
        run = Item("Table 1", "x", "repro run table1")
        assert (run.state, coverage.state_text(run)) == (MADE, "measured: mini, 2 of 3")
        compared = Item("Claim 1", "x", "repro compare table1:r0 table1:r1", rows=["r2"])
        assert (compared.table, compared.state) == ("table1", UNMEASURED)
        assert Item("Table 2", "x", "repro run table2").state == UNMEASURED
        assert Item("Table 3", "x", "repro run table1", planned="y").state == PLANNED
        assert Item("Table 4", "x", outside="y").state == OUTSIDE
        figure = Item("Figure 1", "x", "repro figures threshold", result="sweep")
        assert figure.state == UNMEASURED
        (tmp_path / "mini" / "sweep.csv").write_text("threshold,miou_gt\n0.1,0.2\n0.2,0.3\n")
        (tmp_path / "paper" / "figures.csv").write_text("figure,file\nsweep,sweep.jpg\nother,other.jpg\n")
        coverage._measured.cache_clear()
        assert coverage.state_text(figure) == "measured: mini, 2 of 2; paper"
        elsewhere = Item("Table 5", "x", "repro run other", result="table1", rows=["r0"])
        assert elsewhere.measured[0] == coverage.Measured("mini", 1, 1, "table1_cells.csv")
    finally:
        coverage._measured.cache_clear()


def test_drawings_that_are_listed_lie_beside_the_documentation_and_are_of_an_item() -> None:
    results = {item.result for _, item in EVERY}
    for profile in MEASURED.iterdir():
        for row in coverage._rows(profile / coverage.DRAWN):
            assert (ROOT / "docs" / "figures" / row["file"]).is_file()
            assert row["figure"] in results
            assert all(row.values())


def test_the_page_of_the_documentation_is_that_of_today() -> None:
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert page == coverage_page(list(papers().values())), "renew it: repro coverage --page docs/coverage.md"


def test_the_command_prints_one_paper_or_all_as_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "DiSa"]) == 0
    text = capsys.readouterr().out
    assert "repro run table3" in text
    assert "densevlm" not in text
    assert main(["coverage", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [f"{r['paper']} {r['item']}" for r in records] == NAMES
    (table8,) = [r for r in records if (r["paper"], r["item"]) == ("densevlm", "Table 8")]
    assert (table8["state"], table8["command"], table8["measured"]) == (OUTSIDE, None, [])
    documented = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    section = documented[documented.index("`repro coverage --json`") :]
    section = section[: section.index("\n\n`repro ", 10)]
    assert [key for key in table8 if not re.search(rf"\b{key}\b", section)] == []


def test_a_page_is_written_where_it_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "disa", "--page", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert "## DenseVLM" in page
    assert "outside" in page


def test_the_list_says_what_is_outside_and_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["list", "--runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"DenseVLM .*Table 8 object detection", text)
