"""Peak memory of one prediction with many classes, many prompts, many pixels, against a budget above the weights.

    python -m repro.visit.memory --out FILE.json [--device cuda] [--quick]

A process of its own: ``repro bench --visit`` runs it. On a CPU the resident memory of the process is measured, and
the budgets that hold there are tested elsewhere (tests/training/test_memory.py).
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
import torch

from repro.console import log
from repro.cost.bench import DONE, FAILED
from repro.cost.timing import drawn_text, forget_peak, peak_mib
from repro.evaluation.infer import SlidingWindow
from repro.files import write_json
from repro.methods.speedups import float32_products
from repro.visit.parts import part_parser
from repro.visit.sections import Visit

BUDGET_MIB = 4096
"""Above the weights, for any number of classes and pixels: logits of all views, the tokens of the classes that are
kept, a chunk of 128 MiB with its wider buffers, a GiB of scores, six bytes per pixel."""
CASES = {
    "847 classes": (847, (480, 640), False),
    "1,000 names, encoded here": (1000, (480, 640), True),
    "8,000 x 6,000 pixels, 3 classes": (3, (6000, 8000), False),
    "8,000 x 6,000 pixels, 847 classes": (847, (6000, 8000), False),
}
QUICK = {"5 classes": (5, (60, 80), False), "5 names, encoded here": (5, (60, 80), True)}


def memory(it: Visit) -> list[dict[str, Any]]:
    """Return a record for every case and method of the curves, on the first tower, float32."""
    records = []
    window = SlidingWindow(it.protocol)
    for subject in it.subjects([it.small], it.curve_methods):
        torch.manual_seed(0)
        method = subject.build().to(it.device).eval()
        for title, (count, size, encoded) in (QUICK if it.quick else CASES).items():
            about = {"method": subject.entry.name, "title": subject.entry.title, "clip": subject.clip, "case": title,
                     "classes": count, "height": size[0], "width": size[1], "budget_mib": BUDGET_MIB}  # fmt: skip
            log(f"memory of {subject.entry.title}: {title}")
            names = [f"class number {i}" for i in range(count)]
            image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
            text = contextlib.nullcontext() if encoded else drawn_text(method)
            forget_peak(it.device, free=True)
            before, begin = peak_mib(it.device), time.perf_counter()
            try:
                with torch.inference_mode(), float32_products(tf32=False), text:
                    window.predict(method, image, names)
            except torch.OutOfMemoryError as error:
                records.append({**about, "status": FAILED, "error": str(error).splitlines()[0], "passed": False})
                continue
            peak = peak_mib(it.device)
            above = None if peak is None or before is None else peak - before
            records.append({
                **about,
                "status": DONE,
                "seconds": time.perf_counter() - begin,
                "before_mib": before,
                "peak_memory_mib": peak,
                "above_mib": above,
                "passed": above is not None and above <= BUDGET_MIB,
            })  # fmt: skip
    return records


def main() -> None:
    """Measure and write the records."""
    options = part_parser(__doc__).parse_args()
    write_json(options.out, memory(Visit(options.device, options.quick, float("inf"))))


if __name__ == "__main__":
    main()
