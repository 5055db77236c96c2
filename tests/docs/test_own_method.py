"""docs/tutorials/own-method.md, followed literally: the package is written down, installed, and is a row of Table 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_package import install, run

PAGE = "tutorials/own-method.md"


@pytest.mark.long
def test_the_method_of_the_tutorial_is_described_trained_and_a_row_of_table_1(tmp_path: Path) -> None:
    project = install(PAGE, tmp_path)
    store = ("--profile", "smoke", "--runs", "runs", "--device", "cpu")
    assert "scale: 10.0" in run(project, "repro", "describe", "warm")
    run(project, "repro", "train", "warm", "--set", "train.iterations=3", *store)
    words = ("--methods", "clip,warm", "--benchmarks", "PAS-20", "--results", "tables")
    table = run(project, "repro", "run", "table1", *store, *words)
    assert re.search(r"^\| Warm CLIP \| .* \| \d+\.\d \|$", table, re.MULTILINE), table
