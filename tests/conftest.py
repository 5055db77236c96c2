"""Session-wide settings and fixtures."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from mend_places import not_reached, reached

from repro.runtime import prepare

pytest.register_assert_rewrite("repro.testing")

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread a worker: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare()
# A shell that starts the tests in the background ignores Ctrl-C for them, and so would every process they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before the workers' plugin reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Send tests that use a fixture of their file to one worker, so that it is made once."""
    for item in items:
        definitions = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
        if any(own[-1].scope == "module" for own in definitions) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The data root of real photographs and masks, read-only; skips where it is absent: it may not be published."""
    root = Path(__file__).resolve().parents[1]
    folder = (root / os.environ.get("REPRO_SHARED", "../shared") / "data" / "mini_real").resolve()
    if not folder.is_dir():
        pytest.skip("needs real photographs: set REPRO_SHARED to the folder that holds data/mini_real")
    return folder


@pytest.fixture(autouse=True)
def _own_sets_end_with_their_test() -> Generator[None]:
    """Data sets of the user's own are known to the process that named them: here, to one test."""
    before = os.environ.get("REPRO_DATASETS")
    yield
    os.environ.pop("REPRO_DATASETS", None)
    if before is not None:
        os.environ["REPRO_DATASETS"] = before
    if registry := sys.modules.get("repro.datasets.registry"):
        registry._ADDED.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A test that says which ways out of errors it follows (the marker ``follows``) has to reach them."""
    names = [name for marker in item.iter_markers("follows") for name in marker.args]
    if not names:
        return (yield)
    with reached() as lines:
        result = yield
    assert not (missed := not_reached(names, lines)), f"not reached: {missed}"
    return result
