"""The notebook of the tutorial runs, and says what it said when it was committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from citations import ROOT

nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
NOTEBOOK = ROOT / "docs/tutorials/notebook.ipynb"


def said(cell: Any) -> list[str]:
    """What a cell printed and returned, without pictures' bytes and what went to stderr."""
    shown = [output for output in cell.outputs if output.get("name") != "stderr"]
    return ["".join(o.get("text") or o.get("data", {}).get("text/plain", "")) for o in shown]


@pytest.mark.long
def test_the_notebook_runs_and_its_figures_are_those_that_were_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    committed = nbformat.read(NOTEBOOK, 4)
    run = nbformat.read(NOTEBOOK, 4)
    nbclient.NotebookClient(run, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert {p.name for p in tmp_path.iterdir()} == {"runs"}  # as its first words promise
    for before, after in zip(committed.cells, run.cells, strict=True):
        if "same everywhere" in before.metadata.get("tags", ()):
            assert said(before), "a cell that was committed without its output"
            assert said(after) == said(before), before.source
        elif before.cell_type == "code":
            assert len(said(after)) == len(said(before)), before.source  # a training rounds otherwise elsewhere


def test_what_was_committed_is_small_and_names_no_folder_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 200_000
    for cell in json.loads(text)["cells"]:
        outputs = json.dumps(cell.get("outputs", []))
        assert "stderr" not in outputs
        assert not any(word in outputs for word in ("/home/", "/tmp/", "/root/", "site-packages"))
