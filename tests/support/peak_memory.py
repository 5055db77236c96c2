"""The memory a piece of work takes, in a process of its own: prints MiB before and at its peak as JSON.

``python peak_memory.py repro WORDS..`` for a command; ``python peak_memory.py evaluate CLASSES FOLDER`` for an image of
512 x 683 under the papers' protocol by a method that computes next to nothing, so that the harness is what is seen.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def peak_mib() -> float:
    """Largest resident memory of this process alone: what rusage tells starts from that of the process that made it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def evaluate_many(num_classes: int, folder: Path) -> int:
    import numpy as np
    from fake_method import make_method
    from PIL import Image
    from tiny_set import TinyBenchmark, TinyPair

    from repro.configuration.profiles import load_profile
    from repro.evaluation.evaluate import evaluate

    names = tuple(f"class {i}" for i in range(num_classes))
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    pair = TinyPair("a", folder / "a.png", folder / "a_label.png")
    Image.fromarray(rng.integers(0, 256, (512, 683, 3), dtype=np.uint8)).save(pair.image)
    Image.fromarray(rng.integers(0, num_classes, (512, 683), dtype=np.uint16)).save(pair.label)
    benchmark = TinyBenchmark(names=names, ignore_label=65535)
    protocol = load_profile("paper").protocol
    result = evaluate(make_method(), benchmark, [pair], protocol, folder / "out", progress=False)  # type: ignore[arg-type]
    return 0 if result.record["num_images"] == 1 else 1


def main() -> int:
    from repro.runtime import prepare

    prepare()
    import torch

    from repro.cli.main import main as command

    torch.set_num_threads(1)
    what, *words = sys.argv[1:]
    before = peak_mib()
    code = command(words) if what == "repro" else evaluate_many(int(words[0]), Path(words[1]))
    print(json.dumps({"before": round(before), "peak": round(peak_mib()), "code": code}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
