"""Memory stays inside the budgets of docs/survival.md, whatever the number of classes and pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "peak_memory.py"


def measure(*words: str) -> dict[str, int]:
    done = subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    assert result["code"] == 0, done.stderr[-2000:]
    print(words, result)
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "budget_mib"), [pytest.param(150, 900, marks=pytest.mark.long), (847, 1500)])
def test_evaluating_many_classes_takes_a_bounded_memory(classes: int, budget_mib: int, tmp_path: Path) -> None:
    assert measure("evaluate", str(classes), str(tmp_path))["peak"] < budget_mib


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "side", "budget_mib"),
    [(1000, 80, 900), (3, 8000, 1800), pytest.param(1000, 8000, 1800, marks=pytest.mark.long)],
)
def test_predicting_large_images_and_many_classes_takes_a_bounded_memory(
    classes: int, side: int, budget_mib: int, tmp_path: Path
) -> None:
    small = np.random.default_rng(0).integers(0, 256, (3 * side // 80, side // 20, 3), dtype=np.uint8)
    pixels = small.repeat(20, 0).repeat(20, 1)  # side x 3/4 side
    Image.fromarray(pixels).save(tmp_path / "image.png", compress_level=1)
    (tmp_path / "names.txt").write_text("\n".join(f"class number {i}" for i in range(classes)))
    words = ["predict", "--method", "clip", "--profile", "smoke", "--device", "cpu"]
    place = ["--image", str(tmp_path / "image.png"), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    assert measure("repro", *words, *place, "--classes", f"@{tmp_path / 'names.txt'}")["peak"] < budget_mib
