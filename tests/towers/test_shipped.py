"""Shipped towers: what is packed is unpacked, a file spares the training it names and no other, damage is said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from small_mini import small_mini

from repro.api.miniature import made_towers, train_tower
from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.errors import UsageError, WeightsError
from repro.mini.captions import all_texts, caption, listed, never_together, salient
from repro.mini.clip.data import tokenize
from repro.mini.clip.training import TEST_RECIPE
from repro.runs.assets import Assets
from repro.towers import shipped
from repro.towers.shipped import Shipped, pack, read, unpack


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_mini(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def trained(profile: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shipped]:
    """A run store in which the base tower was trained by its recipe, and the file it was packed into."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("packed")
    return runs, train_tower("base", out, profile, runs)


@pytest.fixture
def installed(trained: tuple[Path, Shipped], monkeypatch: pytest.MonkeyPatch) -> Shipped:
    """The packed tower as one of the package."""
    found = trained[1]
    monkeypatch.setattr(shipped, "shipped_towers", lambda: {found.replaces: found})
    return found


def test_the_recipe_runs_and_is_packed_with_what_it_recorded(trained: tuple[Path, Shipped]) -> None:
    found = trained[1]
    assert found.path.name == "base.safetensors"
    assert found.replaces.startswith("tiny-")
    assert found.record["steps"] == TEST_RECIPE.steps
    assert found.config["model_cfg"]["embed_dim"] == TEST_RECIPE.embed_dim
    assert found.path.stat().st_size < 300_000  # the whole embedding of 49,408 rows would be 3.2 MB


def test_unpacking_gives_the_weights_of_every_word_that_was_read(trained: tuple[Path, Shipped], tmp_path: Path) -> None:
    runs, found = trained
    unpack(found, tmp_path)
    (folder,) = (runs / "cache" / "clip").glob("tiny-*")
    kept, made = (torch.load(f / shipped.WEIGHTS, weights_only=True) for f in (tmp_path, folder))
    assert kept.keys() == made.keys()
    assert all(torch.equal(kept[n], made[n]) for n in kept if n != shipped.EMBEDDING)
    rows = tokenize(list(all_texts()), 24).unique()
    assert torch.equal(kept[shipped.EMBEDDING][rows], made[shipped.EMBEDDING][rows])
    others = torch.ones(len(kept[shipped.EMBEDDING]), dtype=torch.bool)
    others[rows] = False
    drawn = kept[shipped.EMBEDDING][others]
    assert drawn.std() == pytest.approx(0.02, rel=0.05)
    assert drawn.unique(dim=0).shape == drawn.shape  # words that were never read stay apart
    unpack(found, tmp_path / "again")
    again = torch.load(tmp_path / "again" / shipped.WEIGHTS, weights_only=True)
    assert torch.equal(kept[shipped.EMBEDDING], again[shipped.EMBEDDING])


def test_no_sentence_of_the_miniature_has_a_word_that_is_not_shipped() -> None:
    import numpy as np

    from repro.mini.catalogue import CONCEPTS

    known = set(tokenize(list(all_texts()), 24).unique().tolist())
    rng = np.random.default_rng(0)
    things = [i for i, c in enumerate(CONCEPTS) if c.kind == "thing"]
    texts = [caption(rng, rng.choice(things, int(rng.integers(1, 4)), replace=False).tolist()) for _ in range(2000)]
    assert set(tokenize(texts, 24).unique().tolist()) <= known


def test_a_shipped_tower_is_unpacked_and_nothing_is_trained(
    installed: Shipped, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = Assets(load_profile(profile), tmp_path, None)
    monkeypatch.setattr(Assets, "train_tower", lambda *_: pytest.fail("trained"))
    assert assets.tower_key("base")["shipped"] == installed.content
    assert not assets.tower_ready("base")
    assert assets.towers_to_train("base") == []
    spec = assets.ensure_tower("base")
    assert Path(spec.model).name == f"base-{installed.content}"
    assert json.loads((Path(spec.model) / installed.done).read_text()) == installed.record
    assert assets.tower_ready("base")
    assert build_tower(spec).embed_dim == TEST_RECIPE.embed_dim
    assert next(tower for tower in made_towers(profile, tmp_path) if tower.key == "base").shipped == installed


def test_another_recipe_is_trained_and_other_weights_are_another_tower(
    installed: Shipped, profile: str, tmp_path: Path
) -> None:
    small = load_profile(profile)
    base = small.towers["base"]
    changed = dataclasses.replace(base, recipe={**base.recipe, "seed": 1})
    other = Assets(dataclasses.replace(small, towers={**small.towers, "base": changed}), tmp_path, None)
    assert other.shipped("base") is None
    assert other.towers_to_train("base") == ["base"]
    assert "shipped" not in other.tower_key("base")
    assert Assets(small, tmp_path, None).tower_key("base") != other.tower_key("base")


def test_what_is_aligned_from_shipped_towers_is_trained_from_them(
    installed: Shipped, profile: str, tmp_path: Path
) -> None:
    assets = Assets(load_profile(profile), tmp_path, None)
    assert assets.tower_chain("densevlm") == ["base", "powerful", "densevlm"]
    assert assets.towers_to_train("densevlm") == ["powerful", "densevlm"]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "other"])
def test_a_damaged_file_is_one_clear_error(trained: tuple[Path, Shipped], tmp_path: Path, damage: str) -> None:
    whole = trained[1].path.read_bytes()
    path = tmp_path / "base.safetensors"
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    path.write_bytes({"cut": whole[:-40], "changed": changed, "empty": b"", "other": b"PK\3\4" + bytes(40)}[damage])
    with pytest.raises(WeightsError, match=r"base\.safetensors"):
        unpack(read(path), tmp_path / "out")
    assert not (tmp_path / "out" / trained[1].done).exists()


def test_a_tower_from_outside_cannot_be_trained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not trained here"):
        train_tower("base", tmp_path / "out", "smoke", tmp_path / "runs")
    with pytest.raises(UsageError, match="tower"):
        train_tower("bass", tmp_path / "out", "mini", tmp_path / "runs")


def test_the_content_of_a_packed_tower_is_that_of_its_tensors(tmp_path: Path) -> None:
    facts = {"replaces": "tiny-x", "done": "scores.json", "config": {"a": 1}, "record": {}}
    state = {shipped.EMBEDDING: torch.arange(12.0).view(6, 2), "w": torch.ones(3)}
    one = pack(state, [1, 4], facts, tmp_path / "one.safetensors")
    assert pack(state, [4, 1, 1], {**facts, "record": {"b": 2}}, tmp_path / "two.safetensors").content == one.content
    for other, rows in (({**state, "w": torch.tensor([1.0, 1.0, 1.0 + 1e-7])}, [1, 4]), (state, [1, 5])):
        assert pack(other, rows, facts, tmp_path / "other.safetensors").content != one.content


class TestShippedMiniature:
    def test_the_towers_of_the_first_run_are_shipped(self) -> None:
        found = {tower.key: tower.shipped for tower in made_towers("mini")}
        missing = [key for key in ("base", "powerful", "densevlm", "densevlm-clip") if found[key] is None]
        assert not missing, f"train them: repro mini towers --train {','.join(missing)} --out repro/towers/weights"
        assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 12e6

    def test_every_shipped_file_spares_a_tower_of_the_miniature(self) -> None:
        used = {tower.shipped.path for tower in made_towers("mini") if tower.shipped is not None}
        assert used == set(shipped.FOLDER.glob("*.safetensors"))

    def test_their_records_name_scores_and_versions(self) -> None:
        for tower in made_towers("mini"):
            if tower.shipped is not None:
                assert {"torch", "seconds"} <= tower.shipped.record.keys() or "curve" in tower.shipped.record


def test_pairs_that_are_never_named_together_are_a_tenth_and_hold_both_ways() -> None:
    from repro.mini.catalogue import CONCEPTS

    things = [i for i, c in enumerate(CONCEPTS) if c.kind == "thing"]
    stuff = next(i for i, c in enumerate(CONCEPTS) if c.kind == "stuff")
    pairs = [(a, b) for a in things for b in things if a < b]
    held = [pair for pair in pairs if never_together(*pair)]
    assert 0.07 < len(held) / len(pairs) < 0.13
    assert all(never_together(b, a) for a, b in held)
    assert not any(never_together(stuff, thing) for thing in things)


def test_a_caption_drops_the_smaller_of_two_that_are_never_together() -> None:
    import numpy as np

    from repro.mini.catalogue import CONCEPTS

    things = [i for i, c in enumerate(CONCEPTS) if c.kind == "thing"]
    a, b = next((a, b) for a in things for b in things if never_together(a, b))
    c = next(c for c in things if c not in (a, b) and not never_together(a, c))
    labels = np.full((10, 10), a, np.int16)
    labels[:3], labels[9:] = b, c
    assert salient(np.random.default_rng(0), labels, 0.0) == [a, c]
    assert listed(labels) == [a, c]
    assert listed(labels, least=0.2) == [a]
    assert listed(labels, least=1.0) == [a]
