"""Every data set passes the checks that this and other packages share."""

from __future__ import annotations

from repro.datasets.registry import data_sets
from repro.testing import DataSetTester

for _name in data_sets():
    _title = f"Test{_name.title().replace('-', '')}"
    globals()[_title] = type(_title, (DataSetTester,), {"data_set": _name, "__module__": __name__})
