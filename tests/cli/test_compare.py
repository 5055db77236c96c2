"""``repro compare``: what may be compared, how it is named, and what the numbers are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import draw_counts, plan_of, store_counts

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark
from repro.metrics.miou import metrics_from_counts
from repro.runs import evaluations

Compare = Callable[..., Any]
IMAGES = 30


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three methods on two benchmarks; catseg and disa with two seeds, disa a little better."""
    plan = plan_of(tmp_path, seeds=[0, 1])
    for name in ("A-150", "PAS-20"):
        benchmark = get_benchmark(name)
        store_counts(plan, "clip-base", name, draw_counts(benchmark, IMAGES, 0.4))
        for seed in (0, 1):
            store_counts(plan, "catseg-base", name, draw_counts(benchmark, IMAGES, 0.60, seed=seed), seed)
            store_counts(plan, "disa-base", name, draw_counts(benchmark, IMAGES, 0.63, seed=seed), seed)
    return tmp_path


@pytest.fixture
def compare(runs: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    def call(a: str, b: str, *more: str) -> Any:
        capsys.readouterr()
        words = ["compare", a, b, "--runs", str(runs), "--profile", "smoke", "--resamples", "300", "--json", *more]
        assert main(words) == 0
        return json.loads(capsys.readouterr().out)

    return call


def refused(capsys: pytest.CaptureFixture[str], runs: Path, a: str, b: str, *more: str) -> str:
    capsys.readouterr()
    assert main(["compare", a, b, "--runs", str(runs), "--profile", "smoke", *more]) >= 2
    return capsys.readouterr().err


def run_of(runs: Path, method: str, seed: int = 0) -> str:
    return next(p.name for p in runs.glob(f"{method}-*-s{seed}-*"))


def test_values_are_those_of_the_evaluations_and_the_difference_is_theirs(compare: Compare):
    rows = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0")["rows"]
    assert [(r["benchmark"], r["metric"]) for r in rows[:2]] == [("A-150", "miou_gt"), ("A-150", "miou_union")]
    assert {r["benchmark"] for r in rows} == {"A-150", "PAS-20"}
    expected = [metrics_from_counts(draw_counts(get_benchmark("A-150"), IMAGES, q))["miou_gt"] for q in (0.63, 0.6)]
    assert [rows[0]["a"]["value"], rows[0]["b"]["value"]] == pytest.approx(expected)
    assert rows[0]["difference"]["value"] == pytest.approx(expected[0] - expected[1])
    assert rows[0]["difference"]["low"] < rows[0]["difference"]["value"] < rows[0]["difference"]["high"]
    assert rows[0]["images"] == IMAGES


def test_a_gain_of_every_image_is_significant_and_corrected_over_both_benchmarks(compare: Compare):
    row = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0")["rows"][0]
    assert row["p"] == pytest.approx(2 / 301)
    assert row["p_holm"] == pytest.approx(4 / 301)
    alone = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0", "--benchmark", "A-150")["rows"][0]
    assert alone["p_holm"] == alone["p"]


def test_runs_are_named_by_row_by_id_by_prefix_or_by_folder(compare: Compare, runs: Path):
    ids = [run_of(runs, "disa"), run_of(runs, "catseg")]
    tables = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0")["rows"]
    assert compare(*ids)["rows"] == tables
    assert compare(*(i[:-4] for i in ids))["rows"] == tables
    assert compare(*(str(runs / i) for i in ids))["rows"] == tables


def test_several_seeds_are_paired_and_widen_the_interval(compare: Compare, runs: Path):
    both = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0,1")["rows"][0]
    assert (both["a"]["seeds"], both["difference"]["pairs"]) == (2, 2)
    singles = [compare("table1:disa-base", "table1:catseg-base", "--seeds", s)["rows"][0] for s in ("0", "1")]
    assert both["a"]["value"] == pytest.approx(np.mean([s["a"]["value"] for s in singles]))
    assert both["a"]["sd"] == pytest.approx(np.std([s["a"]["value"] for s in singles], ddof=1))
    named = [",".join(run_of(runs, m, s) for s in (0, 1)) for m in ("disa", "catseg")]
    assert compare(*named)["rows"][0] == both


def test_a_method_without_seeds_is_set_against_every_seed(compare: Compare):
    row = compare("table1:disa-base", "table1:clip-base", "--seeds", "0,1")["rows"][0]
    assert (row["a"]["seeds"], row["b"]["seeds"], row["difference"]["pairs"]) == (2, 1, 2)


def test_classes_give_the_difference_of_each_iou(compare: Compare):
    found = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0", "--classes")["classes"]["PAS-20"]
    assert len(found) == 12  # those the scenes are drawn from
    assert {c["kind"] for c in found} == {"thing"}
    assert all(c["p_holm"] >= c["p"] for c in found)


def test_the_printed_table_says_what_its_numbers_are(runs: Path, capsys: pytest.CaptureFixture[str]):
    words = ["compare", "table1:disa-base", "table1:catseg-base", "--seeds", "0", "--profile", "smoke", "--classes"]
    assert main([*words, "--runs", str(runs), "--resamples", "200"]) == 0
    out = capsys.readouterr().out
    assert "Percent with 95 % intervals" in out
    assert out.count("A-150") == 3  # two metrics, one list of classes


def test_other_images_are_refused_and_named(runs: Path, capsys: pytest.CaptureFixture[str]):
    plan = plan_of(runs)
    store_counts(plan, "disa-base", "A-150", draw_counts(get_benchmark("A-150"), IMAGES - 2, 0.6))
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base")
    assert "the images differ: 2 only in the second (image_028, image_029)" in message


def test_another_protocol_is_refused_and_named(runs: Path, capsys: pytest.CaptureFixture[str]):
    store_counts(plan_of(runs), "disa-base", "A-150", draw_counts(get_benchmark("A-150"), IMAGES, 0.6), overlap=0.5)
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base")
    assert "the protocol differs (overlap 0.5 and 0.333)" in message


def test_another_ignore_label_shows_in_the_pixels_and_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]):
    import dataclasses

    strict = dataclasses.replace(get_benchmark("PAS-20"), ignore_label=11)
    folder = store_counts(plan_of(runs), "disa-base", "PAS-20", draw_counts(strict, IMAGES, 0.6))
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base")
    assert "the labels or the ignore label differ: image image_0" in message
    record = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**record, "protocol_digest": "other"}))
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base")
    assert "the prompts, the ignore label or the fold of the background differ" in message


def test_of_two_evaluations_the_one_that_fits_is_taken(compare: Compare, runs: Path):
    before = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0")["rows"]
    run = runs / run_of(runs, "disa")
    (run / "eval" / "A-150").rename(run / "eval" / "A-150@other")
    other = draw_counts(get_benchmark("A-150"), 5, 0.6)
    store_counts(plan_of(runs), "disa-base", "A-150", other)
    assert compare(run.name, run_of(runs, "catseg"))["rows"] == before


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("table1:diss-base", "table1:catseg-base", "did you mean disa-base"),
        ("tabel1:disa-base", "table1:catseg-base", "did you mean table1"),
        ("table2:disa", "table1:catseg-base", "holds costs"),
        ("nothing-here", "table1:catseg-base", "unknown run"),
        ("disa", "table1:catseg-base", "begins several runs"),
        ("table1:logoseg-base", "table1:catseg-base", "has no finished evaluation"),
    ],
)
def test_a_name_that_cannot_be_resolved_says_why(
    runs: Path, capsys: pytest.CaptureFixture[str], a: str, b: str, words: str
):
    assert words in refused(capsys, runs, a, b)


def test_runs_that_differ_in_more_than_their_seed_are_no_seeds(runs: Path, capsys: pytest.CaptureFixture[str]):
    a = f"{run_of(runs, 'disa')},{run_of(runs, 'catseg', 1)}"
    assert "they differ in" in refused(capsys, runs, a, run_of(runs, "catseg"))


def test_a_benchmark_only_one_side_has_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]):
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base", "--benchmark", "PC-59")
    assert "not evaluated on both sides: PC-59" in message


def test_a_measure_that_was_not_made_says_how_to_make_it(runs: Path, capsys: pytest.CaptureFixture[str]):
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base", "--metrics", "boundary_iou")
    assert "--measures boundary" in message


def test_an_unknown_metric_is_refused_with_the_nearest(runs: Path, capsys: pytest.CaptureFixture[str]):
    message = refused(capsys, runs, "table1:disa-base", "table1:catseg-base", "--metrics", "miou")
    assert "did you mean" in message


def test_a_flagged_seed_is_left_out_and_named(compare: Compare, runs: Path, monkeypatch, capsys):
    usual = load_profile("smoke")
    strict = dataclasses.replace(usual, flag_implausible=True)
    monkeypatch.setattr(evaluations, "load_profile", lambda _: strict)
    plan = plan_of(runs, seeds=[0, 1])
    benchmark = get_benchmark("PAS-20")
    store_counts(plan, "catseg-base", "PAS-20", draw_counts(benchmark, IMAGES, 1.0, seed=1, worse=1.0), 1)  # all wrong
    told = compare("table1:disa-base", "table1:catseg-base", "--seeds", "0,1", "--benchmarks", "PAS-20")
    assert [r["b"]["seeds"] for r in told["rows"]] == [1, 1]
    assert told["left_out"]["a"] == []
    assert "seed 1 on PAS-20: mIoU" in told["left_out"]["b"][0]
    assert main(["compare", "table1:disa-base", "table1:catseg-base", "--seeds", "1", "--runs", str(runs),
                 "--profile", "smoke", "--benchmarks", "PAS-20"]) >= 2  # fmt: skip
    wrong = run_of(runs, "catseg", 1)
    assert main(["compare", wrong, run_of(runs, "disa", 1), "--runs", str(runs), "--benchmarks", "PAS-20"]) == 0
