"""What packages announce, and another package that has the name of one of ours."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest

from repro.announced import announced
from repro.errors import UsageError
from repro.methods import MethodEntry


@pytest.mark.follows("repro.announced:_loaded")
def test_another_package_of_the_name_is_said_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``baselines`` of reinforcement learning, which is found first where both are installed."""
    other = tmp_path / "taken_name" / "__init__.py"
    other.parent.mkdir()
    other.write_text('"""Another package."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "taken_name", raising=False)
    point = EntryPoint("mine", "taken_name.mine:METHOD", "repro.methods")._for(distribution("repro-ovseg"))
    monkeypatch.setattr("repro.announced.entry_points", lambda group: [point])
    with pytest.raises(UsageError, match=r"taken_name\.mine:METHOD of group repro\.methods cannot be loaded") as caught:
        announced("repro.methods", MethodEntry)
    assert caught.value.found == f"taken_name in {other}"
    assert "repro-ovseg" in str(caught.value.expected)
    assert shlex.split(str(caught.value.mend).partition(": ")[2])[:3] == ["python3", "-m", "venv"]


def test_a_name_that_nothing_has_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "absent_package.mine:METHOD", "repro.methods")
    monkeypatch.setattr("repro.announced.entry_points", lambda group: [point])
    with pytest.raises(UsageError, match="cannot be loaded") as caught:
        announced("repro.methods", MethodEntry)
    assert caught.value.found == "no such package"
