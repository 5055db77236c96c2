"""``repro run reviewers_saliency`` from nothing, on a random tower and a handful of generated pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repro.cli.main import main
from repro.datasets.protocol import Protocol
from repro.errors import UsageError
from repro.evaluation.maps import whole_view
from repro.hardware import cpu_count, cpu_name
from repro.runs.evaluations import Where, find_side

ROWS = ("run", "reviewers_saliency", "--methods", "clip,disa", "--benchmarks", "PAS-20", "--iterations", "1")


def repro(folder: Path, *words: str) -> int:
    return main([*words, "--profile", "smoke", "--runs", str(folder / "runs")])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    assert repro(folder, *ROWS, "--results", str(folder / "results"), "--device", "cpu") == 0
    return folder


def test_every_run_has_the_figures_of_the_maps_it_offers(made: Path) -> None:
    frame = pd.read_csv(made / "results" / "reviewers_saliency.csv").set_index("row")
    assert set(frame.index) == {
        *("clip", "disa", "disa-attention"),
        *("disa-layer=0", "disa-layer=1", "disa-layer=-1", "disa-text=unit"),
    }
    assert (frame["status"] == "done").all()
    assert frame.loc["clip", ["saliency_ap", "foreground_iou"]].isna().all()
    assert frame.loc["disa", ["saliency_ap", "foreground_iou", "correlation_ap"]].between(0, 1).all()
    assert (frame["correlation_ap_low"] <= frame["correlation_ap"]).all()
    assert (frame["correlation_ap"] <= frame["correlation_ap_high"]).all()
    # What is in the images is the same for all.
    assert frame["chance_ap"].nunique() == frame["pairs"].nunique() == 1
    # PAS-20 has things only.
    assert frame["correlation_ap_stuff"].isna().all()
    np.testing.assert_array_equal(frame["correlation_ap_thing"], frame["correlation_ap"])
    # COCO-Stuff has all of them, and there is nothing that is not foreground.
    np.testing.assert_array_equal(frame["correlation_ap_seen"], frame["correlation_ap"])
    assert frame[["correlation_ap_unseen", "foreground_ap", "foreground_chance_ap"]].isna().all(axis=None)
    text = (made / "results" / "reviewers_saliency.md").read_text()
    assert "DiSa, saliency: attention only" in text
    assert f"- Hardware: {cpu_name()}, {cpu_count()} cores." in text
    assert "95 % over" in text


def test_finished_maps_are_not_measured_again(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {p: p.stat().st_mtime_ns for p in (made / "runs").glob("*/maps/*/maps.npz")}
    assert len(kept) == 7
    assert repro(made, *ROWS, "--results", str(made / "again"), "--json") == 0
    assert {cell["status"] for cell in json.loads(capsys.readouterr().out)} == {"done"}
    assert {p: p.stat().st_mtime_ns for p in (made / "runs").glob("*/maps/*/maps.npz")} == kept


def test_dry_run_says_what_is_missing_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repro(tmp_path, *ROWS, "--dry-run") == 0
    assert "7 missing of 7 cells" in capsys.readouterr().out
    assert not any(tmp_path.iterdir())


def test_the_view_is_all_of_the_image_at_the_size_of_a_window() -> None:
    rows = np.repeat(np.arange(40, dtype=np.uint8)[:, None, None] * 6, 60, axis=1).repeat(3, axis=2)
    view = whole_view(Protocol(short_side=40, max_long_side=200, canvas=40, window=20, overlap=0.0), rows, "cpu")
    assert view.shape == (1, 3, 20, 20)
    np.testing.assert_allclose(view[0, 0, :, 7], np.arange(20) * 12 + 3, atol=1)


def test_a_map_table_holds_no_evaluations(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds scores of maps"):
        find_side("reviewers_saliency:clip", Where(tmp_path, "smoke"))


def test_report_has_a_page_and_numbers(made: Path) -> None:
    folder = made / "page"
    words = ("report", "reviewers_saliency", "--methods", "clip", "--benchmarks", "PAS-20", "--html")
    assert repro(made, *words, "--results", str(folder)) == 0
    frame = pd.read_csv(folder / "reviewers_saliency.csv")
    printed = f"{100 * frame['correlation_ap'][0]:.1f}"
    assert printed in (folder / "reviewers_saliency.html").read_text()
    assert f"{{{printed}}}" in (folder / "numbers.tex").read_text()


def test_the_attention_that_a_saliency_weights_is_measured_beside_it(made: Path) -> None:
    frame = pd.read_csv(made / "results" / "reviewers_saliency.csv").set_index("row")
    assert frame.loc["disa", ["attention_ap", "attention_best_iou"]].between(0, 1).all()
    # Where the attention is the saliency there is nothing to tell apart.
    assert frame.loc[["clip", "disa-attention"], "attention_ap"].isna().all()
    text = (made / "results" / "reviewers_saliency.md").read_text()
    gain = 100 * (frame.loc["disa", "saliency_ap"] - frame.loc["disa", "attention_ap"])
    assert f"{gain:+.1f} over the attention alone" in text
