"""The papers' numbers are those of the facts file, and a cell names exactly one of them."""

from __future__ import annotations

import csv

import facts
import pytest

from repro.configuration.published import find_published
from repro.paths import PUBLISHED

DENSEVLM = "DenseVLM (arXiv 2412.06244)"
DISA = {"paper": "DiSa (ICLR 2026 submission)", "table": "Table 1"}


RENEW = "after a change that was checked against the paper: python tests/support/facts.py"


def rows() -> list[dict[str, str]]:
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_value_is_the_recorded_one():
    assert facts.published_digests() == facts.load("published"), RENEW


def test_every_row_names_its_paper_version_table_and_row():
    assert all(r[field] for r in rows() for field in ("paper", "version", "table", "row", "metric", "value"))
    assert len({(r["paper"], r["version"]) for r in rows()}) == len({r["paper"] for r in rows()}) == 5


def test_no_cell_is_printed_twice():
    cells = [tuple(v for k, v in r.items() if k not in ("value", "note", "convention")) for r in rows()]
    assert len(set(cells)) == len(cells)


def test_what_was_pre_trained_alone_names_no_training_set_and_a_backbone_nobody_states_is_empty():
    own = [r for r in rows() if r["paper"] == DENSEVLM]
    found = {r["method"]: (r["train_set"], r["vlm"]) for r in own if r["table"] == "Table 1"}
    assert {m for m, (train, _) in found.items() if not train} == {"OpenCLIP", "DFN", "SigLIP", "EVA-CLIP"}
    assert {m for m, (_, vlm) in found.items() if not vlm} == {"RegionCLIP"}
    (pacl,) = {(r["train_set"], r["extra_data"]) for r in own if r["method"] == "PACL"}
    assert pacl == ("GCC+YFCC", "yes")


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
    found = rows()
    assert {r["convention"] for r in found if r["metric"] == "mIoU_percent"} == {"miou_gt", "unknown"}
    assert {r["convention"] for r in found if r["metric"] != "mIoU_percent"} == {""}
    # One number has been traced to its evaluator (issue 24 of the official repository); the DiSa paper reprints it.
    known = {(r["method"], r["vlm"], r["benchmark"], r["value"]) for r in found if r["convention"] == "miou_gt"}
    assert known == {("CAT-Seg", "CLIP ViT-B/16", "PC-459", "19.0")}


def test_both_published_values_of_catseg_on_ade_847_are_there_with_their_sources():
    own = [r for r in rows() if r["method"] == "CAT-Seg" and r["benchmark"] == "A-847"]
    found = {(r["value"], r["paper"]) for r in own if r["vlm"] == "CLIP ViT-B/16"}
    assert ("12.0", DISA["paper"]) in found
    assert any(value == "8.4" for value, _ in found)
