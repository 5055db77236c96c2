"""What one visit to a GPU measures: is it right, how fast is it, how does it scale, what do faster passes change.

No data, no weights, no network. See docs/gpu-visit.md.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from repro.clip.spec import TowerSpec
from repro.console import log
from repro.cost import bench
from repro.cost.timing import default_runs, drawn_text
from repro.datasets.protocol import Protocol
from repro.errors import RunError, command
from repro.files import read_json
from repro.methods import registry
from repro.methods.speedups import Speedups, float32_products, speed_up

Record = dict[str, Any]
TOWERS = {
    "CLIP ViT-B/16": TowerSpec("ViT-B-16-quickgelu", None, 384),
    "CLIP ViT-L/14@336": TowerSpec("ViT-L-14-336-quickgelu", None, 336),
}
CURVE_METHODS = ("catseg", "disa")
TOLERANCE = 1e-4
"""Of the largest logit: 2,000 float32 roundings of a ViT-B/16 and an aggregator, in another order."""
MAY_DIFFER = 5e-3
"""Share of logits that may be further off: places whose saliency ties with another's choose the other branch."""
FASTER = (
    Speedups(),
    Speedups(tf32=True),
    Speedups(amp="bf16"),
    Speedups(amp="fp16"),
    Speedups(channels_last=True),
    Speedups(graphs=True),
    Speedups(compile=True),
    Speedups(amp="bf16", compile=True),
    Speedups(amp="bf16", graphs=True),
)
_DECODER = {"decoder_dims": (8, 8), "decoder_guidance": (8, 8), "decoder_guidance_proj": (4, 4), "guide_blocks": (0, 0)}
QUICK_OPTIONS: dict[str, dict[str, Any]] = {
    "catseg": {"hidden": 8, "heads": 2, "window": 3, "size_divisibility": 1, "appearance_guidance": 8,
               "text_guidance": 8, "pad_len": 4, **_DECODER},
    "disa": {"hidden": 8, "heads": 2, "window": 3, "sdm_head_dim": 8, "k_policy": "ratio", "appearance_guidance": 8,
             **_DECODER},
    "logoseg": {"hidden": 8, "regions": 3, "heads": 2, "correlation": 8, **_DECODER},
    "synseg": {"width": 8, "heads": 2, "mlp_width": 8, "film_hidden": 8},
}  # fmt: skip


class Visit:
    """What a visit measures on ``device``: its sizes, and how long it may take."""

    def __init__(self, device: str, quick: bool, budget_s: float) -> None:
        self.device, self.quick, self.ends = device, quick, time.monotonic() + budget_s
        warmup, repeat = (0, 1) if quick else default_runs(device)
        self.runs = bench.Runs(repeat, warmup, count=not quick)
        self.protocol = Protocol(short_side=48, max_long_side=192, canvas=48, window=48) if quick else Protocol()
        self.towers = {"tiny": TowerSpec("tiny", None, 48)} if quick else TOWERS
        self.classes = 2 if quick else 150
        self.curve_methods = CURVE_METHODS[-1:] if quick else CURVE_METHODS
        self.left_out: list[str] = []

    def subjects(self, towers: Sequence[str], methods: Sequence[str] = ()) -> list[bench.Subject]:
        """Return all methods (or those named) on the ``towers``."""
        return [
            bench.Subject(entry, tower, self.towers[tower], entry.make_options(self._options(name)))
            for tower in towers
            for name, entry in registry().items()
            if name in methods or not methods
        ]

    def _options(self, name: str) -> dict[str, Any]:
        return QUICK_OPTIONS.get(name, {}) if self.quick else {}

    @property
    def small(self) -> str:
        """The first tower."""
        return next(iter(self.towers))

    def measure(self, points: Sequence[bench.Point]) -> Iterator[Record]:
        """Yield timings of ``points`` until the time is over; the others are left out and named."""
        for number, point in enumerate(points):
            if time.monotonic() > self.ends:
                keys = ("title", "clip", "classes", "size", "batch", "precision")
                late = [bench.describe(p) for p in points[number:]]
                self.left_out += [" ".join(str(record[key]) for key in keys) for record in late]
                return
            yield from bench.measure([point], self.device, self.runs, log)

    # -- sections -----------------------------------------------------------------------------------------------
    def correctness(self) -> list[Record]:
        """Compare logits of every method on the device and on the CPU, float32, TF32 off, from the same weights."""
        records = []
        side, names = self.protocol.window, bench.class_names(self.classes if self.quick else 20)
        images = 255 * torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        for subject in self.subjects([self.small]):
            log(f"checking {subject.entry.title} against the CPU")
            torch.manual_seed(0)
            method = subject.build().eval()
            with torch.no_grad(), drawn_text(method), float32_products(tf32=False):
                expected = method(images, names)
            method.to(self.device)
            with torch.no_grad(), drawn_text(method), float32_products(tf32=False):
                found = method(images.to(self.device), names).cpu()
            off = (found - expected).abs() / expected.abs().max()
            differing = float((off > TOLERANCE).double().mean())
            records.append(
                {
                    "method": subject.entry.name,
                    "title": subject.entry.title,
                    "clip": subject.clip,
                    "largest_difference": float(off.max()),
                    "median_difference": float(off.median()),
                    "share_beyond_tolerance": differing,
                    "same_arg_max": float((found.argmax(1) == expected.argmax(1)).double().mean()),
                    "passed": bool(found.isfinite().all()) and differing <= MAY_DIFFER,
                }
            )
        return records

    def table2(self) -> list[Record]:
        """Time every method on every tower, with its stages."""
        return list(self.measure(self._grid(self.subjects(list(self.towers)), [Speedups()])))

    def scaling(self) -> list[Record]:
        """Measure time and memory against classes, image size and batch."""
        sizes = bench.curve_sizes(self.protocol)
        points = bench.curves(
            self.subjects([self.small], self.curve_methods),
            self.protocol,
            classes=self.classes,
            speedups=[Speedups()],
            class_counts=(2, 3) if self.quick else bench.CURVE_CLASSES,
            sizes=sizes[:2] if self.quick else sizes,
            batches=(1, 2) if self.quick else bench.CURVE_BATCHES,
        )
        return list(self.measure(points))

    def faster(self) -> list[Record]:
        """Measure what each way to run faster gains, and how many places keep their class."""
        subjects = self.subjects([self.small], self.curve_methods)
        ways = [s for s in FASTER if not self.quick or not (s.compile or s.amp == "fp16")]
        records = []
        for point in self._grid(subjects, ways):
            records += [{**r, "same_arg_max": self._agreement(point, r)} for r in self.measure([point])]
        return records

    def training(self) -> list[Record]:
        """Time steps with and without deterministic kernels, each in a process of its own: cuBLAS asks once."""
        return [r for flags in ([], ["--deterministic"]) for r in self._beside("training", *flags)]

    def memory(self) -> list[Record]:
        """Measure peak memory against a budget, for many classes, prompts and pixels."""
        return self._beside("memory")

    def _beside(self, part: str, *flags: str) -> list[Record]:
        """Return what the module ``part`` measures in a process of its own; cut off with the budget of the visit."""
        left = self.ends - time.monotonic()
        name = " ".join([part, *flags])
        if left <= 0:
            self.left_out.append(name)
            return []
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "records.json"
            words = ["-m", f"repro.visit.{part}", "--device", self.device, "--out", str(out)]
            more = [*flags, *["--quick"] * self.quick]
            try:
                done = subprocess.run([sys.executable, *words, *more], check=False, timeout=left)
            except subprocess.TimeoutExpired:
                self.left_out.append(name)
                return []
            if done.returncode:
                raise RunError(
                    f"section {name} ended with exit code {done.returncode}",
                    mend=command("python", *words[:-1], "records.json", *more),
                )
            records: list[Record] = read_json(out)
            return records

    def _grid(self, subjects: Sequence[bench.Subject], speedups: Sequence[Speedups]) -> list[bench.Point]:
        return bench.grid(
            subjects,
            self.protocol,
            classes=[self.classes],
            sizes=[self.protocol.canvas],
            batches=[1],
            speedups=speedups,
        )

    def _agreement(self, point: bench.Point, record: Record) -> float | None:
        """Return the share of places with the class they have in float32."""
        if record["status"] != bench.DONE or time.monotonic() > self.ends:
            return None
        side, names = point.protocol.window, bench.class_names(point.classes)
        images = 255 * torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)).to(self.device)
        maps = []
        for speedups in (Speedups(), point.speedups):
            torch.manual_seed(0)
            method = speed_up(point.subject.build().eval(), speedups, self.device).to(self.device).eval()
            with torch.no_grad(), drawn_text(method), float32_products(speedups.tf32):
                maps.append(method(images, names).argmax(1))
        return float((maps[0] == maps[1]).double().mean())


SECTIONS: dict[str, Callable[[Visit], list[Record]]] = {
    "correctness": Visit.correctness,
    "table2": Visit.table2,
    "speedups": Visit.faster,
    "training": Visit.training,
    "memory": Visit.memory,
    "scaling": Visit.scaling,
}
