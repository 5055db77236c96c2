"""The memory a command of `repro` takes: ``python peak_memory.py WORDS..`` prints MiB before and at its peak."""

from __future__ import annotations

import json
import resource
import sys


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    from repro.runtime import prepare

    prepare()
    import torch

    from repro.cli.main import main as command

    torch.set_num_threads(1)
    before = peak_mib()
    code = command(sys.argv[1:])
    print(json.dumps({"before": round(before), "peak": round(peak_mib()), "code": code}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
