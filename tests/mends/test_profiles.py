"""Profiles, tables, data roots and panoptic sets: the ways out of what cannot be planned."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from talk import Talk, options, ours, way

from repro.configuration.files import read_config
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import all_sets
from repro.paths import CONFIGS
from repro.requests import RunRequest
from repro.runs.assets import Assets

SMOKE = load_profile("smoke")
RUN = ["run", "table1", "--dry-run", "--methods", "clip"]


def own(text: str) -> Path:
    """A profile of the user's, made from smoke."""
    path = Path("own.py")
    path.write_text(f"_base_ = [{str(CONFIGS.resolve() / 'profiles/smoke.py')!r}]\n{text}\n")
    load_profile.cache_clear()
    return path


PROFILES = [  # place, what is wrong in it, what is right
    way("repro.configuration.profiles:load_profile#2", "protocol = dict(windows=3)", "protocol = dict(window=48)"),
    way("repro.configuration.files:_unusable", "title = open('x')", "title = 'x'"),
    way("repro.measuring.regions:RegionSettings.of", "regions = dict(size=4)", "regions = dict(image_size=48)"),
    way("repro.mini.synth:MiniSizes.__post_init__", "data = dict(sizes=dict(ade=0))",
        "data = dict(sizes=dict(train=1, ade=1, context=1, voc=1))"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "right"), PROFILES)
def test_a_profile_that_is_corrected_as_the_mend_says_is_planned(talk: Talk, wrong: str, right: str) -> None:
    words = RUN
    if "regions" in wrong:
        words = ["run", "densevlm-table1", "--dry-run"]
    elif "sizes" in wrong:
        words = ["data", "synth", "--no-prepare", "--out", "data"]
    mend = talk.refused(*words, "--profile", own(wrong))
    if "repro describe" in mend:
        assert "window" in talk.succeeds(*ours(mend))
    if "configs/" in mend:
        assert (CONFIGS / "profiles" / "smoke.py").is_file()
    talk.succeeds(*words, "--profile", own(right))


@pytest.mark.follows("repro.configuration.files:read_config")
def test_a_configuration_that_is_corrected_is_read(talk: Talk) -> None:
    Path("x.py").write_text("a = b\n")
    talk.refused_by(lambda: read_config(Path("x.py")))
    Path("x.py").write_text("a = 1\n")
    assert read_config(Path("x.py"))["a"] == 1


@pytest.mark.follows("repro.configuration.files:_place")
def test_a_profile_that_builds_on_none_names_one_there_is(talk: Talk) -> None:
    Path("x.py").write_text("_base_ = 'minni'\n")
    assert "name one of them" in talk.refused_by(lambda: read_config(Path("x.py")))
    Path("x.py").write_text("_base_ = 'mini'\n")
    assert read_config(Path("x.py"))["name"] == "mini"


@pytest.mark.follows("repro.configuration.changes:changed")
def test_a_value_that_is_not_in_a_profile_leads_to_those_that_are(talk: Talk) -> None:
    words = ["run", "table1", "--profile", "smoke", "--dry-run", "--set"]
    talk.refused(*words, "train.lrr=1e-3")
    talk.follow()
    assert "lr: 0.004" in talk.out
    talk.succeeds(*words, "train.lr=1e-3")


@pytest.mark.follows("repro.configuration.profiles:Profile.with_training")
def test_a_value_that_is_not_in_the_schedule_leads_to_those_that_are(talk: Talk) -> None:
    talk.refused_by(lambda: RunRequest(method="disa", profile="smoke", training={"warmup": 5}).run())
    assert "did you mean amp or warmup_iterations" in talk.message
    talk.follow()
    assert "warmup_iterations" in talk.out


TABLE = 'name = "own"\ntitle = "t"\ncaption = "c"\nbenchmarks = ["PAS-20"]\nmetric = "miou_gt"\n'
ROW = 'dict(id="a", title="a", method="clip", tower="base", options=dict())'
TABLES = [
    way("repro.configuration.tables:load_table#2", f"{TABLE}rows = [{ROW}]\ncolour = 1\n"),
    way("repro.configuration.tables:_check_ids", f"{TABLE}rows = [{ROW}, {ROW}]\n"),
]


@pytest.mark.parametrize("wrong", TABLES)
def test_a_table_that_is_corrected_is_planned(
    talk: Talk, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.configuration import tables

    (tmp_path / "tables").mkdir()
    monkeypatch.setattr(tables, "CONFIGS", tmp_path)
    tables.load_table.cache_clear()
    try:
        (tmp_path / "tables/own.py").write_text(wrong)
        talk.refused_by(lambda: tables.load_table("own"))
        (tmp_path / "tables/own.py").write_text(f"{TABLE}rows = [{ROW}]\n")
        assert [r.id for r in tables.load_table("own").rows] == ["a"]
    finally:
        tables.load_table.cache_clear()


@pytest.mark.follows("repro.runs.grid:only")
def test_the_command_that_lists_the_runs_names_one_for_only(talk: Talk) -> None:
    words = ["run", "table1", "--profile", "smoke", "--methods", "clip", "--dry-run"]
    assert "give the command again" in talk.refused(*words, "--only", "clip-older")
    talk.succeeds(*words, "--json")
    run = json.loads(talk.out)[0]["run"]
    talk.succeeds(*words, "--only", run)


@pytest.mark.follows("repro.configuration.backbone:swap_table")
def test_the_tower_of_a_row_is_named(talk: Talk) -> None:
    words = ["run", "densevlm-table7", "--profile", "smoke", "--dry-run", "--dense-residual", "cls", "--tower"]
    mend = talk.refused(*words, "powerful")
    talk.succeeds(*words[:-1], *options(mend, KEY="base"))


def with_recipe(**changes: Any) -> Any:
    """The smoke profile with another recipe of its aligned tower; None takes a key away."""
    plan = SMOKE.towers["densevlm"]
    recipe = {k: v for k, v in {**plan.recipe, **changes}.items() if v is not None}
    return dataclasses.replace(SMOKE, towers={**SMOKE.towers, "densevlm": dataclasses.replace(plan, recipe=recipe)})


RECIPES = [
    way("repro.towers.aligned:read_recipe#1", {"base": None}),
    way("repro.towers.aligned:read_recipe#2", {"powerful": "densevlm"}),
    way("repro.methods.alignments:AlignmentEntry.make_options#1", {"preset": "papr"}),
    way("repro.methods.alignments:AlignmentEntry.make_options#2", {"treshold": 0.5}),
    way("repro.methods.alignments:get_alignment", {"alignment": "densvlm"}),
    way("baselines.densevlm.options:DenseVLMOptions.__post_init__", {"teacher": "labels", "categories": "coco133"}),
]


@pytest.mark.parametrize("changes", RECIPES)
def test_a_recipe_that_is_corrected_is_read(talk: Talk, changes: dict[str, Any]) -> None:
    from repro.towers.aligned import read_recipe

    mend = talk.refused_by(lambda: read_recipe(with_recipe(**changes), "densevlm"))
    assert "the recipe" in mend
    read_recipe(with_recipe(), "densevlm")


# -- data --------------------------------------------------------------------------------------------------------------
@pytest.mark.follows(
    "repro.runs.data:Data.missing_data#1",
    "repro.runs.data:Data.missing_data#2",
    "repro.runs.data:Data.ensure_data",
)
def test_data_that_are_missing_are_named_fetched_and_prepared(talk: Talk, drawn: Path, tmp_path: Path) -> None:
    paper = load_profile("paper")
    benchmark = all_sets()["PAS-20"]
    (first,) = Assets(paper, Path("runs"), None).missing_data(benchmark)
    assert first.mend.split()[0] == "--data-root"
    mend = talk.refused_by(lambda: Assets(paper, Path("runs"), None).ensure_data())
    assert ours(mend, DIR=tmp_path)[:3] == ["run", "table1", "--profile"]
    assert ours(mend, DIR=tmp_path)[-1] == "--dry-run"
    root = tmp_path / "my data"
    (second,) = Assets(paper, Path("runs"), root).missing_data(benchmark)
    assert "unpack" in second.mend
    shutil.copytree(drawn, root)
    assets = Assets(paper, Path("runs"), root)
    (third,) = assets.missing_data(benchmark)
    talk.succeeds(*ours(third.mend))
    assert assets.missing_data(benchmark) == []
    assert assets.ensure_data() == root


@pytest.mark.follows("repro.measuring.regions:RegionCell.missing#1",
                     "repro.measuring.regions:RegionCell.missing#2")  # fmt: skip
def test_a_panoptic_set_that_is_missing_is_fetched(talk: Talk, tmp_path: Path) -> None:
    from repro.datasets.panoptic import PANOPTIC
    from repro.measuring.regions import RegionCell

    source = next(iter(PANOPTIC.values()))

    def cell(root: Path | None) -> Any:
        assets = SimpleNamespace(missing_tower=lambda _: [], data_root=root)
        run = SimpleNamespace(
            row=SimpleNamespace(tower="base"), profile=SimpleNamespace(synthetic=False), assets=assets
        )
        return RegionCell(run, source)  # type: ignore[arg-type]

    assert [m.mend for m in cell(None).missing] == ["--data-root DIR"]
    wanted = cell(tmp_path).missing
    assert wanted
    assert all(m.mend == source.instructions for m in wanted)
    for path in source.paths(tmp_path):
        path.mkdir(parents=True)
    assert cell(tmp_path).missing == []


@pytest.mark.follows("repro.api.sets:open_sets", "repro.api.running:_method", "repro.runs.external:_seen_from")
def test_an_evaluation_on_own_data_is_prepared_for_and_trained_by_the_commands(
    talk: Talk, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "my data"
    root.mkdir()
    words = ["eval", "clip", "--profile", "smoke", "--device", "cpu", "--data-root", root, "--runs", "my runs"]
    mend = talk.refused(*words)
    assert ours(mend)[-1] == str(root)
    shutil.copytree(drawn, root, dirs_exist_ok=True)
    (listing,) = root.glob("VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt")
    whole = listing.read_text()
    listing.write_text("a/b\n")
    seen = talk.refused(*words, "--benchmarks", "PAS-20")
    assert "unpack" in seen
    listing.write_text(whole)
    talk.succeeds(*ours(mend))
    talk.succeeds(*words, "--benchmarks", "PAS-20")
    real = type(SMOKE).synthetic
    monkeypatch.setattr(type(SMOKE), "synthetic", False)
    mend = talk.refused("eval", "catseg", *words[2:], "--benchmarks", "PAS-20", "--seed", "4")
    again = ours(mend.partition("or train: ")[2])
    assert again[:2] == ["train", "catseg"]
    assert again[again.index("--seed") + 1] == "4"
    assert again[again.index("--data-root") + 1] == str(root)
    assert again[again.index("--runs") + 1] == "my runs"
    monkeypatch.setattr(type(SMOKE), "synthetic", real)


def panoptic(folder: Path) -> Path:
    """A panoptic JSON file of one image."""
    note = {"image_id": 1, "file_name": "a.png",
            "segments_info": [{"id": 5, "category_id": 1, "bbox": [0, 0, 2, 2]}]}  # fmt: skip
    document = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [note],
                "categories": [{"id": 1, "name": "cat", "isthing": 1}]}  # fmt: skip
    path = folder / "panoptic_val2017.json"
    path.write_text(json.dumps(document))
    return path


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return damage


PANOPTIC_FILES = [
    way("repro.datasets.panoptic:read_panoptic#1", lambda p: p.write_text("{")),
    way("repro.datasets.panoptic:read_panoptic#2", edited(lambda d: d["images"][0].update(file_name="../a.jpg"))),
    way("repro.datasets.panoptic:read_panoptic#3", edited(lambda d: d["annotations"][0].update(file_name="a/b"))),
    way("repro.datasets.panoptic:read_panoptic#4", edited(lambda d: d.pop("categories"))),
]


@pytest.mark.parametrize("damage", PANOPTIC_FILES)
def test_the_panoptic_file_that_the_mend_names_is_read(
    talk: Talk, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    from repro.datasets.panoptic import read_panoptic

    damage(panoptic(tmp_path))
    mend = talk.refused_by(lambda: read_panoptic(tmp_path / "panoptic_val2017.json", tmp_path, tmp_path))
    named = next(w.rstrip(",") for w in mend.split() if w.startswith("panoptic"))
    assert len(read_panoptic(panoptic(tmp_path).with_name(named), tmp_path, tmp_path).images) == 1


def scenes(**values: Any) -> Callable[[], Any]:
    from repro.mini.scenes import render_scene

    return lambda: render_scene(np.random.default_rng(0), 32, 32, **values)


def loaded(module: str, name: str, value: str) -> Callable[[], Any]:
    import importlib

    return lambda: getattr(importlib.import_module(module), name)(value)


NAMES = [  # place, a call with a wrong name, the same with a right one
    way("repro.datasets.vocabulary:load_vocabulary", loaded("repro.datasets.vocabulary", "load_vocabulary", "voc"),
        loaded("repro.datasets.vocabulary", "load_vocabulary", "pc59")),
    way("repro.datasets.panoptic:get_panoptic", loaded("repro.datasets.panoptic", "get_panoptic", "coco"),
        loaded("repro.datasets.panoptic", "get_panoptic", "coco-panoptic")),
    way("baselines.densevlm.categories:load_categories",
        loaded("baselines.densevlm.categories", "load_categories", "coco"),
        loaded("baselines.densevlm.categories", "load_categories", "coco133")),
    way("repro.mini.scenes:render_scene#1", scenes(setting="nowhere"), scenes()),
    way("repro.mini.scenes:render_scene#2", scenes(exclude=["unicorns"]), scenes()),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "right"), NAMES)
def test_a_name_of_those_listed_is_known(talk: Talk, wrong: Callable[[], Any], right: Callable[[], Any]) -> None:
    talk.refused_by(wrong)
    right()
