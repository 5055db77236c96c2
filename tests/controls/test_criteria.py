"""Where a control holds and where it does not."""

from __future__ import annotations

import pytest

from repro.controls.criteria import judge_overfit, judge_start, judge_teacher, judge_trained

HEART = {
    "accuracy": 0.5,
    "shown": 0.6,
    "shown_accuracy": 0.0,
    "map_ap": 0.0,
    "cosine_ap": 0.5,
    "chance_ap": 0.2,
    "steps": 300,
}
FIRST = {"over_classes": 1.0, "over_places": 2.0, "query_cosine": None, "text_cosine": 0.8}


@pytest.mark.parametrize(("accuracy", "holds"), [(0.949, False), (0.95, True)])
def test_masks_must_be_learned_by_heart(accuracy: float, holds: bool) -> None:
    found = judge_overfit({**HEART, "shown_accuracy": accuracy}, "masks")
    assert found.holds is holds
    assert f"{100 * accuracy:.1f} %" in found.text


@pytest.mark.parametrize(
    ("ap", "cosine", "holds"), [(0.6, 0.5, True), (0.5, 0.5, False), (0.39, 0.3, False), (0.41, 0.3, True)]
)
def test_maps_from_image_labels_must_beat_chance_twice_and_the_cosine(ap: float, cosine: float, holds: bool) -> None:
    assert judge_overfit({**HEART, "map_ap": ap, "cosine_ap": cosine}, "image labels").holds is holds


@pytest.mark.parametrize(("classes", "holds"), [(0.19, False), (0.2, True)])
def test_logits_must_depend_on_the_class(classes: float, holds: bool) -> None:
    assert judge_start({**FIRST, "over_classes": classes}).holds is holds


@pytest.mark.parametrize(("queries", "holds"), [(0.89, True), (0.91, False)])
def test_queries_must_keep_half_of_what_lies_between_the_texts(queries: float, holds: bool) -> None:
    found = judge_start({**FIRST, "query_cosine": queries})
    assert found.holds is holds
    assert f"{queries:.2f}" in found.text


def test_constant_logits_are_not_apart() -> None:
    assert not judge_start({**FIRST, "over_classes": 0.0, "over_places": 0.0}).holds


def test_training_must_pay_everywhere_and_beat_zero_shot_where_the_classes_were_seen() -> None:
    own, before, clip = {"a": 0.3, "b": 0.2}, {"a": 0.1, "b": 0.1}, {"a": 0.25, "b": 0.25}
    assert judge_trained(own, before, clip, ["a"]).holds
    found = judge_trained(own, before, clip, ["a", "b"])
    assert not found.holds
    assert "b 20.0, zero-shot CLIP 25.0" in found.text
    assert "a " not in found.text.replace("not above: ", "")
    assert not judge_trained(own, {"a": 0.1, "b": 0.2}, clip, []).holds


@pytest.mark.parametrize(("teacher", "holds"), [(0.5, False), (0.51, True)])
def test_a_teacher_must_exceed_its_student(teacher: float, holds: bool) -> None:
    assert judge_teacher({"teacher": teacher, "student": 0.5, "regions": 10}).holds is holds
