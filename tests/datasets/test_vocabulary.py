"""Vocabularies and specifications against the protocol facts."""

from __future__ import annotations

import subprocess
import sys

import facts
import pytest

from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS, get_benchmark
from repro.datasets.vocabulary import load_vocabulary, vocabulary_names
from repro.errors import UsageError

SIZES = {
    "ade150": 150,
    "ade847": 847,
    "cityscapes19": 19,
    "coco_object80": 80,
    "coco_stuff171": 171,
    "pc459": 459,
    "pc59": 59,
    "voc20": 20,
    "voc20b_prompts": 59,
}
WRITTEN_ELSEWHERE = ("coco_object80", "cityscapes19")
"""A part of coco_stuff171; what tests/datasets/test_cityscapes.py writes down."""


def test_every_vocabulary_has_its_published_size() -> None:
    assert {name: len(load_vocabulary(name)) for name in vocabulary_names()} == SIZES


@pytest.mark.parametrize("name", [n for n in SIZES if n not in WRITTEN_ELSEWHERE])
def test_vocabulary_equals_the_recorded_facts(name: str) -> None:
    # The kind of most classes is ours (docs/taxonomy.md); everything recorded must be as recorded.
    recorded = facts.load("vocabularies")[name]
    assert facts.digest(load_vocabulary(name).rows, recorded["fields"]) == recorded["sha256"]


@pytest.mark.parametrize(
    ("name", "column"),
    [("ade847", "ade20k_full_id"), ("coco_stuff171", "stuffthingmaps_value"), ("pc59", "pascal_context_id")],
)
def test_source_values_are_the_recorded_ones(name: str, column: str) -> None:
    ours = {int(row[column]): int(row["index"]) for row in load_vocabulary(name).rows}
    assert ours == facts.label_values(name)


def test_prompts_are_the_first_synonym_only() -> None:
    ade = load_vocabulary("ade847")
    assert ade.names[1] == "building, edifice"
    assert ade.prompts[1] == "building"
    assert not any("," in word for word in ade.prompts)
    assert len(ade.prompts) == 847


def test_digest_changes_with_any_fact() -> None:
    import dataclasses

    voc = load_vocabulary("voc20")
    renamed = dataclasses.replace(voc, rows=({**voc.rows[0], "name": "airplane"}, *voc.rows[1:]))
    assert voc.digest() == load_vocabulary("voc20").digest()
    assert renamed.digest() != voc.digest()


def test_unknown_vocabulary_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="ade150"):
        load_vocabulary("ade-150")


def test_benchmarks_are_the_six_in_table_order() -> None:
    assert list(BENCHMARKS) == ["A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"]
    published = {
        "A-847": (2000, 847, 847, 65535, None),
        "PC-459": (5104, 459, 459, 459, None),
        "A-150": (2000, 150, 150, 255, None),
        "PC-59": (5104, 59, 59, 255, None),
        "PAS-20": (1449, 20, 20, 255, None),
        "PAS-20b": (1449, 21, 59, 255, 20),
        "coco-stuff": (118_287, 171, 171, 255, None),
    }
    for name, benchmark in {**BENCHMARKS, **TRAIN_SETS}.items():
        prompts = len(benchmark.prompt_names())
        found = (
            benchmark.num_images,
            benchmark.num_classes,
            prompts,
            benchmark.ignore_label,
            benchmark.background_index,
        )
        assert found == published[name], name
        assert benchmark.splits[0].num_images == benchmark.num_images


def test_pas20b_prompts_start_with_the_twenty_classes_and_fold_the_rest() -> None:
    folded = get_benchmark("PAS-20b")
    assert folded.prompt_names()[:20] == get_benchmark("PAS-20").class_names()
    assert folded.class_names()[folded.background_index or 0] == "background"


def test_benchmark_names_are_case_blind_and_a_typo_is_answered() -> None:
    assert get_benchmark("pas-20B").id == "PAS-20b"
    with pytest.raises(UsageError, match="did you mean A-150"):
        get_benchmark("A-15")
    with pytest.raises(UsageError, match="unknown split of A-150 'test'"):
        get_benchmark("A-150").split("test")


def test_specifications_import_nothing_heavy() -> None:
    modules = [
        "datasets.benchmarks",
        "datasets.layout",
        "datasets.verify.verify",
        "datasets.prepare.prepare",
        "mini.synth",
    ]
    code = "import sys\n" + "\n".join(f"import repro.{m}" for m in modules)
    code += "\nprint([m for m in ('torch', 'cv2', 'PIL', 'scipy') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
