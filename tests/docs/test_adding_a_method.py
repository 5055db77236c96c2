"""docs/adding-a-method.md, followed literally: the package is written down, installed, tested, and run in a table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import repro

PAGE = Path(repro.__file__).parents[1] / "docs" / "adding-a-method.md"


def blocks() -> dict[str, str]:
    """The files of the page by path."""
    found = re.findall(
        r"^   ```\w+\n   # (\S+)\n(.*?)^   ```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return {path: re.sub(r"^   ", "", text, flags=re.MULTILINE) for path, text in found}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's project, with the package installed into ``site``."""
    folder = tmp_path_factory.mktemp("project")
    for path, text in blocks().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    words = ["install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", "site", "."]
    subprocess.run([sys.executable, "-m", "pip", *words], cwd=folder, check=True, timeout=300)
    return folder


def run(project: Path, *words: str) -> str:
    paths = [str(project / "site"), str(PAGE.parents[1]), os.environ.get("PYTHONPATH", "")]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    settings.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=project, env=settings, text=True, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_every_file_of_the_package() -> None:
    expected = {"my_package/options.py", "my_package/model.py", "my_package/__init__.py", "pyproject.toml"}
    assert set(blocks()) == {*expected, "my_package/test_mine.py", "my_package/table.py"}


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
