"""Every kind of table says on which machines its numbers were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repro.reports.tables.sheet import hardware_remark

CPU = {"cpu": "AMD EPYC", "cores": 2, "memory_gib": 23.5, "label": "CPU, 2 cores"}
OTHER_CPU = {**CPU, "cpu": "Intel Xeon", "cores": 8}
GPU = {**CPU, "gpu": "NVIDIA H200", "label": "NVIDIA H200"}


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        ([CPU], ["Hardware: AMD EPYC, 2 cores."]),
        ([CPU, OTHER_CPU, CPU], ["Hardware: AMD EPYC, 2 cores; Intel Xeon, 8 cores."]),
        ([GPU, None], ["Hardware: NVIDIA H200."]),  # older records name none
        ([None], []),
        ([], []),
    ],
    ids=["one", "several", "a GPU", "none known", "no record"],
)
def test_each_machine_is_named_once(machines: list[Any], expected: list[str], tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.json" for i in range(len(machines))]
    for file, machine in zip(files, machines, strict=True):
        file.write_text(json.dumps({"hardware": machine} if machine else {}))
    assert hardware_remark([*files, tmp_path / "absent.json"]) == expected


MEASURED = Path(__file__).parents[3] / "results" / "measured" / "mini"


@pytest.mark.parametrize("table", sorted(MEASURED.glob("*.md")), ids=lambda path: path.stem)
def test_the_committed_tables_name_theirs(table: Path) -> None:
    """Tables of times say it where they say how time was taken."""
    text = table.read_text()
    assert "- Hardware: " in text or "on a CPU: " in text or "on a GPU: " in text
