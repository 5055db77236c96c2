"""The alignment on its own, in one process or several::

    torchrun --nproc-per-node 4 -m baselines.densevlm --base EVA02-B-16 --base-weights merged2b_s8b_b131k \\
        --powerful EVA02-L-14-336 --powerful-weights clipself_l14.pt --images coco/train2017 --out aligned \\
        -o preset=as_released

Options are those of :class:`baselines.densevlm.options.DenseVLMOptions`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.errors import ReproError
from repro.methods.options import parse_options
from repro.runtime import prepare

SUFFIXES = (".jpg", ".jpeg", ".png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one alignment; returns the exit code of ``repro`` for the same error."""
    prepare()
    parser = argparse.ArgumentParser(
        prog="python -m baselines.densevlm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, text in (("base", "the model that is trained"), ("powerful", "the frozen model regions are named by")):
        parser.add_argument(f"--{name}", required=True, metavar="MODEL", help=text)
        parser.add_argument(f"--{name}-weights", metavar="W", help="open_clip tag or file (default: random, a trial)")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="unlabelled images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the aligned tower")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("-o", "--option", action="append", default=[], metavar="KEY=VALUE", help="repeatable")
    options = parser.parse_args(arguments)
    try:
        _align(options)
    except ReproError as error:
        print(f"densevlm: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _align(arguments: argparse.Namespace) -> None:
    import torch
    import torch.distributed as dist

    from baselines.densevlm import ALIGNMENT
    from baselines.densevlm.train import align
    from repro.clip.spec import TowerSpec

    options = ALIGNMENT.make_options(parse_options(arguments.option))
    base, powerful = (
        TowerSpec(model, weights, resolution=options.image_size, dense_residual="token", drop_remainder=True)
        for model, weights in (
            (arguments.base, arguments.base_weights),
            (arguments.powerful, arguments.powerful_weights),
        )
    )
    images = sorted(p for p in arguments.images.glob("*") if p.suffix.lower() in SUFFIXES)
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    device = "cpu" if arguments.device == "cpu" or not torch.cuda.is_available() else "cuda"
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if together:
        dist.init_process_group("nccl" if device != "cpu" else "gloo")
    try:
        align(
            base,
            powerful,
            options,
            images,
            arguments.out,
            seed=arguments.seed,
            device=device,
            cache=arguments.out / "text",
            progress=_show,
        )
    finally:
        if together:
            dist.destroy_process_group()


def _show(step: int, total: int, figures: Mapping[str, float]) -> None:
    if step % 50 == 0 or step == total:
        print(f"{step}/{total} loss {figures['loss']:.4f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
