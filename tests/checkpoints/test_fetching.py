"""Downloads from a server on this machine: resumed, checked, whole or absent."""

from __future__ import annotations

import collections
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, serve, sha256

from repro.checkpoints.fetching import Fetched, Published, fetch, present
from repro.errors import ResourceError, WeightsError

DATA = bytes(i * i % 251 for i in range(100_000))
HALF = 40_000
BY_HAND = "by hand: fetch it elsewhere"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as served:
        served.files["/model.pth"] = DATA
        yield served


def published(server: FileServer, digest: str = sha256(DATA), size: int = len(DATA)) -> Published:
    return Published(f"{server.address}/model.pth", "the page", BY_HAND, digest, size)


def unpublished(server: FileServer) -> Published:
    return published(server, "", 0)


def cut_off(server: FileServer, wanted: Published, target: Path) -> None:
    server.cut = HALF
    with pytest.raises(ResourceError, match=r"the download of model\.pth broke off") as caught:
        fetch(wanted, target)
    assert (caught.value.expected, caught.value.found) == ("100,000 bytes", "40,000 bytes, which are kept")
    assert not target.exists()
    server.cut = None


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def test_a_file_comes_whole_with_a_record_and_the_second_call_asks_nobody(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "model.pth"
    assert fetch(published(server), target) == Fetched(target, sha256(DATA), len(DATA), checked=True, new=True)
    assert target.read_bytes() == DATA
    assert names(target.parent) == ["model.pth", "model.pth.json"]
    assert json.loads((target.parent / "model.pth.json").read_text()) == {
        "source": f"{server.address}/model.pth",
        "sha256": sha256(DATA),
        "bytes": len(DATA),
        "published_digest": True,
    }
    assert fetch(published(server), target) == Fetched(target, sha256(DATA), len(DATA), checked=True, new=False)
    assert len(server.asked) == 1


@pytest.mark.parametrize("digest", [sha256(DATA), ""])
def test_a_download_that_broke_off_goes_on_where_it_was(server: FileServer, tmp_path: Path, digest: str) -> None:
    wanted, target = published(server, digest, 0), tmp_path / "model.pth"
    cut_off(server, wanted, target)
    assert fetch(wanted, target).checked == bool(digest)
    assert target.read_bytes() == DATA
    assert server.sent == len(DATA)
    headers = server.asked[1][1]
    assert (headers["Range"], headers["If-Range"]) == (f"bytes={HALF}-", f'"{sha256(DATA)}"')
    assert names(tmp_path) == ["model.pth", "model.pth.json"]


def test_it_goes_on_behind_a_redirection(server: FileServer, tmp_path: Path) -> None:
    server.moved["/old"] = "/model.pth"
    wanted, target = Published(f"{server.address}/old", "the page", BY_HAND), tmp_path / "model.pth"
    cut_off(server, wanted, target)
    fetch(wanted, target)
    assert target.read_bytes() == DATA
    assert server.sent == len(DATA)


def test_a_file_that_changed_meanwhile_is_not_put_together_of_two(server: FileServer, tmp_path: Path) -> None:
    cut_off(server, unpublished(server), tmp_path / "model.pth")
    server.files["/model.pth"] = DATA[::-1]
    fetch(unpublished(server), tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == DATA[::-1]


def test_without_ranges_it_begins_anew(server: FileServer, tmp_path: Path) -> None:
    cut_off(server, published(server), tmp_path / "model.pth")
    server.ranges = False
    fetch(published(server), tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_bytes() == DATA
    assert server.sent == HALF + len(DATA)


@pytest.mark.parametrize(("digest", "sent"), [("", HALF + len(DATA)), (sha256(DATA), len(DATA))])
def test_a_part_of_an_unknown_version_is_used_only_where_the_whole_can_be_checked(
    server: FileServer, tmp_path: Path, digest: str, sent: int
) -> None:
    server.tags = False
    wanted, target = published(server, digest, 0), tmp_path / "model.pth"
    cut_off(server, wanted, target)
    fetch(wanted, target)
    assert target.read_bytes() == DATA
    assert server.sent == sent


def test_a_part_that_is_longer_than_the_file_is_dropped(server: FileServer, tmp_path: Path) -> None:
    wanted, target = published(server, size=0), tmp_path / "model.pth"
    cut_off(server, wanted, target)
    (tmp_path / ".model.pth.partial" / "data").write_bytes(DATA * 2)
    fetch(wanted, target)
    assert target.read_bytes() == DATA


def test_another_content_than_published_is_refused_and_nothing_is_left(server: FileServer, tmp_path: Path) -> None:
    server.files["/model.pth"] = DATA[::-1]
    with pytest.raises(WeightsError, match="gave another file than was published") as caught:
        fetch(published(server), tmp_path / "model.pth")
    assert caught.value.expected == f"SHA-256 {sha256(DATA)}"
    assert caught.value.found == f"SHA-256 {sha256(DATA[::-1])}, 100,000 bytes"
    assert names(tmp_path) == []


def test_another_size_than_published_is_refused_before_it_comes(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gave another file than was published") as caught:
        fetch(published(server, size=len(DATA) + 1), tmp_path / "model.pth")
    assert (caught.value.expected, caught.value.found) == ("100,001 bytes", "100,000 bytes")
    assert names(tmp_path) == []


def test_a_wrong_part_does_not_spoil_the_next_call(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "model.pth"
    cut_off(server, published(server), target)
    (tmp_path / ".model.pth.partial" / "data").write_bytes(bytes(HALF))
    with pytest.raises(WeightsError, match="gave another file"):
        fetch(published(server), target)
    fetch(published(server), target)
    assert target.read_bytes() == DATA


def test_no_network_is_one_error_that_says_what_to_do_by_hand(tmp_path: Path) -> None:
    with serve() as gone:
        wanted = published(gone)
    with pytest.raises(ResourceError, match="cannot be reached") as caught:
        fetch(wanted, tmp_path / "model.pth")
    assert caught.value.mend == BY_HAND
    assert names(tmp_path) == []


def test_an_address_without_the_file_is_named_with_its_page(server: FileServer, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(WeightsError, match="does not give the file") as caught:
        fetch(published(server), tmp_path / "model.pth")
    assert caught.value.found == "the answer 404 Not Found"
    assert caught.value.mend == f"see the page for where it is now; {BY_HAND}"
    assert names(tmp_path) == []


def test_a_small_disk_is_seen_before_the_file_comes(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(2**30, 2**30 - 2**20 - 5, 2**20 + 5))
    with pytest.raises(ResourceError, match=r"not enough disk space for model\.pth"):
        fetch(published(server), tmp_path / "model.pth")
    assert names(tmp_path) == []


def test_a_file_put_there_by_hand_is_checked_and_recorded(tmp_path: Path) -> None:
    target = tmp_path / "model.pth"
    assert present(target, sha256(DATA)) is None
    target.write_bytes(DATA)
    assert present(target, sha256(DATA)) == Fetched(target, sha256(DATA), len(DATA), checked=True, new=False)
    assert json.loads((tmp_path / "model.pth.json").read_text())["source"] == "put there by hand"
    target.write_bytes(DATA[:-1])
    for digest, words in ((sha256(DATA), "published"), ("", "fetched")):
        with pytest.raises(WeightsError, match=f"is not the file that was {words}"):
            present(target, digest)
