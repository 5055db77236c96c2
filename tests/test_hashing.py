"""Content addresses: stable where nothing that matters changed, different where something did."""

from __future__ import annotations

import hashlib
import json

import pytest

from repro import hashing


def test_digest_is_sha256_of_canonical_json():
    value = {"b": [1, 2.5, None], "a": "x"}
    payload = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert hashing.digest(value, 64) == hashlib.sha256(payload).hexdigest()


def test_digest_does_not_depend_on_the_order_of_keys():
    assert hashing.digest({"a": 1, "b": 2}) == hashing.digest({"b": 2, "a": 1})


def test_digest_refuses_values_without_a_canonical_form():
    with pytest.raises(TypeError):
        hashing.digest({"a": object()})
