from __future__ import annotations

import errno

import pytest
import torch
from fake_method import make_method

from repro.errors import ResourceError, WeightsError
from repro.methods.weights import load_weights, read_header, save_weights


def test_saved_weights_come_back_to_the_bit_under_weights_only(tmp_path):
    path = tmp_path / "weights.pth"
    save_weights(make_method(1), path, "pixel", iterations=7)
    other = make_method(2)
    assert load_weights(other, path, "pixel")["iterations"] == 7
    for name, tensor in make_method(1).state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert set(torch.load(path, weights_only=True)) == {"header", "state_dict"}


def test_weights_of_another_method_are_refused_with_the_names_that_differ(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"header": {"method": "other", "format": 1}, "state_dict": {"foreign.weight": torch.zeros(3)}}, path)
    method = make_method()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(method, path, "pixel")
    text = str(caught.value)
    assert "weights of other" in text
    assert "head.weight" in text
    assert "1 unexpected: foreign.weight" in text
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


def test_weights_of_other_options_name_the_shapes(tmp_path):
    path = tmp_path / "weights.pth"
    save_weights(make_method(), path, "pixel")
    method = make_method()
    method.head = torch.nn.Conv2d(16, 8, 1)
    with pytest.raises(WeightsError, match=r"head\.weight \(32, 16, 1, 1\) instead of \(8, 16, 1, 1\)"):
        load_weights(method, path, "pixel")


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_truncated_file_is_a_weights_error(tmp_path, keep):
    path = tmp_path / "weights.pth"
    save_weights(make_method(), path, "pixel")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(make_method(), path, "pixel")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    path = tmp_path / "weights.pth"
    torch.save({"header": {}, "state_dict": Evil()}, path)
    with pytest.raises(WeightsError):
        read_header(path)


def test_a_state_dict_without_header_is_told_apart(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(make_method().state_dict(), path)
    with pytest.raises(WeightsError, match="not a weights file"):
        load_weights(make_method(), path, "pixel")


def test_absent_weights_are_a_weights_error(tmp_path):
    with pytest.raises(WeightsError, match="no weights"):
        load_weights(make_method(), tmp_path / "none.pth", "pixel")


def test_a_full_disk_is_a_resource_error_and_leaves_the_old_weights(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    save_weights(make_method(1), path, "pixel")
    before = path.read_bytes()
    real = torch.save

    def full(value, stream):
        class Full:
            def write(self, data):
                raise OSError(errno.ENOSPC, "No space left on device")

            def flush(self):
                pass

        real(value, Full())

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ResourceError):
        save_weights(make_method(2), path, "pixel")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pth"]
