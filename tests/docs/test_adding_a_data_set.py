"""docs/adding-a-data-set.md, followed literally: the package is written down, installed, tested, and run in a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_package import blocks, install, run

PAGE = "adding-a-data-set.md"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(PAGE, tmp_path_factory.mktemp("project"))


def test_the_page_has_every_file_of_the_package() -> None:
    names = {"rooms6.csv", "rooms.py", "__init__.py", "test_rooms.py", "table.py"}
    assert set(blocks(PAGE)) == {"pyproject.toml", *(f"my_rooms/{name}" for name in names)}


@pytest.mark.slow
def test_the_installed_set_is_described_and_evaluated_in_a_table(project: Path) -> None:
    store = ("--profile", "smoke", "--runs", "runs")
    known = run(project, "repro", "list", "--runs", "runs")
    assert re.search(r"^  Rooms +Rooms, 6 classes, 6 classes$", known, re.MULTILINE)
    table = run(project, "repro", "run", "my_rooms/table.py", *store, "--results", "tables", "--device", "cpu")
    assert re.search(r"^\| CLIP[^|]*\| .* \| \d+\.\d \| \d+\.\d \|$", table, re.MULTILINE), table
    assert (project / "tables" / "rooms.csv").is_file()


@pytest.mark.slow
def test_the_set_of_the_page_passes_its_tester(project: Path) -> None:
    out = run(project, "pytest", "-q", "-p", "no:cacheprovider", "my_rooms")
    assert re.search(r"\d passed", out), out
