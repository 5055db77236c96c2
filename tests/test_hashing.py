"""Content addresses: stable where nothing that matters changed, different where something did."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from repro import hashing


def write_package(folder: Path, body: str) -> None:
    (folder / "__init__.py").write_text("")
    (folder / "core.py").write_text(body)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pkg_under_test"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    hashing._module_digest.cache_clear()
    for name in [n for n in sys.modules if n.startswith("pkg_under_test")]:
        del sys.modules[name]


def source_digest_of(package: Path, body: str) -> str:
    write_package(package, body)
    hashing._module_digest.cache_clear()
    return hashing.source_digest(["pkg_under_test"])


def test_digest_is_sha256_of_canonical_json():
    value = {"b": [1, 2.5, None], "a": "x"}
    payload = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert hashing.digest(value, 64) == hashlib.sha256(payload).hexdigest()


def test_digest_does_not_depend_on_the_order_of_keys():
    assert hashing.digest({"a": 1, "b": 2}) == hashing.digest({"b": 2, "a": 1})


def test_digest_refuses_values_without_a_canonical_form():
    with pytest.raises(TypeError):
        hashing.digest({"a": object()})


def test_comments_docstrings_and_layout_do_not_change_a_source_digest(package: Path):
    plain = source_digest_of(package, "def f(x):\n    return x + 1\n")
    dressed = source_digest_of(
        package, '"""Module."""\n\n# why\ndef f(x):\n    """Doc."""\n    return (x +\n        1)\n'
    )
    assert plain == dressed


def test_a_changed_constant_changes_a_source_digest(package: Path):
    assert source_digest_of(package, "RATE = 1e-3\n") != source_digest_of(package, "RATE = 1e-4\n")


def test_an_unknown_module_is_an_error_not_an_empty_digest():
    with pytest.raises(ModuleNotFoundError):
        hashing.source_digest(["no_such_module_anywhere"])
