"""The same seed gives the same bits on a CPU, in any process, and --deterministic asks torch for it elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from fake_method import make_method
from tiny_set import NAMES, write_pairs

from repro.errors import UsageError
from repro.training.determinism import deterministic
from repro.training.settings import Placement, TrainSettings
from repro.training.train import train

pytest.importorskip("mmseg")
SUPPORT = Path(__file__).parents[1] / "support"
SETTINGS = TrainSettings(
    iterations=3, batch_size=2, lr=1e-3, short_side=48, crop=48, workers=1, checkpoint_every=100, log_every=1
)


def test_deterministic_kernels_are_asked_for_inside_the_block_only():
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"]
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_kernel_without_a_deterministic_form_is_one_clear_error_and_other_errors_pass():
    with pytest.raises(UsageError, match="no deterministic form") as caught, deterministic():
        raise RuntimeError("nll_loss2d does not have a deterministic implementation, but you set ..")
    assert "nll_loss2d" in str(caught.value)
    with pytest.raises(RuntimeError, match="out of memory"), deterministic():
        raise RuntimeError("out of memory")


def test_on_a_cpu_deterministic_kernels_change_no_bit(tmp_path):
    pairs = write_pairs(tmp_path / "pairs")
    states = []
    for asked in (False, True):
        method = make_method()
        train(method, SETTINGS, pairs, NAMES, tmp_path / str(asked), 3, placement=Placement(deterministic=asked))
        states.append(method.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


SCRIPT = textwrap.dedent(
    """
    import sys, hashlib, torch
    from pathlib import Path
    from tiny_set import NAMES, write_pairs
    from repro.clip.tower import build_tower
    from repro.training.settings import TrainSettings
    from repro.training.train import train
    from repro.configuration.profiles import load_profile
    from repro.methods import registry

    profile = load_profile("smoke")
    torch.set_num_threads(2)
    pairs = write_pairs(Path(sys.argv[1]) / "pairs")
    for name, entry in registry().items():
        if entry.trainable:
            torch.manual_seed(0)
            options = entry.make_options(profile.methods.get(name, {}).get("base", {}))
            method = entry.create(build_tower(profile.towers["base"].spec), options)
            train(method, eval(sys.argv[2]), pairs, NAMES, Path(sys.argv[1]) / name, 3)
            digest = hashlib.sha256()
            for key, value in method.state_dict().items():
                digest.update(key.encode() + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            print(name, digest.hexdigest())
    """
)


@pytest.mark.slow
def test_every_method_trains_to_the_same_bits_in_another_process(tmp_path):
    """On two threads, with a data worker."""
    outputs = []
    for name in ("one", "two"):
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / name), repr(SETTINGS)],
            env={**os.environ, "PYTHONPATH": str(SUPPORT), "PYTHONHASHSEED": str(len(outputs))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        outputs.append(ended.stdout)
    assert len(outputs[0].splitlines()) >= 4
    assert outputs[0] == outputs[1]
