"""What would fail is said once, for all rows it concerns, with a way out that leads there."""

from __future__ import annotations

import dataclasses
import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from talk import ours, way

from repro.cli.main import main
from repro.cost.estimate import Estimate
from repro.datasets.benchmarks import get_benchmark
from repro.errors import DataError
from repro.mends import Missing
from repro.rehearsal import findings, running
from repro.rehearsal.request import RehearsalRequest
from repro.rehearsal.result import Rehearsal, Row
from repro.rehearsal.text import lines

FIGURES = {"seconds_per_image": 2.0, "data": "drawn", "peak_mib": 1024.0, "weights": "random"}


def rehearsal(runs: Path, profile: str = "smoke", **more: Any) -> Rehearsal:
    """CAT-Seg on its first tower as if it had been rehearsed; ``more`` are fields of its row."""
    request = RehearsalRequest("table1", profile, methods=["catseg"], benchmarks=["A-150"], runs=runs)
    plan = request.plan()
    row = Row(plan.runs[:1], "2026-11-29", counted=Estimate(10**8, 10**7, 1.0, 20.0), whole_gib=20.0)
    plan = dataclasses.replace(plan, runs=plan.runs[:1])
    row = dataclasses.replace(row, room_gib=8.0, part_gib=6.0, weights="random", images={"A-150": FIGURES}, **more)
    return Rehearsal(request, plan, "cpu", "a CPU", 8.0, 0.0, [row], {"A-150": 2000})


def not_tried(it: Rehearsal) -> Iterator[Missing]:
    it.rows[0].parts, it.rows[0].part_gib = 0, 9.0
    return findings.without_memory(it.rows[0], it)


def divided(it: Rehearsal) -> Iterator[Missing]:
    it.rows[0].parts = 2
    return findings.without_memory(it.rows[0], it)


def full(it: Rehearsal) -> Iterator[Missing]:
    it.rows[0].errors = [{"part": "training", "kind": "memory", "error": "no memory", "mend": None}]
    return findings.without_memory(it.rows[0], it)


def died(it: Rehearsal) -> Iterator[Missing]:
    it.rows[0].ended = "its process was killed"
    return findings.raised(it.rows[0], it)


def late(it: Rehearsal) -> Iterator[Missing]:
    it.rows[0].stopped = "step 1 of 5, after 1 min 00 s"
    return findings.out_of_time(it.rows[0], it)


CALLS = [
    way(
        "repro.rehearsal.findings:without_memory#2", divided, "about 20 GiB; this CPU has 8 GiB for it", ("--dry-run",)
    ),
    way("repro.rehearsal.findings:without_memory#3", full, "no memory left on this CPU for training", ("--steps", "1")),
    way("repro.rehearsal.findings:raised", died, "was killed", ("--steps", "1")),
    way("repro.rehearsal.findings:out_of_time", late, "stopped by --minutes", ("--steps", "1")),
]


@pytest.mark.parametrize(("wrong", "said", "more"), CALLS)
def test_the_command_that_is_named_can_be_given(
    wrong: Callable[[Rehearsal], Iterator[Missing]],
    said: str,
    more: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "_in_own_process", lambda *_: {})
    (missing,) = wrong(rehearsal(tmp_path / "my runs"))
    assert said in missing.what
    words = [*ours(missing.mend), "--device", "cpu", "--benchmarks", "A-150", *more]
    if "--methods" not in words:
        words += ["--methods", "catseg"]
    assert main([*words, *(["--images", "1"] if words[0] == "rehearse" else [])]) == 0


@pytest.mark.follows("repro.rehearsal.findings:without_memory#1")
def test_a_step_that_no_division_makes_small_enough_is_not_tried_and_says_what_it_needs(tmp_path: Path) -> None:
    (missing,) = not_tried(rehearsal(tmp_path))
    assert "needs about 9 GiB even in the smallest part of its batch; this CPU has 8 GiB" in missing.what
    assert "not tried" in missing.what
    assert "--checkpoint-activations" in missing.mend


@pytest.mark.follows("repro.rehearsal.findings:without_room")
def test_weights_and_checkpoints_need_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = rehearsal(tmp_path)
    assert list(findings.without_room(it)) == []
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2**29))
    (missing,) = findings.without_room(it)
    assert "need 0.8 GiB" in missing.what  # 10^8 weights, and a checkpoint of them with two moments of 10^7
    assert "--runs" in missing.mend


@pytest.mark.follows("repro.rehearsal.findings:without_words")
def test_a_vocabulary_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, benchmark = rehearsal(tmp_path), get_benchmark("A-150")
    run = it.plan.runs[0]
    assert list(findings.without_words(run, benchmark)) == []

    def absent(_: object) -> tuple[str, ...]:
        raise FileNotFoundError("words.csv")

    with monkeypatch.context() as broken:
        broken.setattr(type(benchmark), "prompt_names", absent)
        (missing,) = findings.without_words(run, benchmark)
    assert "A-150: the vocabulary cannot be used (FileNotFoundError: words.csv)" in missing.what
    assert main(ours(missing.mend)) == 0

    def refused(_: object) -> tuple[str, ...]:
        raise DataError("the words are damaged", mend="fetch them again")

    monkeypatch.setattr(type(benchmark), "prompt_names", refused)
    assert list(findings.without_words(run, benchmark)) == [Missing("A-150: the words are damaged", "fetch them again")]


@pytest.mark.follows("repro.rehearsal.findings:incomplete")
def test_a_set_with_fewer_images_than_published_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, benchmark = rehearsal(tmp_path, "paper"), get_benchmark("A-150")
    assert list(findings.incomplete(it, benchmark)) == []  # it is not there at all
    monkeypatch.setattr(it.plan.assets, "missing_data", lambda _: [])
    monkeypatch.setattr(type(it.plan.assets), "data_root", tmp_path)
    monkeypatch.setattr("repro.datasets.layout.prepared_pairs", lambda *_: [1] * 9)
    assert list(findings.incomplete(it, benchmark)) == [
        Missing("A-150: 9 of 2,000 images are there", benchmark.instructions)
    ]


def test_what_raises_is_told_with_its_own_way_out(tmp_path: Path) -> None:
    it = rehearsal(tmp_path)
    it.rows[0].errors = [
        {"part": "training", "kind": "known", "error": "not finite", "mend": "choose a lower rate"},
        {"part": "A-150", "kind": "defect", "error": "KeyError in x.py, line 3: 'a'", "mend": None},
    ]
    known, defect = findings.raised(it.rows[0], it)
    assert known == Missing("CAT-Seg, random tiny CLIP: training fails: not finite", "choose a lower rate")
    assert "report it" in defect.mend


def test_data_and_weights_that_are_absent_are_found_once_for_all_rows(tmp_path: Path) -> None:
    it = rehearsal(tmp_path, "paper")
    found = [f.missing.what for f in findings.findings_of(it)]
    assert [f.kind for f in findings.findings_of(it)] == ["data", "data", "weights"]
    assert found[0] == "A-150: no data root named"
    assert found[1] == "coco-stuff: no data root named"
    assert "weights" in found[2]


def test_each_finding_is_printed_with_its_way_out(tmp_path: Path) -> None:
    it = rehearsal(tmp_path, "paper", parts=0)
    text = "\n".join(lines(dataclasses.replace(it, findings=findings.findings_of(it))))
    assert text.count("\n    fix: ") == 4
    (row,) = (line.split() for line in text.splitlines() if "not tried" in line and "80,000 x 1" in line)
    assert row == ["CAT-Seg,", "CLIP", "ViT-B/16", "random", "4", "not", "tried", "80,000", "x", "1", "unknown"]
    assert "at least 1.1 hours" in text  # 2,000 images of 2 s
    assert "not measured: CAT-Seg, CLIP ViT-B/16: training" in text


def test_hours_are_of_what_was_measured_and_the_rest_is_named(tmp_path: Path) -> None:
    it = rehearsal(tmp_path)
    it = dataclasses.replace(
        it, plan=dataclasses.replace(it.plan, benchmarks=(*it.plan.benchmarks, get_benchmark("PC-59")))
    )
    assert it.evaluation_hours(it.rows[0]) is None
    assert it.hours["evaluation"] == 2000 * 2 / 3600
    assert it.unmeasured == ["CAT-Seg, random tiny CLIP: training and evaluations on PC-59"]
