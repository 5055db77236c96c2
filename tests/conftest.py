"""Session-wide settings and fixtures."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from repro.runtime import prepare

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread a worker: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare()
# A shell that starts the tests in the background ignores Ctrl-C for them, and so would every process they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The read-only folder of specifications, facts, real samples and recordings; skips where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = (root / os.environ.get("REPRO_SHARED", "../shared")).resolve()
    if not folder.is_dir():
        pytest.skip("needs the shared folder: set REPRO_SHARED")
    return folder
