"""Plots say the numbers of the evaluations, in vector files that are equal for equal numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from finished_table import IMAGES, finished_table

from repro.datasets.vocabulary import first_synonym
from repro.errors import UsageError
from repro.reports.figures import plots
from repro.reports.figures.plot_style import COLOURS, looks, save
from repro.reports.figures.plots_runs import cost_plot, curves_plot, kind_shares
from repro.reports.tables.evidence import Evidence, read_losses

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return finished_table(tmp_path_factory.mktemp("runs"))


def svg_text(figure: object, folder: Path) -> str:
    path = next(p for p in save(figure, folder, "x") if p.suffix == ".svg")  # type: ignore[arg-type]
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()))


@pytest.mark.slow
def test_every_plot_is_written_as_pdf_and_svg(evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plots, "cost_plot", lambda _: None)  # counts for seconds; below
    names = {p.name for p in plots.write_plots(evidence, tmp_path)}
    expected = ("differences", "curves", "confusion", "classes_A-150", "classes_PAS-20b")
    assert names == {f"table1_{n}.{form}" for n in expected for form in ("pdf", "svg")}
    for path in tmp_path.iterdir():
        assert path.read_bytes()[:4] in (b"%PDF", b"<?xm")


def test_equal_numbers_give_equal_files(evidence: Evidence, tmp_path: Path):
    baseline = evidence.baseline()
    for name in ("a", "b"):
        figure = plots.differences_plot(evidence, baseline)
        assert figure is not None
        save(figure, tmp_path / name, "x")
    for form in ("pdf", "svg"):
        assert (tmp_path / "a" / f"x.{form}").read_bytes() == (tmp_path / "b" / f"x.{form}").read_bytes()


def test_the_forest_plot_prints_the_paired_differences(evidence: Evidence, tmp_path: Path):
    text = svg_text(plots.differences_plot(evidence, evidence.baseline()), tmp_path)
    for row in ("disa-base", "clip-base"):
        for benchmark in ("A-150", "PAS-20b"):
            pair = evidence.pair(row, "catseg-base", benchmark)
            assert pair is not None
            assert f"{100 * pair.difference.value:+.1f} [".replace("-", "−") in text
    assert "minus that of CAT-Seg" in text


def test_a_difference_turned_round_has_the_other_sign(evidence: Evidence):
    one, other = (evidence.pair(*rows, "A-150") for rows in (("disa-base", "clip-base"), ("clip-base", "disa-base")))
    assert one is not None
    assert other is not None
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert one.difference.low == pytest.approx(-other.difference.high, abs=1e-9)


def test_class_plot_orders_classes_by_difference_and_counts_their_images(evidence: Evidence, tmp_path: Path):
    rows = {r.id: r for r in evidence.rows}
    text = svg_text(plots.classes_plot(evidence, rows["disa-base"], rows["catseg-base"], "A-150"), tmp_path)
    ours, theirs = (evidence.entry(r, "A-150") for r in ("disa-base", "catseg-base"))
    assert ours is not None
    assert theirs is not None
    gains = ours.class_iou - theirs.class_iou
    names = ours.benchmark.class_names()
    shown = [i for i in np.argsort(-gains, kind="stable") if np.isfinite(gains[i])]
    labels = [f"{first_synonym(names[i])[:26]} ({ours.class_images[i]})" for i in shown]
    places = [text.index(label) for label in labels]
    assert places == sorted(places)
    assert max(ours.class_images) <= IMAGES


def test_rows_that_cannot_be_paired_are_no_plot(tmp_path: Path):
    evidence = finished_table(tmp_path, ("PAS-20b",))
    rows = {r.id: r for r in evidence.rows}
    assert plots.classes_plot(evidence, rows["disa-base"], rows["logoseg-base"], "PAS-20b") is None


def test_the_baseline_is_the_first_trained_row_or_the_one_named(evidence: Evidence):
    assert evidence.baseline().id == "catseg-base"
    assert evidence.baseline("disa-base").id == "disa-base"
    with pytest.raises(UsageError, match="did you mean disa-base"):
        evidence.baseline("disa-bas")


def test_pixels_of_a_kind_are_shared_out_completely(evidence: Evidence):
    entry = evidence.entry("disa-base", "A-150")
    assert entry is not None
    kinds, confusion = entry.benchmark.class_kinds(), sum(c.confusion for c in entry.counts.values())
    expected = {}
    for kind in ("thing", "stuff"):
        right = same = other = 0
        for i, own in enumerate(kinds):
            for j, predicted in enumerate(kinds):
                if own == kind:
                    n = int(confusion[i, j])
                    right, same, other = right + n * (i == j), same + n * (i != j and predicted == kind), other + n * (predicted != kind)  # fmt: skip  # noqa: E501
        total = right + same + other
        expected[kind] = (right / total, same / total, other / total)
    found = kind_shares(entry)
    assert found is not None
    assert found[0] == pytest.approx(expected["thing"])
    assert found[1] == pytest.approx(expected["stuff"])
    assert sum(found[0]) == pytest.approx(1)


def test_a_benchmark_of_things_only_has_no_share_of_stuff(tmp_path: Path):
    entry = finished_table(tmp_path, ("PAS-20",)).entry("disa-base", "PAS-20")
    assert entry is not None
    found = kind_shares(entry)
    assert found is not None
    assert found[0][2] == 0
    assert np.isnan(found[1]).all()


def test_an_interrupted_log_counts_each_iteration_once(tmp_path: Path):
    path = tmp_path / "losses.jsonl"
    path.write_text('{"iteration": 10, "loss": 3}\n{"iteration": 20, "loss": 2}\n{"iteration": 10, "loss": 1}\n{"iter')
    assert [(r["iteration"], r["loss"]) for r in read_losses(path)] == [(10, 1), (20, 2)]


def test_an_evaluation_between_does_not_hide_the_losses_of_its_iteration(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    lines = [{"iteration": 10, "loss": 3.0}, {"iteration": 10, "eval/miou": 0.2}, {"iteration": 20, "loss": 2.0}]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_losses(path) == [{"iteration": 10, "loss": 3.0, "eval/miou": 0.2}, {"iteration": 20, "loss": 2.0}]


def test_learning_curves_need_a_log(evidence: Evidence, tmp_path: Path):
    assert curves_plot(evidence) is not None
    bare = finished_table(tmp_path, ("PAS-20",))
    for path in tmp_path.glob("*/losses.jsonl"):
        path.unlink()
    assert curves_plot(bare) is None


def test_rows_of_a_table_are_told_apart_by_colour_and_by_marker(evidence: Evidence):
    found = looks(evidence)
    assert len({x.colour for x in found.values()}) == len(found) <= len(COLOURS)
    assert len({x.marker for x in found.values()}) == len(found)


@pytest.mark.slow
def test_cost_is_set_against_every_benchmark(evidence: Evidence, tmp_path: Path):
    pytest.importorskip("fvcore")
    text = svg_text(cost_plot(evidence), tmp_path)
    assert all(b in text for b in ("A-150", "PAS-20b", "GFLOPs (A-150)"))
    assert "DiSa (" in text
