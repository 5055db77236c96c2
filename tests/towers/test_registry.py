"""A kind of tower is found by its name, and another package brings one as docs/adding-a-tower.md says."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import repro
from repro.cli.main import main
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.errors import UsageError
from repro.paths import CONFIGS
from repro.runs.plan import make_plan
from repro.runs.status import DONE, MISSING, plan_status
from repro.towers.registry import get_kind, tower_kinds

PAGE = Path(repro.__file__).parents[1] / "docs" / "adding-a-tower.md"
MODULE, ANNOUNCED, PROFILE = (
    re.sub(r"^   ", "", text, flags=re.MULTILINE)
    for text in re.findall(r"^   ```\w+\n(.*?)^   ```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)
SPEC = TowerSpec("tiny", None, resolution=48, seed=9)


def install(folder: Path) -> None:
    """Lay the page's package into ``folder`` as an installer does: module, weights, entry point."""
    (folder / "my_towers.py").write_text(MODULE, encoding="utf-8")
    torch.save(build_tower(SPEC).open_clip_state(), folder / "my_towers.pth")
    data = folder / "my_towers-1.0.dist-info"
    data.mkdir()
    (data / "METADATA").write_text("Metadata-Version: 2.1\nName: my-towers\nVersion: 1.0\n", encoding="utf-8")
    points = tomllib.loads(ANNOUNCED)["project"]["entry-points"]
    lines = [line for group, own in points.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in own.items()))]
    (data / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of the page, installed for one test."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install(folder)
    monkeypatch.syspath_prepend(folder)
    tower_kinds.cache_clear()
    yield folder
    sys.modules.pop("my_towers", None)
    tower_kinds.cache_clear()


def test_every_module_of_the_package_that_holds_a_kind_is_found_by_name() -> None:
    assert {"aligned", "backbone", "checkpoint", "open_clip", "random", "tiny"} <= tower_kinds().keys()
    assert all(get_kind(name).name == name for name in tower_kinds())


@pytest.mark.follows("repro.towers.registry:get_kind")
def test_a_kind_is_known_once_its_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="unknown kind of tower") as caught:
        get_kind("shipped")
    assert caught.value.mend == "install the package it comes with"
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tower_kinds.cache_clear()
    try:
        assert get_kind("shipped").name == "shipped"
    finally:
        sys.modules.pop("my_towers", None)
        monkeypatch.undo()
        tower_kinds.cache_clear()


def test_an_entry_point_that_is_no_kind_is_refused(package: Path) -> None:
    (package / "my_towers.py").write_text("KIND = 3\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"my_towers:KIND of group repro\.towers is not a TowerKind"):
        tower_kinds()


@pytest.mark.parametrize("kind", ["backbone", "checkpoint", "shiped"])
def test_a_profile_names_a_kind_that_may_stand_in_one(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(f'_base_ = ["{CONFIGS}/profiles/smoke.py"]\ntowers = dict(base=dict(kind="{kind}"))\n')
    with pytest.raises(UsageError) as caught:
        load_profile(str(file))
    assert "aligned, open_clip, random, tiny" in str(caught.value.found)


@pytest.mark.usefixtures("package")
def test_a_table_is_evaluated_on_a_tower_of_another_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, runs = tmp_path / "own.py", tmp_path / "runs"
    file.write_text(f'_base_ = ["{CONFIGS}/profiles/smoke.py"]\nname = "own"\n{PROFILE}', encoding="utf-8")
    chosen = {"methods": ["clip"], "benchmarks": ["PAS-20"]}
    plan = make_plan(load_table("table1"), load_profile(str(file)), runs, **chosen)
    (state,) = plan_status(plan)
    assert (state.status, plan.runs[0].tower.kind, plan.runs[0].tower.title) == (MISSING, "shipped", "my CLIP")
    found = build_tower(plan.assets.ensure_tower("base")).open_clip_state()
    assert all(torch.equal(found[name], tensor) for name, tensor in build_tower(SPEC).open_clip_state().items())

    words = ["run", "table1", "--profile", str(file), "--runs", str(runs), "--results", str(tmp_path / "results")]
    narrow = ["--methods", "clip", "--benchmarks", "PAS-20", "--device", "cpu", "--json"]
    assert main([*words, *narrow]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["status"], row["tower"], row["run"]) == ("done", "my CLIP", plan.runs[0].id)
    plan = make_plan(load_table("table1"), load_profile(str(file)), runs, **chosen)
    assert [cell.status for cell in plan_status(plan)] == [DONE]
