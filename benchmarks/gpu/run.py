#!/usr/bin/env python3
"""One visit to a GPU: is it right, how fast is it, how does it scale, what do faster passes change.

    python benchmarks/gpu/run.py                        # results/<device>/, about five minutes on a large GPU
    python benchmarks/gpu/run.py --device cpu --quick   # the same path with tiny models on a CPU, seconds

Needs torch, torchvision, timm, open_clip, einops, pandas and the project itself (``pip install --no-deps -e .``); no
data, no weights, no network. See benchmarks/gpu/README.md. What the time budget has no room for is named as left out;
what is measured is written after every section, and a later visit with other ``--sections`` adds to it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from repro.runtime import prepare

prepare()  # before torch

import torch  # noqa: E402

from repro.benchmarks.protocol import Protocol  # noqa: E402
from repro.clip.spec import TowerSpec  # noqa: E402
from repro.engine.machine import machine_facts  # noqa: E402
from repro.engine.speedups import Speedups, float32_products, speed_up  # noqa: E402
from repro.engine.timing import default_runs, drawn_text  # noqa: E402
from repro.errors import ReproError, ResourceError, RunError, UsageError, unknown_name  # noqa: E402
from repro.experiments import bench  # noqa: E402
from repro.files import read_json, write_json, write_text  # noqa: E402
from repro.methods import registry  # noqa: E402
from repro.reports.bench import write_bench, write_scaling  # noqa: E402
from repro.reports.visit import visit_document  # noqa: E402

Record = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
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
        """All methods (or those named) on the ``towers``."""
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
        """Timings of ``points`` until the time is over; the others are left out and named."""
        for number, point in enumerate(points):
            if time.monotonic() > self.ends:
                keys = ("title", "clip", "classes", "size", "batch", "precision")
                late = [bench.describe(p) for p in points[number:]]
                self.left_out += [" ".join(str(record[key]) for key in keys) for record in late]
                return
            yield from bench.measure([point], self.device, self.runs, log)

    # -- sections -----------------------------------------------------------------------------------------------
    def correctness(self) -> list[Record]:
        """Logits of every method on the device and on the CPU, float32, TF32 off, from the same weights."""
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
        """Every method on every tower, with its stages."""
        return list(self.measure(self._grid(self.subjects(list(self.towers)), [Speedups()])))

    def scaling(self) -> list[Record]:
        """Time and memory against classes, image size and batch."""
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
        """What each way to run faster gains, and how many places keep their class."""
        subjects = self.subjects([self.small], self.curve_methods)
        ways = [s for s in FASTER if not self.quick or not (s.compile or s.amp == "fp16")]
        records = []
        for point in self._grid(subjects, ways):
            records += [{**r, "same_arg_max": self._agreement(point, r)} for r in self.measure([point])]
        return records

    def training(self) -> list[Record]:
        """Steps with and without deterministic kernels, each in a process of its own: cuBLAS asks once."""
        return [r for flags in ([], ["--deterministic"]) for r in self._beside("training.py", *flags)]

    def memory(self) -> list[Record]:
        """Peak memory against a budget, for many classes, prompts and pixels."""
        return self._beside("memory.py")

    def _beside(self, script: str, *flags: str) -> list[Record]:
        """What ``script`` beside this file measures; its time is cut off with the budget of the visit."""
        left = self.ends - time.monotonic()
        name = " ".join([script.removesuffix(".py"), *flags])
        if left <= 0:
            self.left_out.append(name)
            return []
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "records.json"
            words = [sys.executable, str(Path(__file__).with_name(script)), "--device", self.device, "--out", str(out)]
            try:
                done = subprocess.run([*words, *flags, *["--quick"] * self.quick], check=False, timeout=left)
            except subprocess.TimeoutExpired:
                self.left_out.append(name)
                return []
            if done.returncode:
                raise RunError(
                    f"{script} ended with exit code {done.returncode}",
                    mend=f"python benchmarks/gpu/{script} --out records.json --device {self.device}",
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
        """The share of places with the class they have in float32."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; exit code 1 where the device does not compute what the CPU does or a memory budget is
    exceeded, 5 without the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:N or cpu")
    parser.add_argument("--quick", action="store_true", help="tiny models, one run each: checks the script, no more")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--budget", type=float, default=540, metavar="S", help="seconds (default: 540)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: results/<device>)")
    options = parser.parse_args(arguments)
    try:
        return visit(options)
    except ReproError as error:
        print(f"error: {error}", flush=True)
        return error.exit_code


def part_parser(description: str | None) -> argparse.ArgumentParser:
    """What the sections with a process of their own understand, see :meth:`Visit._beside`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the records")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:N or cpu")
    parser.add_argument("--quick", action="store_true", help="tiny models, one run each: checks the script, no more")
    return parser


def visit(options: argparse.Namespace) -> int:
    """Work off the sections and write what each measured."""
    if options.device != "cpu" and not torch.cuda.is_available():
        raise ResourceError(
            "this benchmark needs a GPU",
            expected="a CUDA device that torch can see",
            found=f"none (torch {torch.__version__})",
            mend="run it on a machine with a GPU, or --device cpu --quick to check the script",
        )
    machine, it = machine_facts(options.device), Visit(options.device, options.quick, options.budget)
    folder = options.out or ROOT / "results" / slug(machine["device"])
    names = options.sections.split(",")
    for name in names:
        if name not in SECTIONS:
            raise unknown_name("section", name, SECTIONS, mend="python benchmarks/gpu/run.py --help")
    summary, found = resumed(folder, options.quick, machine)
    for name in names:
        log(f"section {name}")
        begin, it.left_out = time.monotonic(), []
        found[name] = SECTIONS[name](it)
        summary["seconds"][name] = round(time.monotonic() - begin, 1)
        summary["dates"][name] = machine["date"]
        summary["left_out"][name] = it.left_out
        write_json(folder / "gpu.json", {**summary, **found})
        write_text(folder / "README.md", visit_document(summary, found, TOLERANCE))
        if name in ("table2", "scaling", "speedups"):
            write_bench(found[name], folder, name, title=name)
    try:
        write_scaling(found.get("scaling", []), folder, "scaling_figure")
    except ImportError:
        log("no figure: matplotlib is not installed")
    log(f"wrote {folder}")
    judged = [*found.get("correctness", []), *(found.get("memory", []) if options.device != "cpu" else [])]
    return 0 if all(r["passed"] for r in judged) else 1


def resumed(folder: Path, quick: bool, machine: Record) -> tuple[Record, dict[str, list[Record]]]:
    """What an earlier visit with the same device and versions left in ``folder``: its summary and its sections.

    UsageError where the results there are of another kind: they are not overwritten.
    """
    summary: Record = {"format": bench.FORMAT, "quick": quick, "machine": machine}
    summary.update({"seconds": {}, "dates": {}, "left_out": {}})
    file = folder / "gpu.json"
    if not file.is_file():
        return summary, {}
    old = read_json(file)
    facts = ("device", "driver", "cuda", "torch")
    here, there = (
        {"quick": q, **{k: m.get(k) for k in facts}} for q, m in ((quick, machine), (old["quick"], old["machine"]))
    )
    if here != there:
        raise UsageError(
            f"{folder} holds results of another machine or version",
            expected=here,
            found=there,
            mend="--out ANOTHER_FOLDER",
        )
    summary.update({name: old[name] for name in ("seconds", "dates", "left_out")})
    return summary, {name: old[name] for name in SECTIONS if name in old}


def slug(device: str) -> str:
    """``NVIDIA H200`` -> ``h200``."""
    words = re.sub(r"[^a-z0-9]+", "-", device.lower().removeprefix("nvidia ").partition(",")[0])
    return words.strip("-")


def log(message: str) -> None:
    """One line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
