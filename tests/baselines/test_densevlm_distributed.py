"""Two processes train one model: the gradient that is applied is that of their joint batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.densevlm.__main__ import main
from repro.clip.names import TINY
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.methods.alignments import CONFIG, FACTS, WEIGHTS

OPTIONS = ["image_size=32", "categories=coco133", "templates=('{}',)", "threshold=0.0", "iterations=3", "lr=1e-3"]
OPTIONS += ["warmup_iterations=1", "workers=0", "mixing=1.0", "blocks=1"]
SETTINGS = [word for option in OPTIONS for word in ("-o", option)]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line but for the output folder, batch size and way of averaging."""
    root = tmp_path_factory.mktemp("distributed")
    for seed, name in enumerate(("base", "powerful")):
        (root / name).mkdir()
        (root / name / CONFIG).write_text(json.dumps({"model_cfg": TINY}))
        tower = build_tower(TowerSpec("tiny", None, resolution=48, seed=seed))
        torch.save(tower.open_clip_state(), root / name / WEIGHTS)
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (30 + 5 * i, 40, 3), np.uint8)).save(root / "images" / f"{i}.png")
    towers = [word for name in ("base", "powerful") for word in (f"--{name}", str(root / name))]
    weights = [word for name in ("base", "powerful") for word in (f"--{name}-weights", WEIGHTS)]
    return [*towers, *weights, "--images", str(root / "images"), "--device", "cpu", *SETTINGS]


def in_two_processes(arguments: list[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "import sys; from baselines.densevlm.__main__ import main; sys.exit(main())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outcomes = [(p.communicate(timeout=1200)[1], p.returncode) for p in processes]
    assert [code for _, code in outcomes] == [0, 0], outcomes


def weights(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / WEIGHTS, weights_only=True)
    return state


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow
def test_two_processes_train_what_one_trains_on_the_joint_batch(command: list[str], tmp_path: Path) -> None:
    assert main([*command, "--out", str(tmp_path / "one"), "-o", "batch_size=4"]) == 0
    in_two_processes([*command, "--out", str(tmp_path / "two"), "-o", "batch_size=2"])
    in_two_processes(
        [*command, "--out", str(tmp_path / "apart"), "-o", "batch_size=2", "-o", "average_gradients=False"]
    )
    assert json.loads((tmp_path / "two" / FACTS).read_text())["processes"] == 2
    one, two, apart = (weights(tmp_path / name) for name in ("one", "two", "apart"))
    moved = distance(one, build_tower(TowerSpec("tiny", None, resolution=48)).open_clip_state())
    assert moved > 1e-3
    assert distance(one, two) < 0.02 * moved
    assert distance(one, apart) > 0.2 * moved
