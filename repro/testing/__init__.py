"""Checks that everything of one kind must pass, for the tests of this and of other packages (they need pytest).

Subclass :class:`MethodTester`, :class:`TowerTester` or :class:`DataSetTester` in a test module. For messages that show
the values of a failed check put ``pytest.register_assert_rewrite("repro.testing")`` into ``conftest.py``.
"""

from repro.testing.data_sets import DataSetTester
from repro.testing.methods import MethodTester
from repro.testing.towers import TowerTester

__all__ = ["DataSetTester", "MethodTester", "TowerTester"]
