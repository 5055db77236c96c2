"""``python -m repro.launch.child PARENT WORDS..``: the ``repro`` command, ended when process PARENT ends."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when ``parent`` ends, however it ends (Linux; nothing elsewhere)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the kernel was told
            os._exit(128 + signal.SIGTERM)


def main() -> int:
    """Run the command in this process and return its exit code."""
    die_with(int(sys.argv[1]))
    sys.argv = ["repro", *sys.argv[2:]]
    code: int = importlib.import_module("repro.cli.main").main()  # by name: the command lies above everything
    return code


if __name__ == "__main__":
    sys.exit(main())
