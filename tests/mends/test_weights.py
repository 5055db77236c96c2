"""Published weights: the ways out of what ``repro weights`` refuses."""

from __future__ import annotations

import collections
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from file_server import FileServer, serve, server, sha256
from talk import Talk, ours, way

import repro.checkpoints.released as released
from repro.checkpoints.released import KnownFile
from repro.clip.names import TagSource
from repro.methods.released import ReleasedFile

__all__ = ["server"]
DATA = bytes(range(256)) * 400
TAG, HUB = "ViT-B-16-quickgelu/openai", "timm/vit_base_patch16_clip_224.openai"
OUT = ("--out", "my files")
PLACE = Path("my files/small.pth")


@pytest.fixture
def small(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    """The server has a file that is known as ``small``, with a published digest."""
    server.files["/small.pth"] = DATA
    file = ReleasedFile("small", "a test", "small.pth", "https://example.org", url=f"{server.address}/small.pth")
    file = ReleasedFile(**{**vars(file), "sha256": sha256(DATA)})
    monkeypatch.setattr(released, "known_files", lambda: {"small": KnownFile(file, source="clipself")})
    return server


def put_as_told(mend: str) -> None:
    """Put the file where a mend that begins with ``by hand`` says."""
    place = Path(shlex.split(mend.partition(" and put it at ")[2].partition(", then")[0])[0])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(DATA)


@pytest.mark.follows("repro.checkpoints.fetching:present")
def test_another_file_in_its_place_is_moved_away(talk: Talk, small: FileServer) -> None:
    PLACE.parent.mkdir()
    PLACE.write_bytes(b"other")
    assert f"move '{PLACE}' away" in talk.refused("weights", "small", *OUT)
    shutil.move(PLACE, "elsewhere")
    talk.succeeds("weights", "small", *OUT)


@pytest.mark.follows("repro.checkpoints.fetching:_another_file")
def test_what_came_wrong_comes_right_the_next_time(talk: Talk, small: FileServer) -> None:
    small.files["/small.pth"] = DATA[::-1]
    assert "give the same command again" in talk.refused("weights", "small", *OUT)
    small.files["/small.pth"] = DATA
    talk.succeeds("weights", "small", *OUT)


@pytest.mark.follows("repro.checkpoints.fetching:_transfer#2")
def test_a_broken_download_goes_on(talk: Talk, small: FileServer) -> None:
    small.cut = 1000
    assert "it goes on from there" in talk.refused("weights", "small", *OUT)
    small.cut = None
    talk.succeeds("weights", "small", *OUT)
    assert small.sent == len(DATA)


@pytest.mark.follows("repro.checkpoints.fetching:_transfer#1")
def test_a_folder_on_another_disk_is_taken(talk: Talk, small: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")
    room = {True: 2**20 + 5, False: 1 << 40}
    monkeypatch.setattr(shutil, "disk_usage", lambda p: usage(10, 9, room["my files" in str(p)]))
    assert "on another disk with --out" in talk.refused("weights", "small", *OUT)
    talk.succeeds("weights", "small", "--out", "large")


@pytest.mark.follows("repro.checkpoints.fetching:_open")
def test_a_file_that_is_gone_is_put_there_by_hand(talk: Talk, small: FileServer) -> None:
    small.files.clear()
    mend = talk.refused("weights", "small", *OUT)
    assert mend.startswith("see https://example.org for where it is now; by hand: ")
    put_as_told(mend)
    talk.succeeds("weights", "small", *OUT)


@pytest.mark.follows("repro.checkpoints.fetching:unreachable")
def test_without_a_network_it_is_put_there_by_hand(
    talk: Talk, small: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as gone:
        file = ReleasedFile("small", "a test", "small.pth", "https://example.org", url=f"{gone.address}/small.pth")
    monkeypatch.setattr(released, "known_files", lambda: {"small": KnownFile(file, source="clipself")})
    put_as_told(talk.refused("weights", "small", *OUT))
    talk.succeeds("weights", "small", *OUT)


@pytest.mark.follows("repro.checkpoints.released:fetch_file")
def test_what_needs_a_browser_is_put_there_by_hand(talk: Talk, server: FileServer) -> None:
    put_as_told(talk.refused("weights", "clipself-vitb"))
    talk.succeeds("weights", "clipself-vitb")


def nothing(_: FileServer) -> None:
    pass


def other_files(served: FileServer) -> None:
    served.hub["lyhisme/DenseVLM"] = {"README.md": b"words"}


@pytest.mark.parametrize(
    "before",
    [way("repro.checkpoints.hub:find_file#1", nothing), way("repro.checkpoints.hub:find_file#2", other_files)],
)
def test_what_the_hub_does_not_have_is_put_there_by_hand(
    talk: Talk, server: FileServer, before: Callable[[FileServer], None]
) -> None:
    before(server)
    put_as_told(talk.refused("weights", "densevlm-vitb", *OUT))
    talk.succeeds("weights", "densevlm-vitb", *OUT)


@pytest.mark.follows("repro.checkpoints.hub:fetch_into_cache")
def test_what_the_hubs_library_got_wrong_comes_right_the_next_time(
    talk: Talk, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.hub[HUB] = {"open_clip_model.safetensors": DATA}
    with monkeypatch.context() as damaged:
        damaged.setattr(FileServer, "find", lambda self, path: DATA[::-1] if "/resolve/" in path else None)
        assert talk.refused("weights", TAG) == "give the same command again"
    talk.succeeds("weights", TAG)


@pytest.mark.follows("repro.checkpoints.released:get_file#1")
def test_an_unknown_name_is_answered_with_the_list(talk: Talk) -> None:
    talk.refused("weights", "catseg-vitx")
    assert "catseg-vitb" in talk.succeeds(*ours(talk.mend))


@pytest.mark.follows("repro.checkpoints.released:get_file#2")
def test_a_tag_of_the_other_activation_is_fetched_for_the_right_model(talk: Talk, server: FileServer) -> None:
    server.hub[HUB] = {"open_clip_model.safetensors": DATA}
    talk.refused("weights", "ViT-B-16/openai")
    talk.succeeds(*ours(talk.mend))


@pytest.mark.follows("repro.checkpoints.released:_of_tag")
def test_a_tag_that_is_not_on_the_hub_is_answered_with_the_list(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "tag_source", lambda _model, _tag: TagSource("", "tag.pt", False))
    talk.refused("weights", "ViT-B-16/tag")
    talk.succeeds(*ours(talk.mend))
