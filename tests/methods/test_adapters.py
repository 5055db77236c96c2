"""Adapters of models of other libraries are found by name and stand on no list."""

import dataclasses

import pytest

from repro import methods
from repro.errors import UsageError


@dataclasses.dataclass(frozen=True)
class _Point:
    name: str
    value: str
    loaded: object

    def load(self):
        return self.loaded


def test_an_adapter_is_found_by_name_and_is_on_no_list(monkeypatch):
    entry = dataclasses.replace(methods.get_method("clip"), name="other-library")
    points = {
        methods.ENTRY_POINT_GROUP: [_Point("clip", "m:A", methods.get_method("clip"))],
        methods.ADAPTERS_GROUP: [_Point("other-library", "m:B", entry)],
    }
    monkeypatch.setattr("repro.announced.entry_points", lambda group: points[group])
    for cached in (methods.registry, methods.adapters):
        monkeypatch.setattr(methods, cached.__name__, cached.__wrapped__)
    assert list(methods.registry()) == ["clip"]
    assert methods.get_method("other-library") is entry
    with pytest.raises(UsageError, match="other-library"):
        methods.get_method("other-libary")
