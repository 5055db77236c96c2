"""docs/adding-a-method.md, followed literally: the package is written down, installed, tested, and run in a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_package import blocks, install, run

PAGE = "adding-a-method.md"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's project, with the package installed into ``site``."""
    return install(PAGE, tmp_path_factory.mktemp("project"))


def test_the_page_has_every_file_of_the_package() -> None:
    expected = {"my_package/options.py", "my_package/model.py", "my_package/__init__.py", "pyproject.toml"}
    assert set(blocks(PAGE)) == {*expected, "my_package/test_mine.py", "my_package/table.py"}


@pytest.mark.slow
def test_the_installed_method_is_listed_described_and_made_into_a_table(project: Path) -> None:
    store = ("--profile", "smoke", "--runs", "runs")
    assert "My Method: Venue 2026" in run(project, "repro", "list", "--runs", "runs")
    assert "scale: 10.0" in run(project, "repro", "describe", "mine", "--runs", "runs")
    table = run(project, "repro", "run", "my_package/table.py", *store, "--results", "tables", "--device", "cpu")
    for title in ("CLIP", "My Method", "My Method, scale 1"):
        assert re.search(rf"^\| {title} \| .* \| \d+\.\d \| \d+\.\d \|$", table, re.MULTILINE), table
    assert (project / "tables" / "mine.csv").is_file()
    page = run(project, "repro", "report", "my_package/table.py", *store, "--results", "tables", "--html")
    assert "My Method, scale 1" in page
    assert (project / "tables" / "mine.html").is_file()


@pytest.mark.slow
def test_the_method_of_the_page_passes_its_tester(project: Path) -> None:
    out = run(project, "pytest", "-q", "-p", "no:cacheprovider", "my_package", "-m", "not slow")
    assert re.search(r"\d\d passed", out), out
