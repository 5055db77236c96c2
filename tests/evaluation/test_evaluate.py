from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from fake_method import PixelClassifier, make_method
from PIL import Image
from tiny_set import NAMES, TinyBenchmark, write_pairs

from repro.datasets.protocol import Protocol, protocol_digest
from repro.errors import DataError, ResourceError
from repro.evaluation import loop as module
from repro.evaluation.evaluate import STAGES, evaluate
from repro.evaluation.infer import SlidingWindow
from repro.metrics.counts import Counts, CountsBuilder

PROTOCOL = Protocol(short_side=48, max_long_side=200, canvas=40, window=24)
TINY = TinyBenchmark()


class Stopping(PixelClassifier):
    """Raises ``error`` when asked for the ``last``-th image."""

    def __init__(self, last, error=KeyboardInterrupt):
        super().__init__()
        self.left, self.error, self.seen = last, error, 0

    def forward(self, images, classes):
        self.left -= 1
        if self.left == 0:
            raise self.error
        self.seen += 1
        return super().forward(images, classes)


def stopping(last, error=KeyboardInterrupt):
    method = Stopping(last, error)
    method.load_state_dict(make_method().state_dict())
    return method


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("size", [(1, 6000), (6000, 1)])
def test_an_image_of_one_row_or_column_is_evaluated(tmp_path, size):
    pairs = write_pairs(tmp_path / "long", 1, sizes=(size,))
    result = evaluate(make_method().eval(), TINY, pairs, PROTOCOL, tmp_path / "out")
    assert len(result.counts().keys) == 1


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    return evaluate(stopping(-1), TINY, pairs, PROTOCOL, tmp_path_factory.mktemp("whole"))


def comparable(result):
    return {k: v for k, v in result.record.items() if k != "seconds"}


def test_counts_equal_predictions_compared_pixel_by_pixel(pairs, whole):
    counts, window, method = whole.counts(), SlidingWindow(PROTOCOL), stopping(-1).eval()
    assert counts.keys == tuple(p.key for p in pairs)
    confusion = np.zeros((5, 5), dtype=np.int64)
    for pair in pairs:
        prediction = window.predict(method, np.asarray(Image.open(pair.image).convert("RGB")), NAMES)
        label = np.asarray(Image.open(pair.label))
        np.add.at(confusion, (label[label != 255], prediction[label != 255]), 1)
    assert np.array_equal(counts.confusion, confusion)
    assert whole.metrics["pacc"] == confusion.trace() / confusion.sum()


def test_the_record_says_what_was_measured_how_and_on_what(pairs, whole):
    record = json.loads((whole.folder / "metrics.json").read_text())
    assert record == whole.record
    assert record["benchmark"] == "tiny"
    assert record["num_images"] == len(pairs)
    assert record["protocol"]["window"] == 24
    assert record["protocol_digest"] == protocol_digest(TINY, PROTOCOL)
    assert set(record["seconds"]) == {*STAGES, "total"}
    assert all(v > 0 for v in record["seconds"].values())
    assert "threads" in record["hardware"]
    assert {"miou_gt", "miou_union", "fwiou", "macc", "pacc"} <= set(record)
    assert [row["name"] for row in whole.per_class] == list(NAMES)
    assert not (whole.folder / "counts.partial.npz").exists()


def test_the_digest_depends_on_vocabulary_ignore_label_fold_and_sizes():
    variants = [
        (TINY, PROTOCOL),
        (TinyBenchmark(names=("red", "green", "blue", "yellow", "gray")), PROTOCOL),
        (TinyBenchmark(prompts=("a", "b", "c", "d", "e")), PROTOCOL),
        (TinyBenchmark(ignore_label=65535), PROTOCOL),
        (TinyBenchmark(background_index=4), PROTOCOL),
        (TINY, Protocol(short_side=48, canvas=40, window=24)),
    ]
    assert len({protocol_digest(*v) for v in variants}) == len(variants)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_evaluation_goes_on_and_ends_identically(pairs, whole, tmp_path, error):
    with pytest.raises(error):
        evaluate(stopping(4, error), TINY, pairs, PROTOCOL, tmp_path)
    assert not (tmp_path / "metrics.json").exists()
    rest = stopping(-1)
    resumed = evaluate(rest, TINY, pairs, PROTOCOL, tmp_path)
    assert rest.seen == len(pairs) - 3
    assert comparable(resumed) == comparable(whole)
    assert (tmp_path / "counts.npz").read_bytes() == (whole.folder / "counts.npz").read_bytes()
    assert not (tmp_path / "counts.partial.npz").exists()


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_identically(pairs, tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from fake_method import make_method
        from tiny_set import TinyBenchmark, write_pairs
        from repro.datasets.protocol import Protocol
        from repro.evaluation.evaluate import evaluate

        method, count = make_method(), 0
        real = method.forward
        def forward(*args):
            global count
            count += 1
            if count == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)
        method.forward = forward
        folder = Path(sys.argv[1])
        evaluate(method, TinyBenchmark(), write_pairs(folder / "pairs"), Protocol(**eval(sys.argv[2])),
                 folder / "eval", save_every=0.0)
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    command = [sys.executable, "-c", script, str(tmp_path), repr(PROTOCOL.__dict__)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    # The fourth image was being counted while the method was killed in the fifth.
    assert len(Counts.load(tmp_path / "eval" / "counts.partial.npz")) in (3, 4)
    resumed = evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "eval")
    straight = evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "straight")
    assert comparable(resumed) == comparable(straight)


def test_partial_counts_of_other_weights_are_not_continued(pairs, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopping(4), TINY, pairs, PROTOCOL, tmp_path)
    other = stopping(-1)
    other.load_state_dict(make_method(seed=5).state_dict())
    evaluate(other, TINY, pairs, PROTOCOL, tmp_path)
    assert other.seen == len(pairs)


def test_a_damaged_partial_file_is_started_over(pairs, whole, tmp_path):
    (tmp_path / "counts.partial.npz").write_bytes(b"PK\x03\x04 half a file")
    assert comparable(evaluate(stopping(-1), TINY, pairs, PROTOCOL, tmp_path)) == comparable(whole)


def test_a_finished_evaluation_is_not_repeated(pairs, whole):
    again = stopping(1)
    assert evaluate(again, TINY, pairs, PROTOCOL, whole.folder).record == whole.record


def test_evaluation_leaves_a_training_method_training(pairs, tmp_path):
    method = make_method().train()
    evaluate(method, TINY, pairs[:1], PROTOCOL, tmp_path)
    assert method.training


def test_sixteen_bit_labels_and_the_background_fold(tmp_path):
    """Six prompts fold onto two classes and background; 65535 is ignored."""
    pairs = []
    for pair in write_pairs(tmp_path / "pairs", count=2):
        label = np.asarray(Image.open(pair.label)).astype(np.uint16)
        label = np.where(label == 255, 65535, np.minimum(label, 2)).astype(np.uint16)
        path = pair.label.with_suffix(".tif")
        Image.fromarray(label).save(path)
        pairs.append(type(pair)(pair.key, pair.image, path))
    fold = TinyBenchmark(
        ignore_label=65535, background_index=2, names=("red", "green", "background"), prompts=(*NAMES, "pink")
    )
    counts = evaluate(make_method(), fold, pairs, PROTOCOL, tmp_path / "out").counts()
    labels = [np.asarray(Image.open(p.label)) for p in pairs]
    assert counts.num_classes == 3
    assert counts.confusion.sum() == sum(int((label != 65535).sum()) for label in labels)
    plain = TinyBenchmark(ignore_label=65535, names=(*NAMES, "pink"))
    unfolded = evaluate(make_method(), plain, pairs, PROTOCOL, tmp_path / "plain").counts().confusion
    assert counts.confusion[:, 2].tolist() == unfolded[:3, 2:].sum(axis=1).tolist()


def test_a_full_disk_is_a_resource_error_and_what_was_counted_is_kept(pairs, whole, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopping(3), TINY, pairs, PROTOCOL, tmp_path)

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises(ResourceError):
            evaluate(stopping(-1), TINY, pairs, PROTOCOL, tmp_path, save_every=0.0)
    assert len(Counts.load(tmp_path / "counts.partial.npz")) == 2
    assert not list(tmp_path.glob(".*"))
    assert comparable(evaluate(stopping(-1), TINY, pairs, PROTOCOL, tmp_path)) == comparable(whole)


def damaged(tmp_path, damage):
    pairs = write_pairs(tmp_path / "pairs", count=3)
    damage(pairs[2])
    return pairs


def truncate(pair):
    Image.open(pair.image).convert("RGB").save(pair.image, format="JPEG")
    pair.image.write_bytes(pair.image.read_bytes()[:300])


def enlarge_label(pair):
    Image.fromarray(np.zeros((9, 9), dtype=np.uint8)).save(pair.label)


def strange_value(pair):
    label = np.asarray(Image.open(pair.label)).copy()
    label[0, 0] = 77
    Image.fromarray(label).save(pair.label)


def remove(pair):
    pair.image.unlink()


@pytest.mark.parametrize(
    ("damage", "word"),
    [(truncate, "002.png"), (enlarge_label, "9x9"), (strange_value, "77"), (remove, "002.png")],
)
def test_a_bad_file_is_one_data_error_and_loses_no_finished_image(tmp_path, damage, word):
    with pytest.raises(DataError) as caught:
        evaluate(make_method(), TINY, damaged(tmp_path, damage), PROTOCOL, tmp_path / "out")
    assert word in str(caught.value)
    assert len(Counts.load(tmp_path / "out" / "counts.partial.npz")) == 2


def test_no_images_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no image"):
        evaluate(make_method(), TINY, [], PROTOCOL, tmp_path)


def test_progress_goes_to_stderr_only(pairs, tmp_path, capfd):
    evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "eval tiny" in err
    assert "6/6" in err


def test_decoding_runs_only_a_little_ahead(pairs, tmp_path, monkeypatch):
    decoded = []
    real = module.stored_image
    monkeypatch.setattr(module, "stored_image", lambda path: decoded.append(path) or real(path))
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopping(1), TINY, pairs, PROTOCOL, tmp_path)
    assert len(decoded) <= 3


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"view_batch": 1},
        {"save_every": 0.0},
        {"batch_mib": 1},
        {"batch_mib": 100},
        {"batch_mib": 3, "view_batch": 4},
    ],
)
def test_batching_and_saving_change_no_count(pairs, whole, tmp_path, change):
    result = evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path, **change)
    assert np.array_equal(result.counts().confusion, whole.counts().confusion)
    assert result.counts().keys == whole.counts().keys


def batches_of(method, run):
    """Lengths of the batches that went through ``method`` in images of five views."""
    seen = []
    forward = method.forward
    method.forward = lambda images, classes: (seen.append(len(images) / 5), forward(images, classes))[1]
    run()
    return seen


def test_a_memory_budget_puts_several_images_into_a_batch(pairs, tmp_path):
    one, ten = (SlidingWindow(PROTOCOL, batch_mib=mib).images_at_once(len(NAMES), "cpu") for mib in (10, 100))
    assert one > 1
    assert ten == pytest.approx(10 * one, rel=0.2)
    assert SlidingWindow(PROTOCOL, batch_mib=10).images_at_once(10_000, "cpu") < one
    assert SlidingWindow(PROTOCOL).images_at_once(len(NAMES), "cpu") == 1
    method = make_method()
    seen = batches_of(method, lambda: evaluate(method, TINY, pairs, PROTOCOL, tmp_path, batch_mib=10_000))
    assert seen == [6]


def test_a_resumed_evaluation_has_the_batches_of_an_uninterrupted_one(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(SlidingWindow, "images_at_once", lambda *_: 2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopping(2), TINY, pairs, PROTOCOL, tmp_path)
    assert len(Counts.load(tmp_path / "counts.partial.npz")) == 2
    monkeypatch.setattr(SlidingWindow, "images_at_once", lambda *_: 4)
    method = stopping(-1)
    assert batches_of(method, lambda: evaluate(method, TINY, pairs, PROTOCOL, tmp_path)) == [2, 2]


def test_the_method_works_while_the_image_before_is_counted(pairs, tmp_path, monkeypatch):
    """Counting waits for the method to have begun with the next image; were it done in turn, it would wait in vain."""
    begun = [threading.Event() for _ in pairs]
    method, forward, count = make_method(), PixelClassifier.forward, CountsBuilder.add

    def announce(self, images, classes):
        next(event for event in begun if not event.is_set()).set()
        return forward(self, images, classes)

    def wait(self, key, *arrays):
        number = [p.key for p in pairs].index(key)
        assert number + 1 == len(pairs) or begun[number + 1].wait(20)
        count(self, key, *arrays)

    monkeypatch.setattr(PixelClassifier, "forward", announce)
    monkeypatch.setattr(CountsBuilder, "add", wait)
    assert evaluate(method, TINY, pairs, PROTOCOL, tmp_path).record["num_images"] == len(pairs)


def test_the_seconds_of_every_stage_are_printed_at_the_end(pairs, tmp_path, capfd):
    evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "a")
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "s each" in line]
    assert line.startswith("eval tiny: 6 images in ")
    assert re.findall(r"(\w+) [\d.]+ s \(\d+%\)", line) == list(STAGES)
    evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "b", progress=False)
    assert "s each" not in capfd.readouterr().err


def test_a_finished_evaluation_of_other_data_is_not_returned(pairs, tmp_path):
    first = evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path, data="a")
    time = (tmp_path / "metrics.json").stat().st_mtime_ns
    assert evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path, data="a").record == first.record
    assert (tmp_path / "metrics.json").stat().st_mtime_ns == time
    other = evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path, data="b")
    assert other.record["fingerprint"] != first.record["fingerprint"]


def test_images_without_a_labelled_pixel_give_no_figure(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 2)
    for pair in pairs:
        Image.fromarray(np.full_like(np.asarray(Image.open(pair.label)), 255)).save(pair.label)
    with pytest.raises(DataError, match="no pixel of 2 images has a class"):
        evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "share", share=True).metrics["miou_gt"] is None
