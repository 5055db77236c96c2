"""Files that are no checkpoint, broken, or meant to do harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from repro.checkpoints.reading import read_foreign
from repro.errors import WeightsError


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_does_not(zipped: bool, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "evil.pth"
    torch.save({"model": {"w": torch.zeros(2)}, "trainer": _Evil(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"asks for (posix|nt)\.system.*nothing of it was run"):
        read_foreign(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # the danger is real


@pytest.mark.parametrize("keep", [30, 600, -30])
def test_a_truncated_file_is_called_unreadable(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"model": {"w": torch.randn(1000)}}, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint") as caught:
        read_foreign(path)
    assert "SHA-256" in str(caught.value.mend)


def test_a_truncated_archive_and_safetensors_are_called_unreadable(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.randn(1000)}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-10])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_foreign(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<!DOCTYPE html>\n<html><head></head></html>", "web page"),
        (b"  <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"", "an empty file"),
    ],
)
def test_a_download_that_gave_something_else_is_called_what_it_is(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is not a checkpoint") as caught:
        read_foreign(path)
    assert found in str(caught.value.found)


def test_a_folder_is_refused_with_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "model_base.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match="is a folder") as caught:
        read_foreign(tmp_path)
    assert str(caught.value.mend).endswith("model_base.pth")


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no file"):
        read_foreign(tmp_path / "none.pth")


def test_a_file_without_tensors_is_described(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "best": 0.5}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="no tensors by name") as caught:
        read_foreign(tmp_path / "x.pth")
    assert caught.value.found == "dict with best, epoch"


def test_safetensors_are_known_by_content_not_by_name(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.arange(3.0)}, tmp_path / "file.pth")
    file = read_foreign(tmp_path / "file.pth")
    assert file.form == "safetensors file"
    assert torch.equal(file.state["w"], torch.arange(3.0))


def test_a_file_of_this_program_needs_no_import(tmp_path: Path) -> None:
    torch.save({"header": {"method": "catseg", "format": 1}, "state_dict": {}}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="needs no import"):
        read_foreign(tmp_path / "weights.pth")


def test_random_bytes_are_unreadable_not_a_crash(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(8):
        raw = torch.randint(0, 256, (400,), generator=generator, dtype=torch.uint8).numpy().tobytes()
        for prefix in (b"", b"\x80\x02", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{"):
            (tmp_path / "noise").write_bytes(prefix + raw)
            with pytest.raises(WeightsError):
                read_foreign(tmp_path / "noise")
        assert number < 8
