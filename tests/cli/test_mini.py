"""``repro mini``: what is listed, and premises that are measured, printed and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_mini import small_mini
from torch import Tensor

from repro.cli.main import main
from repro.clip.tower import ClipTower
from repro.measuring import premises
from repro.metrics.regions.prompts import category_embeddings
from repro.mini.catalogue import CONCEPTS

VIEWS = ("scene 64 px", "scene 96 px")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_mini(tmp_path_factory.mktemp("profile"))


def test_premises_are_measured_printed_and_judged(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def embed(tower: ClipTower, names: Sequence[str], *rest: Any) -> Tensor:
        asked.append({name for name in names if name.startswith("bridge")})
        return category_embeddings(tower, names, *rest)

    monkeypatch.setattr("repro.metrics.regions.prompts.category_embeddings", embed)
    words = ["mini", "premises", "--profile", profile, "--runs", str(tmp_path), "--device", "cpu"]
    assert main([*words, "--json"]) == 1  # six steps teach nothing
    found = json.loads(capsys.readouterr().out)
    rows = {row["what"]: row for row in found["premises"]}
    assert len(rows) == len(found["premises"]) == 17  # three of them by whole entries of ADE20K
    crops = next(row for what, row in rows.items() if what.startswith("single concepts named"))
    assert crops["value"] == pytest.approx(100 * found["scores"]["base"]["crop_top1"])
    assert not crops["holds"]
    assert found["scores"].keys() == {"base", "powerful"}
    boxes = [s["regions"]["coco-panoptic"]["boxes"] for s in (found["scores"]["powerful"], found["scores"]["base"])]
    gap = next(row for what, row in rows.items() if what.startswith("teacher above student, Boxes of coco"))
    assert gap["value"] == pytest.approx(boxes[0] - boxes[1])
    assert all(scores["entries"].keys() == {"ade-panoptic"} for scores in found["scores"].values())
    # Twice, of two towers: COCO's bridge, ADE20K's by its first name, and by its whole entry.
    assert asked == 2 * [{"bridge"}, {"bridge"}, {"bridge, span"}]
    main(words)
    text = capsys.readouterr().out.splitlines()
    assert text[0] == "student: tiny CLIP; teacher: tiny CLIP, trained on regions"
    assert sum("FAILS" in line or "holds" in line for line in text) == sum(
        r["least"] is not None for r in rows.values()
    )


def _scores(**changes: Any) -> dict[str, Any]:
    dense = {"accuracy": 0.61, "stuff_called_thing": 0.31, "thing_called_stuff": 0.2}
    return {
        "crop_top1": 0.99,
        "crop_hits": [1.0] * len(CONCEPTS),
        "synonym_top1": 0.98,
        "compositions": {"seen": 0.8, "unseen": 0.75, "chance": 1 / 21},
        "dense": {view: {"value/token": dense} for view in VIEWS},
        "regions": {"coco-panoptic": dict.fromkeys(premises.GROUPS, 50.0)},
        "entries": {"ade-panoptic": dict.fromkeys(premises.GROUPS, 50.0)},
        **changes,
    }


def test_every_premise_can_fail() -> None:
    def judged(**changes: Any) -> list[bool]:
        student = _scores(**changes)
        rows = [premises._names(student), premises._places(student), premises._bias(student), premises._words(student)]
        return [row.holds for part in rows for row in part]

    assert all(judged()), judged()
    weak = {"accuracy": 0.59, "stuff_called_thing": 0.31, "thing_called_stuff": 0.2}
    unbiased = {"accuracy": 0.9, "stuff_called_thing": 0.14, "thing_called_stuff": 0.1}
    hits = [float(c.name != "fountain") for c in CONCEPTS]  # COCO-Stuff has no fountain
    for number, change in enumerate(
        (
            {"crop_top1": 0.97},
            {"crop_hits": hits},
            {"dense": {view: {"value/token": weak} for view in VIEWS}},
            {"dense": {view: {"value/token": unbiased} for view in VIEWS}},
            {"synonym_top1": 0.9},
            {"compositions": {"seen": 0.8, "unseen": 0.7, "chance": 1 / 21}},
            {"compositions": {"seen": 0.0, "unseen": 0.0, "chance": 1 / 21}},
        )
    ):
        assert judged(**change).count(False) == 1, number


def test_the_teacher_must_be_ten_points_better_in_every_group() -> None:
    student = _scores()
    teacher = _scores(regions={"coco-panoptic": {"boxes": 61.0, "masks_thing": 59.0, "masks_stuff": 60.0}})
    by_names, by_entries = [list(premises._gap(student, teacher))[part] for part in (slice(3), slice(3, None))]
    assert [row.holds for row in by_names] == [True, False, True]
    # By whole entries both name as much, and nothing is asked: they hold words that no tower has read.
    assert [(row.value, row.least) for row in by_entries] == [(0, None)] * 3


def test_towers_are_listed_with_what_is_shipped(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["mini", "towers", "--runs", str(tmp_path), "--json"]) == 0
    found = {tower["tower"]: tower for tower in json.loads(capsys.readouterr().out)}
    assert found["base"]["shipped"]["content"]
    assert found["powerful-small"]["shipped"] is None
    assert main(["mini", "towers", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("base ")).split()[1] == "shipped,"
    assert not any(tmp_path.iterdir())
