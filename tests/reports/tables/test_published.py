"""The papers' numbers are those of the facts file, and a cell names exactly one of them."""

from __future__ import annotations

import csv

import facts
import pytest

from repro.configuration.published import find_published
from repro.paths import PUBLISHED

DISA = {"paper": "DiSa (ICLR 2026 submission)", "table": "Table 1"}


def test_every_value_is_the_recorded_one():
    """All columns but the last: which convention a number follows is found out here."""
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    *fields, last = rows[0]
    assert last == "convention"
    tables: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        tables.setdefault((row["paper"], row["table"]), []).append(row)
    found = {table: (len(values), facts.digest(values, fields)) for table, values in tables.items()}
    assert found == {(r["paper"], r["table"]): (r["rows"], r["sha256"]) for r in facts.load("published")}


def test_catseg_on_ade_847_is_12_0_in_the_disa_paper():
    found = find_published({**DISA, "method": "CAT-Seg", "vlm": "CLIP ViT-B/16"}, "A-847")
    assert found is not None
    assert (found.value, found.convention) == (12.0, "unknown")


def test_a_cell_the_paper_leaves_empty_is_none():
    assert find_published({**DISA, "method": "SED", "vlm": "ConvNeXt-B"}, "PAS-20b") is None


def test_no_selection_means_no_published_value():
    assert find_published({}, "A-847") is None


def test_an_ambiguous_selection_is_refused():
    with pytest.raises(ValueError, match="published numbers match"):
        find_published({"method": "CAT-Seg"}, "A-847")


def test_a_paper_may_have_names_of_its_own_for_benchmarks():
    selection = {"paper": "SynSeg (arXiv 2508.06115v3)", "table": "Table II", "method": "SynSeg"}
    named = find_published({**selection, "benchmarks": {"PAS-20b": "VOC"}}, "PAS-20b")
    assert named is not None
    assert (named.benchmark, named.value) == ("PAS-20b", 60.5)
    assert find_published({**selection, "benchmarks": {"PAS-20b": "VOC"}}, "A-847") is None


def test_every_miou_names_its_convention_and_only_where_its_source_tells():
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {r["convention"] for r in rows if r["metric"] == "mIoU_percent"} == {"miou_gt", "unknown"}
    assert {r["convention"] for r in rows if r["metric"] != "mIoU_percent"} == {""}
    # One number has been traced to its evaluator (issue 24 of the official repository); the DiSa paper reprints it.
    known = {(r["method"], r["vlm"], r["benchmark"], r["value"]) for r in rows if r["convention"] == "miou_gt"}
    assert known == {("CAT-Seg", "CLIP ViT-B/16", "PC-459", "19.0")}


def test_both_published_values_of_catseg_on_ade_847_are_there_with_their_sources():
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        rows = [r for r in csv.DictReader(stream) if r["method"] == "CAT-Seg" and r["benchmark"] == "A-847"]
    found = {(r["value"], r["paper"]) for r in rows if r["vlm"] == "CLIP ViT-B/16"}
    assert ("12.0", DISA["paper"]) in found
    assert any(value == "8.4" for value, _ in found)
