"""The miniature's towers and premises: what is refused comes with a way out that works."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from small_mini import small_mini
from talk import Talk

from repro.api.miniature import train_tower
from repro.towers import shipped


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_mini(tmp_path_factory.mktemp("profile"))


@pytest.mark.follows("repro.cli.commands.mini:_towers")
def test_a_training_of_towers_is_given_a_folder(talk: Talk, profile: str) -> None:
    mend = talk.refused("mini", "towers", "--train", "base", "--profile", profile)
    talk.succeeds(*shlex.split(mend)[1:])
    assert Path("towers/base.safetensors").is_file()


@pytest.mark.follows("repro.api.miniature:train_tower")
def test_the_towers_that_are_trained_are_listed(talk: Talk) -> None:
    mend = talk.refused("mini", "towers", "--train", "base", "--profile", "smoke", "--out", "towers")
    assert "base" in talk.succeeds(*shlex.split(mend)[1:])


@pytest.mark.follows("repro.measuring.premises:measure_premises")
def test_premises_are_those_of_a_drawn_world(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Begun(Exception):  # noqa: N818
        pass

    def begin(*_: object) -> None:
        raise Begun

    monkeypatch.setattr("repro.measuring.premises._regions", begin)
    mend = talk.refused("mini", "premises", "--profile", "smoke", "--device", "cpu")
    words = shlex.split(mend.removeprefix("choose "))
    with pytest.raises(Begun):
        talk.succeeds("mini", "premises", *words, "--device", "cpu")


@pytest.mark.follows("repro.towers.shipped:read")
@pytest.mark.follows("repro.towers.shipped:unpack#1")
@pytest.mark.follows("repro.towers.shipped:unpack#2")
def test_a_damaged_shipped_tower_is_installed_again(talk: Talk, profile: str, tmp_path: Path) -> None:
    whole = train_tower("base", tmp_path / "out", profile, tmp_path / "runs")
    copy = tmp_path / "base.safetensors"
    content = whole.path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    for damage in (b"", content[:-40], flipped):
        copy.write_bytes(damage)
        mend = talk.refused_by(lambda: shipped.unpack(shipped.read(copy), tmp_path / "unpacked"))
        assert mend == "install the package again"
    shutil.copy(whole.path, copy)
    shipped.unpack(shipped.read(copy), tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / shipped.WEIGHTS).is_file()
