from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_method import PixelClassifier, make_method
from PIL import Image
from tiny_set import NAMES, write_pairs

from repro.errors import DataError, ResourceError, RunError, UsageError, WeightsError
from repro.training.settings import Placement, TrainSettings
from repro.training.train import train

pytest.importorskip("mmseg")

SETTINGS = TrainSettings(
    iterations=9,
    batch_size=2,
    lr=1e-2,
    warmup_iterations=2,
    clip_grad_norm=1.0,
    short_side=32,
    crop=32,
    workers=0,
    checkpoint_every=2,
    log_every=4,
)


class Stopping(PixelClassifier):
    """Raises when its loss is asked for the ``last``-th time."""

    def __init__(self, last, error=KeyboardInterrupt, **options):
        super().__init__(**options)
        self.left, self.error = last, error

    def loss(self, images, labels, classes):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().loss(images, labels, classes)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def changed(**values):
    return TrainSettings(**{**SETTINGS.__dict__, **values})


def run(pairs, folder, settings=SETTINGS, method=None, seed=3, **options):
    method = method or make_method()
    train(method, settings, pairs, NAMES, folder, seed, method_name="pixel", **options)
    return method


def stopping(last, error=KeyboardInterrupt):
    torch.manual_seed(0)
    return Stopping(last, error)


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def curve(folder: Path):
    lines = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("seconds")} for line in lines]


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """An uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole")
    return run(pairs, folder), folder


def test_a_training_leaves_weights_curve_log_and_events_and_no_checkpoint(whole):
    method, folder = whole
    names = {p.name for p in folder.iterdir()}
    assert {"weights.pth", "losses.jsonl", "train.log"} <= names <= {
        "weights.pth", "losses.jsonl", "train.log", "tensorboard"
    }  # fmt: skip
    stored = torch.load(folder / "weights.pth", weights_only=True)
    assert stored["header"]["method"] == "pixel"
    assert all(torch.equal(stored["state_dict"][k], v) for k, v in method.state_dict().items())
    assert [line["iteration"] for line in curve(folder)] == [4, 8, 9]
    assert set(curve(folder)[0]) == {"iteration", "loss", "loss_ce", "accuracy", "grad_norm", "lr"}


def test_training_changes_what_trains_and_nothing_else(whole):
    trained, start = whole[0], make_method()
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name]) == name.startswith("frozen"), name


def test_training_learns(pairs, tmp_path):
    settings = changed(iterations=100, lr=5e-2, log_every=20, checkpoint_every=1000)
    run(pairs, tmp_path, settings)
    first, *_, last = curve(tmp_path)
    assert last["loss"] < 0.7 * first["loss"]
    assert last["accuracy"] > 0.65  # of five classes


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(pairs, whole, tmp_path):
    assert same(run(pairs, tmp_path / "again"), whole[0])
    assert not same(run(pairs, tmp_path / "other", seed=4), whole[0])


@pytest.mark.parametrize("last", [4, 5, 9])
def test_an_interrupted_training_ends_with_the_same_bits_and_the_same_curve(pairs, whole, tmp_path, last):
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, method=stopping(last))
    assert (tmp_path / "checkpoint.pth").is_file()
    assert not (tmp_path / "weights.pth").exists()
    torch.manual_seed(99)  # whatever the new process's generators hold
    np.random.seed(99)  # noqa: NPY002
    resumed = run(pairs, tmp_path, method=make_method(seed=77))
    assert same(resumed, whole[0])
    assert curve(tmp_path) == curve(whole[1])
    assert not (tmp_path / "checkpoint.pth").exists()


def test_an_interruption_before_the_first_checkpoint_starts_afresh(pairs, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, method=stopping(2))
    assert same(run(pairs, tmp_path), whole[0])


def test_workers_change_no_bit_also_across_an_interruption(pairs, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, changed(workers=2), method=stopping(6))
    assert same(run(pairs, tmp_path, changed(workers=1)), whole[0])


def test_a_resumed_training_loads_only_the_samples_that_are_left(pairs, tmp_path, monkeypatch):
    from repro.training.train_set import TrainSet

    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, method=stopping(8))
    loaded = []
    real = TrainSet.__getitem__
    monkeypatch.setattr(TrainSet, "__getitem__", lambda self, item: loaded.append(item[1]) or real(self, item))
    run(pairs, tmp_path)
    assert loaded == list(range(6 * 2, 9 * 2))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_process_is_continued_with_the_same_bits(pairs, whole, tmp_path, workers):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from fake_method import make_method
        from tiny_set import NAMES, write_pairs
        from repro.training.settings import TrainSettings
        from repro.training.train import train

        method, count = make_method(), 0
        real = method.loss
        def loss(*args):
            global count
            count += 1
            if count == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)
        method.loss = loss
        folder, workers, settings = Path(sys.argv[1]), int(sys.argv[2]), eval(sys.argv[3])
        train(method, TrainSettings(**{**settings, "workers": workers}), write_pairs(folder / "pairs"), NAMES,
              folder / "run", 3, method_name="pixel")
        """
    )
    support = Path(__file__).parents[1] / "support"
    environment = {**os.environ, "PYTHONPATH": str(support)}
    command = [sys.executable, "-c", script, str(tmp_path), str(workers), repr(SETTINGS.__dict__)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert same(run(pairs, tmp_path / "run"), whole[0])
    assert curve(tmp_path / "run") == curve(whole[1])


def test_a_finished_training_is_loaded_not_repeated(pairs, whole, tmp_path):
    folder = whole[1]
    before = (folder / "weights.pth").stat().st_mtime_ns
    assert same(run(pairs, folder, method=stopping(1)), whole[0])
    assert (folder / "weights.pth").stat().st_mtime_ns == before


def test_a_folder_of_another_training_is_refused(pairs, whole, tmp_path):
    with pytest.raises(RunError, match="another training"):
        run(pairs, whole[1], changed(lr=1.0))
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, method=stopping(4))
    with pytest.raises(RunError, match="another training"):
        run(pairs, tmp_path, seed=4)


def test_settings_without_effect_on_the_outcome_may_change_on_resuming(pairs, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, method=stopping(4))
    assert same(run(pairs, tmp_path, changed(checkpoint_every=3, log_every=1)), whole[0])


def test_a_corrupt_checkpoint_is_a_weights_error(pairs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path, method=stopping(4))
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"checkpoint\.pth"):
        run(pairs, tmp_path)


class Diverging(PixelClassifier):
    """The loss of the ``at``-th call is NaN."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def loss(self, images, labels, classes):
        self.left -= 1
        losses = super().loss(images, labels, classes)
        return {k: v * float("nan") if self.left == 0 and k.startswith("loss") else v for k, v in losses.items()}


def test_a_loss_that_is_not_finite_stops_naming_the_iteration_and_keeps_the_checkpoint(pairs, tmp_path):
    with pytest.raises(RunError, match="iteration 6: loss_ce = nan"):
        run(pairs, tmp_path, method=Diverging(6))
    state = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    assert state["iteration"] == 4
    assert all(torch.isfinite(v).all() for v in state["state_dict"].values())
    assert not (tmp_path / "weights.pth").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_stops_the_training_with_its_own_error(tmp_path, workers):
    pairs = write_pairs(tmp_path / "pairs", count=2)
    label = np.asarray(Image.open(pairs[1].label)).copy()
    label[0, 0] = 99
    Image.fromarray(label).save(pairs[1].label)
    with pytest.raises(DataError) as caught:
        run(pairs, tmp_path / "run", changed(workers=workers))
    assert caught.value.found == "99"
    assert "Traceback" not in str(caught.value)


def test_no_images_and_nonsense_settings_are_refused(pairs, tmp_path):
    with pytest.raises(DataError, match="no image"):
        run([], tmp_path)
    with pytest.raises(Exception, match="batch_size"):
        run(pairs, tmp_path, changed(batch_size=0))


def test_a_full_disk_stops_the_training_and_keeps_the_last_checkpoint(pairs, whole, tmp_path, monkeypatch):
    from repro.methods import weights

    saved = []
    real = weights.write_atomic

    def fills_up(path, write):
        saved.append(path.name)
        if len(saved) < 2:
            return real(path, write)

        def full(stream):
            raise OSError(28, "No space left on device")

        return real(path, full)

    with monkeypatch.context() as patch:
        patch.setattr(weights, "write_atomic", fills_up)
        with pytest.raises(ResourceError):
            run(pairs, tmp_path)
    assert torch.load(tmp_path / "checkpoint.pth", weights_only=True)["iteration"] == 2
    assert not list(tmp_path.glob(".*"))
    assert same(run(pairs, tmp_path), whole[0])


def test_stdout_stays_empty_and_the_bar_goes_to_stderr(pairs, tmp_path, capfd):
    run(pairs, tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "train pixel" in err
    assert "9/9" in err


def test_trainings_in_one_process_keep_their_logs_apart_and_leave_no_globals(pairs, tmp_path):
    from mmengine.logging import MessageHub, MMLogger

    before = set(MMLogger._instance_dict), set(MessageHub._instance_dict), list(logging.getLogger().handlers)
    for name in ("one", "two"):
        run(pairs, tmp_path / name)
    for name in ("one", "two"):
        log = (tmp_path / name / "train.log").read_text()
        assert log.count('"iteration": 9') == 1
    after = set(MMLogger._instance_dict), set(MessageHub._instance_dict), list(logging.getLogger().handlers)
    assert after == before


def test_without_tensorboard_everything_else_is_written(pairs, whole, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert same(run(pairs, tmp_path), whole[0])
    assert not (tmp_path / "tensorboard").exists()
    assert "tensorboard is not installed" in (tmp_path / "train.log").read_text()


def test_tensorboard_has_the_curve(whole):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(whole[1] / "tensorboard"))
    events.Reload()
    lines = curve(whole[1])
    assert [e.step for e in events.Scalars("loss")] == [line["iteration"] for line in lines]
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([line["loss"] for line in lines])
    assert [e.value for e in events.Scalars("lr/slow")] == pytest.approx([line["lr"]["slow"] for line in lines])


def test_evaluating_during_training_changes_no_bit_and_is_logged(pairs, whole, tmp_path):
    modes = []

    def evaluator(method, iteration):
        modes.append((iteration, method.training))
        torch.rand(7)
        np.random.random(3)  # noqa: NPY002
        return {"miou_gt": iteration / 100}

    method = run(pairs, tmp_path, evaluator=evaluator, evaluate_every=3)
    assert same(method, whole[0])
    assert modes == [(3, False), (6, False), (9, False)]
    assert [line["eval/miou_gt"] for line in curve(tmp_path) if "eval/miou_gt" in line] == [0.03, 0.06, 0.09]


def test_bf16_trains_and_resumes_to_the_same_bits(pairs, tmp_path):
    settings = changed(amp="bf16")
    straight = run(pairs, tmp_path / "straight", settings)
    with pytest.raises(KeyboardInterrupt):
        run(pairs, tmp_path / "cut", settings, method=stopping(6))
    assert same(run(pairs, tmp_path / "cut", settings), straight)


def test_channels_last_trains_the_same_weights_but_for_rounding(pairs, tmp_path):
    plain, other = make_method(dropout=0.0), make_method(dropout=0.0)  # a layout of its own draws other masks
    train(plain, SETTINGS, pairs, NAMES, tmp_path / "a", seed=0, progress=False)
    train(
        other, SETTINGS, pairs, NAMES, tmp_path / "b", seed=0, progress=False, placement=Placement(channels_last=True)
    )
    assert other.head.weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_compiling_steps_over_ever_other_classes_is_refused(pairs, tmp_path):
    settings, placement = changed(classes_per_step=2), Placement(compile=True)
    with pytest.raises(UsageError, match="compiled again"):
        train(make_method(), settings, pairs, NAMES, tmp_path, seed=0, progress=False, placement=placement)


def test_the_compiled_loss_is_what_is_minimised(pairs, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda run, **options: asked.append((run.__name__, options)) or run)
    monkeypatch.setattr("repro.methods.speedups._can_compile", lambda on_gpu: True)
    method, compiled = make_method(), make_method()
    train(method, SETTINGS, pairs, NAMES, tmp_path / "a", seed=0, progress=False)
    train(compiled, SETTINGS, pairs, NAMES, tmp_path / "b", seed=0, progress=False, placement=Placement(compile=True))
    assert asked == [("loss", {"dynamic": False})]
    assert all(torch.equal(method.state_dict()[n], v) for n, v in compiled.state_dict().items())


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="needs a C++ compiler")
def test_a_compiled_training_ends_with_the_same_weights_but_for_rounding(pairs, tmp_path):
    plain, compiled = make_method(dropout=0.0), make_method(dropout=0.0)
    settings = changed(iterations=3)
    train(plain, settings, pairs, NAMES, tmp_path / "a", seed=0, progress=False)
    train(compiled, settings, pairs, NAMES, tmp_path / "b", seed=0, progress=False, placement=Placement(compile=True))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-3, atol=1e-4)
