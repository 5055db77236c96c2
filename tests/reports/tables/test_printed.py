"""All rows of a paper's table around the measured ones, those with a measured row, or none of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import get_args

import pytest

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.published import PublishedRows, printed_rows
from repro.configuration.tables import Row, load_table
from repro.measuring.cost import CostStatus, cost_cells
from repro.measuring.regions import region_status
from repro.reports.tables.cost import cost_sheet
from repro.reports.tables.evidence import Evidence
from repro.reports.tables.frame import beside_frame, paper_frame
from repro.reports.tables.html import table_section, write_page
from repro.reports.tables.printed import around, printed_notes
from repro.reports.tables.regions import region_sheet
from repro.reports.tables.writers import table_text
from repro.requests import TableRequest
from repro.runs.plan import Plan, make_plan
from repro.runs.status import DONE, plan_status
from repro.tables.regions import KIND as REGIONS

DISA = {"paper": "DiSa (ICLR 2026 submission)", "table": "Table 1"}


def plan_of(table: str, tmp_path: Path, profile: str = "paper", **more: object) -> Plan:
    return make_plan(load_table(table), load_profile(profile), tmp_path, **more)  # type: ignore[arg-type]


def test_rows_of_a_table_come_as_printed_with_what_tells_them_apart():
    rows = printed_rows(DISA)
    assert len(rows) == 25
    assert [r.title for r in rows[:4]] == ["LSeg", "LSeg+", "ZegFormer", "ZegFormer"]
    assert [r.columns["train_set"] for r in rows[2:4]] == ["COCO-Stuff-156", "COCO-Stuff"]
    assert (rows[0].value("PAS-20"), rows[0].value("A-847")) == (47.4, None)
    assert printed_rows({}) == []


def test_rows_of_one_method_are_called_by_their_row():
    titles = [r.title for r in printed_rows({"paper": "DenseVLM (arXiv 2412.06244)", "table": "Table 4"})]
    assert titles[-2:] == ["NXTP 210 (133)", "NXTP 794 (484)"]


def test_every_printed_row_stands_once_above_the_next_row_of_ours():
    printed = printed_rows(DISA)
    ours = [
        Row("clip", "CLIP", "clip", "base"),
        Row("b", "CAT-Seg", "catseg", "base", published={**DISA, "row": "CAT-Seg CLIP ViT-B/16"}),
        Row("new", "New", "clip", "base"),
        Row("l", "CAT-Seg", "catseg", "large", published={**DISA, "row": "CAT-Seg CLIP ViT-L/14"}),
    ]
    pairs = list(around(ours, printed))
    assert [row.id if row else None for _, row in pairs] == ["clip", "b", "new", "l", None]
    assert [len(above) for above, _ in pairs] == [0, 11, 0, 10, 2]
    assert [p.title for p in pairs[1][0]][-1] == "SED"
    assert [p.title for p in pairs[4][0]] == ["DPSeg", "DiSa"]


def test_table_1_has_all_competitors_of_both_sizes_with_backbone_set_and_additional_data(tmp_path: Path):
    plan = plan_of("table1", tmp_path)
    frame = paper_frame(plan, plan_status(plan), published="all")
    printed = frame[frame["source"] == "published"]
    assert {(r.title, r.vlm) for r in printed_rows(DISA)} <= set(zip(printed["method"], printed["tower"], strict=True))
    (row,) = printed[(printed["method"] == "OVSeg") & (printed["tower"] == "CLIP ViT-L/14")].to_dict("records")
    assert (row["feature_backbone"], row["train_set"], row["extra_data"]) == ("Swin-B", "COCO-Stuff", "yes")
    assert row["A-150"] == 29.6
    order = list(frame["method"])
    assert order.index("SED") < order.index("CAT-Seg") < order.index("DPSeg") < order.index("DiSa")
    ours = frame[frame["source"] == "measured"]
    assert set(ours.loc[ours["method"] == "DiSa", "train_set"]) == {"COCO-Stuff 164k"}


def test_a_row_of_ours_that_is_not_selected_is_a_competitor_as_printed(tmp_path: Path):
    plan = plan_of("table1", tmp_path, methods=["catseg"])
    frame = paper_frame(plan, plan_status(plan), published="all")
    disa = frame[frame["method"] == "DiSa"]
    assert list(disa["source"]) == ["published", "published"]
    assert list(disa["A-150"]) == [33.7, 38.9]


def test_a_printed_row_without_a_value_on_the_chosen_benchmarks_is_left_out(tmp_path: Path):
    plan = plan_of("table1", tmp_path, benchmarks=["PAS-20b"])
    printed = paper_frame(plan, plan_status(plan), published="all")
    own = printed[printed["source"] == "published"]
    assert own["PAS-20b"].notna().all()
    assert "LSeg+" in set(own["method"])
    assert "SED" not in set(own["method"])


@pytest.mark.parametrize("table", ["table1", "logoseg-table1", "logoseg-table5", "densevlm-table7"])
def test_the_measured_rows_are_the_same_whatever_is_printed_around_them(table: str, tmp_path: Path):
    plan = plan_of(table, tmp_path)
    frames = [paper_frame(plan, plan_status(plan), published=p) for p in get_args(PublishedRows)]
    rows = [[*(f["method"] + f["tower"])[f["source"] == "measured"]] for f in frames]
    assert set(frames[2]["source"]) == {"measured"}
    assert len(frames[0]) > len(frames[1]) > len(frames[2])
    assert rows[0] == rows[1] == rows[2]


def test_latex_has_all_rows_and_the_terminal_those_with_a_measured_row_unless_it_is_said(tmp_path: Path):
    asked = TableRequest(table="table1")
    assert [asked.published_in(form) for form in ("latex", "md", "csv", "html")] == ["all", "ours", "ours", "ours"]
    for published in ("all", "ours", "none"):
        asked = TableRequest(table="table1", published=published)  # type: ignore[arg-type]
        assert {asked.published_in(form) for form in ("latex", "md")} == {published}
    words = ["report", "logoseg-table5", "--profile", "smoke", "--runs", str(tmp_path / "runs")]
    assert main([*words, "--results", str(tmp_path / "out")]) == 0
    tex, text = ((tmp_path / "out" / f"logoseg-table5.{end}").read_text() for end in ("tex", "md"))
    assert "ZegFormer" in tex
    assert "ZegFormer" not in text
    assert main([*words, "--results", str(tmp_path / "none"), "--published", "none"]) == 0
    tex, text = ((tmp_path / "none" / f"logoseg-table5.{end}").read_text() for end in ("tex", "md"))
    assert "Published" not in tex + text
    assert "46.8" not in tex + text


def test_a_csv_with_all_rows_says_which_are_published(tmp_path: Path):
    plan = plan_of("logoseg-table5", tmp_path)
    rows = list(csv.DictReader(io.StringIO(table_text(plan, plan_status(plan), "csv", published="all"))))
    assert [r["source"] for r in rows].count("published") == 12
    assert {r["profile"] for r in rows if r["source"] == "published"} == {""}
    assert {r["train_set"] for r in rows if r["source"] == "published"} == {"COCO-Stuff", "PC-59", "A-150"}


def test_without_published_rows_an_ablation_has_measured_columns_alone(tmp_path: Path):
    plan = plan_of("table3", tmp_path)
    frame = beside_frame(plan, plan_status(plan), published="none")
    assert not [c for c in frame.columns if "published" in c]
    text = table_text(plan, plan_status(plan), "md", published="none")
    assert "(published)" not in text
    assert "(difference)" not in text


def test_table_2_has_the_other_methods_where_the_paper_has_them(tmp_path: Path):
    plan = plan_of("table2", tmp_path)
    states = [CostStatus(cell, DONE) for cell in cost_cells(plan)]
    sheet = cost_sheet(plan, states, "all")
    theirs = [sheet.rows[n]["title"] for n in sheet.italic]
    assert theirs == ["ZegFormer", "ZSseg", "OVSeg", "ESC-Net"]
    assert "ESC-Net" in sheet.latex()
    assert [r["title"] for r in cost_sheet(plan, states).rows] == ["CAT-Seg", "DiSa"] * 2
    assert not [c for c in cost_sheet(plan, states, "none").columns if c.group in ("published", "difference")]
    row = sheet.rows[next(iter(sheet.italic))]
    found = [row[f"published_{k}"] for k in ("params_million", "gflops", "seconds")]
    assert found == ["531.2", "19,425.6", "3.10"]
    assert "params_million" not in row


def test_tables_of_regions_have_the_other_models(tmp_path: Path):
    plan = plan_of("densevlm-table1", tmp_path)
    states = region_status(plan, None)
    sheet = region_sheet(plan, states, "all")
    theirs = {sheet.rows[n]["title"]: sheet.rows[n] for n in sheet.italic}
    assert theirs["RegionCLIP (published)"]["coco-panoptic/boxes_top5"] == "89.5"
    assert not region_sheet(plan, states, "none").italic
    assert len(REGIONS.records(plan, states)) == len(sheet.rows) - len(theirs)


def test_what_is_said_of_printed_rows_stands_below_once_for_all_it_is_said_of():
    (every,) = printed_notes(printed_rows({"paper": DISA["paper"], "table": "Table 2"}))
    assert every.startswith("Published, all rows: caption says")
    notes = printed_notes(printed_rows({"paper": "LoGoSeg (AAAI 2026)", "table": "Table 1"}))
    assert [n for n in notes if "first arXiv version" in n and n.count("CAT-Seg, CLIP ViT") == 2]


def test_a_page_shows_the_rows_of_the_paper_and_nothing_computed_behind_them(tmp_path: Path):
    plan = plan_of("logoseg-table5", tmp_path, "smoke")
    evidence = Evidence(plan, plan_status(plan))
    found = table_section(evidence, published="all")
    shown = [r for r in found.shown["rows"] if r["id"].startswith("printed-")]
    assert [r["title"] for r in shown][:2] == ["ZegFormer", "ZSseg"]
    record = found.data["cells"][f"{shown[0]['id']}|A-150"]
    assert (record["seeds"], record["published"][0]["value"]) == ([], 18.0)
    write_page(tmp_path / "x.html", "x", [found])
    assert "ZegFormer" in (tmp_path / "x.html").read_text()
    bare = table_section(evidence, published="none")
    assert not [c for r in bare.shown["rows"] for c in r["cells"] if c["published"]]


@pytest.mark.parametrize("table", ["controls", "reviewers_saliency"])
def test_a_table_that_repeats_no_paper_has_no_use_for_published_rows(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["run", table, "--profile", "smoke", "--dry-run", "--runs", str(tmp_path), "--published", "all"]
    assert main(words) == 2
    assert "has no use for --published" in capsys.readouterr().err
