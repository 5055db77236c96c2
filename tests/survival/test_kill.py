"""kill -9, a second process and a full disk: what a run ends with is the same to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmseg")
pytest.importorskip("tensorboard")

PROGRAM = Path(__file__).resolve().parents[1] / "support" / "survive.py"


def survive(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(PROGRAM), str(folder), "--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.long
def test_whatever_ends_a_run_it_goes_on_to_the_same_weights_counts_and_table(tmp_path: Path):
    result = survive(tmp_path, kills=20, seed=1)
    print(json.dumps(result, indent=1))
    assert result["kill"]["faults"] == []
    assert result["kill"]["kills"] >= 20
    assert set(result["kill"]["by stage"]) == {"preparation", "training", "evaluation", "report"}
    pair = result["pair"]
    assert (pair["last"], pair["differences"]) == (0, [])
    assert pair["codes"] == [0, 0] or (pair["codes"] == [0, 1] and pair["told"])
    full = result["full disk"]
    assert full == {"code": 1, "said": True, "traceback": False, "last": 0, "differences": []}
