"""Evaluation divided over processes counts exactly what one process counts."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
from distributed import in_processes, in_threads
from fake_method import make_method
from tiny_set import TinyBenchmark, write_pairs

from repro.datasets.protocol import Protocol
from repro.errors import DataError
from repro.evaluation.evaluate import STAGES, evaluate
from repro.evaluation.infer import SlidingWindow
from repro.evaluation.loop import EvaluationLoop
from repro.evaluation.many import evaluate_together, shares
from repro.metrics.measured import measure_folder, part_counts

PROTOCOL = Protocol(short_side=48, max_long_side=200, canvas=40, window=24)


@dataclasses.dataclass(frozen=True)
class Benchmark(TinyBenchmark):
    def class_kinds(self) -> tuple[str, ...]:
        return ("thing", "thing", "stuff", "stuff", "thing")


TINY = Benchmark()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs"), count=7)


def many(monkeypatch, world, *arguments, **options):
    """Evaluate in ``world`` threads, each with a method of its own, made before: the generators are shared."""
    methods = [make_method() for _ in range(world)]
    return in_threads(
        monkeypatch, world, lambda: evaluate_together(methods.pop(), *arguments, progress=False, **options)
    )


def same_counts(a, b) -> bool:
    ours, theirs = a.arrays(), b.arrays()
    return all(np.array_equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("images", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("step", [1, 2])
def test_counts_are_those_of_one_process_whatever_the_number_of_images(
    pairs, tmp_path, monkeypatch, images, world, step
):
    monkeypatch.setattr(SlidingWindow, "images_at_once", lambda *_: step)
    chosen = pairs[:images]
    alone = evaluate(make_method(), TINY, chosen, PROTOCOL, tmp_path / "alone", progress=False)
    results = many(monkeypatch, world, TINY, chosen, PROTOCOL, tmp_path / "many")
    assert same_counts(alone.counts(), results[0].counts())
    assert all(r.record == results[0].record for r in results)
    stored = json.loads((tmp_path / "many" / "metrics.json").read_text())
    assert {k: v for k, v in stored.items() if k != "seconds"} == {
        k: v for k, v in alone.record.items() if k != "seconds"
    }
    assert set(stored["seconds"]) == {*STAGES, "total"}
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["counts.npz", "metrics.json"]


def test_shares_are_neighbouring_images_in_whole_batches_each_once():
    for images in range(1, 40):
        for world in range(1, 6):
            for step in (1, 2, 3, 8):
                parts = shares(images, step, world)
                assert [i for a, b in parts for i in range(a, b)] == list(range(images))
                assert all(a % step == 0 for a, b in parts if a < b)
                lengths = [-(-(b - a) // step) for a, b in parts]
                assert max(lengths) - min(lengths) <= 1


def test_measures_are_those_of_one_process(pairs, tmp_path, monkeypatch):
    both = ("boundary", "bias")
    evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path / "alone", progress=False, measures=both)
    many(monkeypatch, 3, TINY, pairs, PROTOCOL, tmp_path / "many", both)
    for name in both:
        for path in measure_folder(tmp_path / "alone", name, TINY).glob("*.npz"):
            own, other = (part_counts(tmp_path / f, path.stem, TINY) for f in ("alone", "many"))
            assert same_counts(own, other)


def test_a_finished_evaluation_is_read_by_all_and_repeated_by_none(pairs, tmp_path, monkeypatch):
    alone = evaluate(make_method(), TINY, pairs, PROTOCOL, tmp_path, progress=False)
    monkeypatch.setattr(EvaluationLoop, "__call__", lambda *_: pytest.fail("evaluated again"))
    results = many(monkeypatch, 2, TINY, pairs, PROTOCOL, tmp_path)
    assert all(r.record == alone.record for r in results)


def test_a_bad_image_in_one_share_is_the_error_of_all_and_the_rest_is_kept(pairs, tmp_path, monkeypatch):
    broken = write_pairs(tmp_path / "pairs", count=4)
    whole_file = broken[3].label.read_bytes()
    broken[3].label.write_bytes(b"not a picture")
    errors = many(monkeypatch, 2, TINY, broken, PROTOCOL, tmp_path / "many")
    assert all(isinstance(e, DataError) and broken[3].label.name in str(e) for e in errors)
    assert not (tmp_path / "many" / "metrics.json").exists()
    broken[3].label.write_bytes(whole_file)
    alone = evaluate(make_method(), TINY, broken, PROTOCOL, tmp_path / "alone", progress=False)
    again = many(monkeypatch, 2, TINY, broken, PROTOCOL, tmp_path / "many")
    assert same_counts(alone.counts(), again[0].counts())


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_real_processes_give_the_counts_of_one(pairs, tmp_path, world):
    named = [(p.key, str(p.image), str(p.label)) for p in pairs]
    script = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from fake_method import make_method
        from test_many import PROTOCOL, TINY
        from tiny_set import TinyPair
        from repro.launch import processes
        from repro.evaluation.many import evaluate_together
        pairs = [TinyPair(key, Path(a), Path(b)) for key, a, b in {named!r}]
        with processes.group("cpu") as device:
            for images in (1, 2, 5, 7):
                folder = Path(sys.argv[1]) / str(images)
                evaluate_together(make_method(), TINY, pairs[:images], PROTOCOL, folder, (), device)
        """
    )
    for ended in in_processes(world, script, str(tmp_path / "many")):
        assert ended.returncode == 0, ended.stderr
    for images in (1, 2, 5, 7):
        alone = evaluate(make_method(), TINY, pairs[:images], PROTOCOL, tmp_path / f"alone{images}", progress=False)
        other = evaluate(make_method(), TINY, pairs[:images], PROTOCOL, tmp_path / "many" / str(images), progress=False)
        assert same_counts(alone.counts(), other.counts())
