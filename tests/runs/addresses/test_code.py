"""What is stored is used while the code computes the same, is stale when it does not, and can be taken over."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.runs.addresses.code import MADE_BEFORE, Code
from repro.runs.addresses.places import Place, settle
from repro.sources import Sources
from repro.sources.trace import Trace, difference, exact, summary
from repro.traces.subject import Subject


class World:
    """A project of one function, and the number its trace has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.value, self.taken = folder, 1.0, 0
        (folder / "cache").mkdir(parents=True)
        self.write("def work():\n    return 1\n")

    def write(self, text: str) -> None:
        (self.folder / "pkg").mkdir(exist_ok=True)
        (self.folder / "pkg" / "__init__.py").write_text("")
        (self.folder / "pkg" / "core.py").write_text(text)
        self.code = Code(self.folder / "cache" / "code", Sources({"pkg": self.folder / "pkg"}))

    @property
    def subject(self) -> Subject:
        def take() -> Trace:
            self.taken += 1
            if self.value != self.value:
                raise RuntimeError("broken")
            return {"numbers": [self.value, 2.0]}

        return Subject("the work", ("pkg.core:work",), {"asked": 1}, take)

    def make(self, name: str = "made", inputs: dict[str, str] | None = None) -> Path:
        from repro.files import write_json

        path = self.folder / name / "code.json"
        write_json(path, self.code.record(self.subject, inputs or {}))
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_same_source_is_the_same_without_a_trace(world: World) -> None:
    path = world.make()
    world.taken = 0
    world.write("# a comment\ndef work():\n    return 1\n")
    assert world.code.judge(path, world.subject, {}).state == "same"
    assert world.taken == 0


def test_another_source_that_computes_the_same_agrees_and_is_remembered(world: World) -> None:
    path = world.make()
    world.write("def work():\n    return 2 - 1\n")
    world.value = 1.0 + 1e-13
    assert world.code.judge(path, world.subject, {}).state == "agrees"
    taken = world.taken
    assert world.code.judge(path, world.subject, {}).state == "same"  # written down
    world.write("def work():\n    return 2 - 1\n")
    assert world.code.judge(path, world.subject, {}).state == "same"
    assert world.taken == taken


def test_a_process_with_two_stores_takes_a_trace_once_and_keeps_it_in_both(world: World) -> None:
    other = world.folder / "other"
    (other / "cache").mkdir(parents=True)
    first = world.code
    second = Code(other / "cache" / "code", first._sources.kept_in(other / "cache" / "code" / "sources"))
    found = [code.record(world.subject, {})["made"] for code in (first, second)]
    assert world.taken == 1
    assert found[0]["trace"] == found[1]["trace"] == {"numbers": [1.0, 2.0]}
    for store in (world.folder, other):  # for the processes to come
        assert len(list((store / "cache" / "code" / "traces").iterdir())) == 1
    assert len(list((other / "cache" / "code" / "sources").iterdir())) == 1


def test_what_failed_once_is_tried_again_by_another_store(world: World) -> None:
    world.value = math.nan
    assert world.code.trace(world.subject) == (None, "RuntimeError: broken")
    world.value = 1.0
    other = Code(None, world.code._sources)
    assert other.trace(world.subject)[0] == {"numbers": [1.0, 2.0]}


def test_another_number_is_stale_and_says_which_part_and_which_definition(world: World) -> None:
    path = world.make()
    world.write("def work():\n    return 3\n")
    world.value = 1.001
    verdict = world.code.judge(path, world.subject, {})
    assert verdict.state == "stale"
    assert "the work computes something else now: numbers (by 0.0005 of its size)" in verdict.reason
    assert verdict.reason.endswith("rewritten since: pkg.core:work")


def test_going_back_makes_it_fit_again(world: World) -> None:
    path = world.make()
    world.write("def work():\n    return 3\n")
    world.value = 1.5
    assert not world.code.judge(path, world.subject, {}).fits
    world.write("def work():\n    return 1\n")
    assert world.code.judge(path, world.subject, {}).state == "same"


def test_a_trace_that_cannot_be_taken_leaves_the_source_to_decide(world: World) -> None:
    world.value = float("nan")
    path = world.make()
    assert world.code.judge(path, world.subject, {}).state == "same"
    world.write("def work():\n    return 2 - 1\n")
    assert "it kept no trace" in world.code.judge(path, world.subject, {}).reason


def test_code_that_broke_is_stale_with_its_error(world: World) -> None:
    path = world.make()
    world.write("def work():\n    return None\n")
    world.value = float("nan")
    assert "RuntimeError: broken" in world.code.judge(path, world.subject, {}).reason


def test_processes_that_work_together_take_no_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    assert world.code.trace(world.subject) == (None, "it is not taken by processes that work together")
    assert world.taken == 0
    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    assert world.code.trace(world.subject)[0] is not None  # before they joined, it is at hand
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    assert world.code.trace(world.subject)[0] is not None


def test_what_was_made_from_other_things_is_stale(world: World) -> None:
    path = world.make(inputs={"tower": "tiny-1"})
    verdict = world.code.judge(path, world.subject, {"tower": "tiny-1.2"})
    assert verdict == type(verdict)("stale", "made from other things: tower tiny-1 then, tiny-1.2 now")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"made": null, "taken": []}', '{"made": {}, "taken": []}'])
def test_without_a_readable_record_nothing_is_judged(world: World, content: str | None) -> None:
    path = world.folder / "old" / "code.json"
    path.parent.mkdir()
    if content is not None:
        path.write_text(content)
    assert world.code.judge(path, world.subject, {}).reason == MADE_BEFORE


def test_what_was_adopted_is_used_with_its_reason_until_the_numbers_change(world: World) -> None:
    path = world.make()
    world.write("def work():\n    return 3\n")
    world.value = 1.5
    world.code.adopt(path, world.subject, {}, "the difference is known")
    verdict = world.code.judge(path, world.subject, {})
    assert verdict.state == "adopted"
    assert verdict.reason.startswith("the difference is known (20")
    world.write("def work():\n    return 1 + 2\n")
    assert world.code.judge(path, world.subject, {}).state == "adopted"  # agrees with what was adopted
    world.value = 9.0
    world.write("def work():\n    return 4\n")
    assert world.code.judge(path, world.subject, {}).state == "stale"


def test_a_thing_gets_a_new_trace_when_traces_are_taken_otherwise(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.make()
    monkeypatch.setattr(Code, "_tracing", lambda _: "another way")
    world.value = 7.0  # the same work, measured otherwise
    assert world.code.judge(path, world.subject, {}).state == "same"
    world.write("def work():\n    return 2 - 1\n")
    assert world.code.judge(path, world.subject, {}).state == "agrees"
    world.write("def work():\n    return 3\n")
    world.value = 1.0  # what the old way gave
    assert world.code.judge(path, world.subject, {}).state == "stale"


def test_a_token_stays_while_the_numbers_do(world: World) -> None:
    first = world.code.token(world.subject)
    world.write("def work():\n    return 2 - 1\n")
    assert world.code.token(world.subject) == first
    world.write("def work():\n    return 3\n")
    world.value = 1.5
    assert world.code.token(world.subject) != first
    world.write("def work():\n    return 1\n")
    world.value = 1.0
    assert world.code.token(world.subject) == first


def test_whoever_only_looks_makes_no_folder(world: World, tmp_path: Path) -> None:
    code = Code(tmp_path / "nowhere" / "cache" / "code", world.code._sources)
    code.token(world.subject)
    assert not (tmp_path / "nowhere").exists()


def place(world: World, base: Path, before: tuple[Path, ...] = ()) -> Place:
    there: Callable[[Path], bool] = lambda p: p.is_dir()  # noqa: E731
    return settle(base, there, lambda p: world.code.judge(p / "code.json", world.subject, {}), before)


def test_stale_things_stay_and_the_next_gets_a_folder_of_its_own(world: World) -> None:
    base = world.folder / "made"
    assert place(world, base) == Place(base)
    world.make("made")
    assert place(world, base).path == base
    world.write("def work():\n    return 3\n")
    world.value = 1.5
    found = place(world, base)
    assert found.path == world.folder / "made.2"
    assert found.was == "made"
    assert found.stale is not None
    world.make("made.2")
    assert place(world, base).path == world.folder / "made.2"
    world.write("def work():\n    return 1\n")
    world.value = 1.0
    assert place(world, base).path == base  # the first fits again


def test_an_adopted_thing_is_meant_whatever_was_made_since(world: World) -> None:
    base = world.folder / "made"
    world.make("made")
    world.write("def work():\n    return 3\n")
    world.value = 1.5
    world.make("made.2")
    world.code.adopt(base / "code.json", world.subject, {}, "")
    found = place(world, base)
    assert (found.path, found.adopted[:18]) == (base, "taken over by hand")


def test_things_of_the_past_are_named_and_not_used(world: World) -> None:
    old = world.folder / "made-0123"
    old.mkdir()
    found = place(world, world.folder / "made", (old,))
    assert found == Place(world.folder / "made", None, MADE_BEFORE, "made-0123")


@pytest.mark.parametrize(
    ("before", "now", "parts"),
    [
        ({"a": [1.0, -2.0]}, {"a": [1.0, -2.0 + 1e-10]}, 0),
        ({"a": [1.0, -2.0]}, {"a": [1.0, -2.0 + 1e-8]}, 1),
        ({"a": [0.0, 0.0]}, {"a": [0.0, 1e-30]}, 1),
        ({"a": [1.0, float("nan")]}, {"a": [1.0, float("nan")]}, 0),
        ({"a": [1.0, float("nan")]}, {"a": [1.0, 2.0]}, 1),
        ({"a": [1.0]}, {"a": [1.0], "b": [3.0]}, 0),
        ({"a": [1.0], "b": [3.0]}, {"a": [1.0]}, 1),
        ({"a": [1.0]}, {"a": [1.0, 1.0]}, 1),
        ({"a": [1e6, 0, 0, 0, 1e-3, 0, 0, 0]}, {"a": [1e6, 0, 0, 0, 1e-3 + 1e-7, 0, 0, 0]}, 1),
    ],
)
def test_traces_are_compared_relative_to_the_size_of_a_part(before: Trace, now: Trace, parts: int) -> None:
    assert len(difference(before, now)) == parts


def test_a_summary_sees_every_entry_and_its_place() -> None:
    import numpy as np

    values = np.arange(50, dtype=float)
    swapped = values.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert summary(values)[:2] == summary(swapped)[:2]
    assert summary(values) != summary(swapped)
    assert exact(values.astype(int)) != exact(swapped.astype(int))
