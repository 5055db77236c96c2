"""The checks of towers notice a kind that breaks a promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repro.clip.spec import TowerSpec
from repro.mends import Missing
from repro.testing import TowerTester
from repro.towers.kind import Tower, TowerKind, TowerPlan
from repro.towers.registry import tower_kinds

SPEC = TowerSpec("tiny", None, resolution=48)


class Sound(TowerKind):
    """A tower whose seed is in its recipe; "absent" in place of a number must be fetched."""

    name = "sound"

    def identity(self, tower: Tower) -> dict[str, Any]:
        return {"seed": tower.plan.recipe["seed"]}

    def missing(self, tower: Tower) -> list[Missing]:
        return [Missing("a seed", "throw dice")] if tower.plan.recipe["seed"] == "absent" else []

    def spec(self, tower: Tower) -> TowerSpec:
        return dataclasses.replace(tower.plan.spec, seed=tower.plan.recipe["seed"])


def nothing(self: TowerKind, tower: Tower) -> Any:
    return {}


def place(self: TowerKind, tower: Tower) -> Any:
    return {"seed": tower.plan.recipe["seed"], "place": str(tower.store.cache)}


def words(self: TowerKind, tower: Tower) -> Any:
    return [Missing("a seed", "")]


def unready(self: TowerKind, tower: Tower) -> Any:
    return False


def leave(self: TowerKind, *_: Any) -> None:
    return None


def itself(self: TowerKind, tower: Tower) -> Any:
    return (tower.key,)


def smaller(self: TowerKind, tower: Tower) -> Any:
    return dataclasses.replace(tower.plan.spec, resolution=32)


def larger(self: TowerKind, tower: Tower) -> Any:
    return dataclasses.replace(tower.plan.spec, model="tiny-eva", weights=None)


BROKEN: list[tuple[dict[str, Callable[..., Any]], str]] = [
    ({"identity": nothing}, "test_other_weights_have_another_identity"),
    ({"identity": place}, "test_identity_is_json_and_the_same_in_every_store"),
    ({"missing": nothing}, "test_what_is_missing_is_said_with_a_way_out"),
    ({"missing": words}, "test_what_is_missing_is_said_with_a_way_out"),
    ({"ready": unready, "make": leave}, "test_what_was_made_ready_is_found_again"),
    ({"parts": itself}, "test_parts_are_towers_of_the_profile"),
    ({"spec": smaller}, "test_dense_and_text_features_have_the_shapes_promised"),
    ({"untrained": larger}, "test_the_untrained_tower_has_the_same_shapes"),
]


def failures(kind: TowerKind, folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The checks that ``kind`` fails."""
    monkeypatch.setitem(tower_kinds(), "sound", kind)

    class Tester(TowerTester):
        plan, other, absent = (TowerPlan("sound", "sound", SPEC, {"seed": s}) for s in (3, 4, "absent"))

    failed = set()
    for number, name in enumerate(n for n in dir(Tester) if n.startswith("test_")):
        made, place = Tester.store(folder / f"made{number}"), folder / f"empty{number}"
        made.ensure_tower("tested")
        place.mkdir()
        given = {"made": made, "tmp_path": place}
        check = getattr(Tester(), name)
        try:
            check(**{k: given[k] for k in check.__annotations__ if k in given})
        except (AssertionError, RecursionError):
            failed.add(name)
    return failed


def test_a_sound_kind_passes_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures(Sound(), tmp_path, monkeypatch) == set()


@pytest.mark.parametrize(("methods", "noticed"), BROKEN, ids=[f"{next(iter(m))}: {n}" for m, n in BROKEN])
def test_a_broken_promise_is_noticed(
    methods: dict[str, Callable[..., Any]], noticed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert noticed in failures(type("Broken", (Sound,), methods)(), tmp_path, monkeypatch)
