"""Checks that a tower of any kind must pass."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.hashing import plain
from repro.runs.assets import Assets
from repro.towers.kind import TowerPlan
from repro.towers.registry import tower_folders

NAMES = ("sky", "tall grass", "dog", "airplane", "traffic light")


class TowerTester:
    """Checks that a tower of any kind must pass: subclass as ``class TestX(TowerTester)`` with ``plan`` and ``other``.

    ``plan`` is a tower that can be made ready in seconds, ``other`` one whose weights differ from it. ``absent`` is one
    of which something must be fetched first; None where nothing can be missing. They are put into the profile
    ``profile``, so that their recipes may name its towers.
    """

    __test__ = False
    plan: ClassVar[TowerPlan]
    other: ClassVar[TowerPlan]
    absent: ClassVar[TowerPlan | None] = None
    profile: ClassVar[str] = "smoke"

    def __init_subclass__(cls) -> None:
        cls.__test__ = True

    @classmethod
    def store(cls, folder: Path, plan: TowerPlan | None = None) -> Assets:
        """Return a store below ``folder`` with ``plan`` (default: the one that is tested) under the key ``tested``."""
        profile = load_profile(cls.profile)
        towers = {**profile.towers, "tested": plan or cls.plan}
        return Assets(dataclasses.replace(profile, towers=towers), folder, None)

    @pytest.fixture(scope="class")
    def made(self, tmp_path_factory: pytest.TempPathFactory) -> Assets:
        """Return a store in which the tower was made ready."""
        store = self.store(tmp_path_factory.mktemp("made"))
        store.ensure_tower("tested")
        return store

    def test_identity_is_json_and_the_same_in_every_store(self, made: Assets, tmp_path: Path) -> None:
        """Check that no place enters the identity, and that making the tower does not change it."""
        found = made.tower_key("tested")
        assert plain(found) == plain(self.store(tmp_path).tower_key("tested"))
        assert not any(str(folder) in json.dumps(found) for folder in (made.store.root, tmp_path))
        assert not list(tmp_path.iterdir())  # looking makes no folder

    def test_other_weights_have_another_identity(self, tmp_path: Path) -> None:
        """Check that what decides the weights enters the identity."""
        assert self.store(tmp_path).tower_key("tested") != self.store(tmp_path, self.other).tower_key("tested")

    def test_what_is_missing_is_said_with_a_way_out(self, tmp_path: Path) -> None:
        """Check that ``plan`` needs nothing, and that ``absent`` says what it needs and where that is had."""
        assert self.store(tmp_path).missing_tower("tested") == []
        if self.absent is not None:
            missing = self.store(tmp_path, self.absent).missing_tower("tested")
            assert missing
            assert all(need.what and need.mend for need in missing)

    def test_what_was_made_ready_is_found_again(self, made: Assets) -> None:
        """Check that a tower which is made is ready afterwards, in a folder of its own that its identity leads to."""
        assert made.tower_ready("tested")
        assert made.missing_tower("tested") == []
        again = self.store(made.store.root)
        assert again.tower_ready("tested")
        assert again.ensure_tower("tested") == made.tower_spec("tested")
        if again.making("tested") is not None:
            pattern = tower_folders(again.tower_key("tested"))
            assert again.tower_folder("tested") in list((again.cache / "clip").glob(pattern))

    def test_parts_are_towers_of_the_profile(self, made: Assets) -> None:
        """Check that the tower is made from other towers of the profile, each before what is made from it."""
        assert set(made.tower_parts("tested")) <= made.profile.towers.keys() - {"tested"}
        assert made.tower_chain("tested")[-1] == "tested"

    def test_dense_and_text_features_have_the_shapes_promised(self, made: Assets) -> None:
        """Check maps (B, C, h, w) and text features (N, C), normalised, of the built tower."""
        tower = build_tower(made.ensure_tower("tested")).eval()
        images = torch.linspace(0, 255, 2 * 3 * 40 * 56).view(2, 3, 40, 56)
        with torch.no_grad():
            found, text = tower.dense(images).map, tower.text(NAMES, "a photo of a {}")
        assert tower.resolution == made.profile.towers["tested"].spec.resolution
        assert found.shape == (2, tower.embed_dim, tower.grid, tower.grid)
        assert text.shape == (len(NAMES), tower.embed_dim)
        assert found.isfinite().all()
        assert found.std() > 0
        torch.testing.assert_close(text.norm(dim=1), torch.ones(len(NAMES)))

    def test_the_untrained_tower_has_the_same_shapes(self, made: Assets, tmp_path: Path) -> None:
        """Check that shapes are known before anything is made: counts and times rest on them."""
        spec = self.store(tmp_path).untrained_tower("tested")
        assert spec.weights is None
        assert _shapes(build_tower(spec)) == _shapes(build_tower(made.tower_spec("tested")))


def _shapes(tower: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.shape for name, tensor in tower.state_dict().items()}
