"""What bfloat16 inference costs in mIoU and time, beside float32: one trained run, the same images, one process.

    python benchmarks/bf16.py --run RUN --tower RUNS/cache/clip/TOWER --data RUNS/cache/data/DATA --out NEW_FOLDER

``--run`` is a run folder of the miniature (config.py, weights.pth), ``--device cuda`` a GPU. Prints a line a benchmark;
nothing outside ``--out`` is written. Seconds are those of the CPU on a CPU, of the wall on a GPU.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mmengine.config import Config

from repro.benchmarks.layout import prepared_pairs
from repro.benchmarks.spec import get_benchmark
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.engine.evaluate import evaluate
from repro.engine.speedups import Speedups, speed_up
from repro.engine.train import load_weights
from repro.experiments.profiles import load_profile
from repro.methods import get_method
from repro.runtime import keep_memory
from repro.towers.kind import WEIGHTS


def main() -> None:
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    for name in ("run", "tower", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--benchmarks", default="A-150,PC-59,PAS-20")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    config = Config.fromfile(args.run / "config.py")
    spec = TowerSpec(**{**config.tower["spec"], "model": str(args.tower), "weights": WEIGHTS})
    entry = get_method(config.method)
    method = entry.create(build_tower(spec), entry.make_options(config.options))
    load_weights(method, args.run / "weights.pth", entry.name)
    protocol = load_profile(config.profile).protocol
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    for benchmark in map(get_benchmark, args.benchmarks.split(",")):
        pairs, scores, seconds = prepared_pairs(benchmark, args.data), {}, {}
        for amp in ("off", "bf16"):
            begin = clock()
            sped = speed_up(method, Speedups(amp=amp), args.device)
            result = evaluate(sped, benchmark, pairs, protocol, args.out / benchmark.id / amp, args.device, False)
            seconds[amp] = clock() - begin
            scores[amp] = {name: 100 * result.metrics[name] for name in ("miou_gt", "miou_union", "pacc")}
        for name, value in scores["off"].items():
            print(f"{benchmark.id} {name}: float32 {value:.3f}, bf16 {scores['bf16'][name]:.3f}")
        print(f"{benchmark.id} seconds: float32 {seconds['off']:.1f}, bf16 {seconds['bf16']:.1f}", flush=True)


if __name__ == "__main__":
    main()
