"""``--launcher``: the options of ``run``, ``train`` and ``eval`` that start the command elsewhere, and what they do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro import ranks
from repro.cli import common
from repro.errors import UsageError, command
from repro.hardware import choose_device, cpu_count, free_memory_gib
from repro.launch.job import MARK, Job, Launch, Outcome
from repro.training.boards import check_boards
from repro.training.determinism import WORKSPACE, WORKSPACE_VALUE
from repro.training.settings import Placement

if TYPE_CHECKING:
    from repro.configuration.profiles import Profile
    from repro.runs.plan import Plan

GIB_PER_RUN = 2
"""Free memory that a run beside others must find, in GiB."""


def add_options(parser: argparse.ArgumentParser, launchers: Sequence[str]) -> None:
    """Add the options for where the command runs, and how a training is fitted to the machine (docs/scaling-out.md)."""
    _add_launcher(parser, launchers)
    group = parser.add_argument_group("memory and determinism (docs/scaling-out.md)")
    group.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="process the batch in N parts, to save memory"
    )
    group.add_argument(
        "--checkpoint-activations",
        action="store_true",
        help="recompute activations in the backward pass, to save memory",
    )
    group.add_argument("--deterministic", action="store_true", help="use deterministic GPU kernels only (slower)")
    group.add_argument("--compile", action="store_true", help="use torch.compile (docs/performance.md)")
    group.add_argument(
        "--channels-last", action="store_true", help="store weights of convolutions in channels-last layout"
    )
    group.add_argument(
        "--vis-backends",
        type=common.names,
        metavar="B,..",
        help="where the curve of a training goes: tensorboard (default, if installed), wandb, mlflow, none "
        "(docs/getting-started.md)",
    )


def _add_launcher(parser: argparse.ArgumentParser, launchers: Sequence[str]) -> None:
    group = parser.add_argument_group("many devices (docs/scaling-out.md)")
    group.add_argument("--launcher", choices=launchers, help="how to start the work outside this process")
    group.add_argument(
        "--gpus",
        metavar="N|I,J,..",
        help="torchrun, slurm: number of processes on each machine, one per GPU (with --device cpu: on the CPU); "
        "local: the GPUs to use, one run per GPU",
    )
    group.add_argument("--max-parallel", type=int, default=0, metavar="N", help="runs at the same time")
    group.add_argument("--nodes", type=int, default=1, metavar="N", help="number of machines that share a run")
    group.add_argument(
        "--rendezvous", default="", metavar="HOST:PORT", help="torchrun on several machines: address of one of them"
    )
    group.add_argument("--partition", default="", metavar="P", help="slurm: the partition")
    group.add_argument("--time", type=int, default=24 * 60, metavar="MIN", help="slurm: time limit of a job in minutes")
    group.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="slurm: another option of sbatch (repeatable)"
    )


def add_amp_option(parser: argparse.ArgumentParser) -> None:
    """Add the precision of a training; it belongs to its recipe."""
    parser.add_argument(
        "--amp", choices=("off", "bf16", "fp16"), help="train in this precision (this is a different recipe and run)"
    )


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Return settings of the training that the options replace."""
    given = {"iterations": getattr(options, "iterations", None), "amp": getattr(options, "amp", None)}
    return {name: value for name, value in given.items() if value}


def placement(options: argparse.Namespace) -> Placement:
    """Return how a training is fitted to the machine; UsageError for what cannot be."""
    if options.accumulate < 1:
        raise UsageError("a batch has at least one part", expected="--accumulate 1 or more", found=options.accumulate)
    if options.deterministic:
        os.environ.setdefault(WORKSPACE, WORKSPACE_VALUE)  # cuBLAS reads it once, at its first product
    boards = getattr(options, "vis_backends", None)
    return common.request(Placement, options, vis_backends=None if boards is None else check_boards(boards))


def chosen(options: argparse.Namespace) -> Launch | None:
    """Return what ``--launcher`` and its companions ask for; None without it, and in the processes it started.

    Raises UsageError for companions that do not belong to it.
    """
    if ranks.started() > 1:
        return None
    name = options.launcher
    _refuse_others(options, name)
    if options.max_parallel < 0:
        raise UsageError("a place holds one run", expected="--max-parallel 1 or more", found=options.max_parallel)
    if name is None:
        return None
    gpus = _numbers(options.gpus)
    local = name == "local"
    if not local and len(gpus) > 1:
        raise UsageError(
            f"{command('--launcher', name)} takes a number of GPUs",
            expected="--gpus 2, for example",
            found=command("--gpus", options.gpus),
        )
    if not local and gpus and gpus[0] < 1:
        raise UsageError("a run needs a process", expected="--gpus 1 or more", found=options.gpus)
    if name == "torchrun" and options.nodes > 1 and not options.rendezvous:
        raise UsageError(
            "several machines must know where to meet",
            expected="--rendezvous HOST:PORT, the same on all of them",
            found="none",
            mend="name one of the machines and a free port of it",
        )
    return Launch(
        launcher=name,
        gpus=gpus if local else (),
        processes=1 if local or not gpus else gpus[0],
        max_parallel=options.max_parallel,
        nodes=options.nodes,
        rendezvous=options.rendezvous,
        partition=options.partition,
        minutes=options.time,
        cpu_only=options.device == "cpu",
        slurm=dict(_pair(text) for text in options.slurm),
    )


def side_by_side(options: argparse.Namespace, plan: Plan, open_runs: int) -> Launch | None:
    """Return how the runs of a table are computed side by side without a launcher; None where they are not.

    As many as ``--max-parallel`` says; without it one per core where the profile says that a run is small
    (``one_run_per_core``) and there is no GPU: two trainings of one thread each take less time than one after the other
    with two.
    """
    if options.only:
        return None
    if options.max_parallel:
        return at_once(options.max_parallel, options.device, open_runs)
    return one_per_core(plan.profile, options.device, open_runs)


def at_once(asked: int, device: str, runs: int) -> Launch | None:
    """Return how ``asked`` of so many ``runs`` are computed at the same time; None where that is one after another."""
    count = min(asked, runs)
    return None if count < 2 else Launch("local", max_parallel=count, cpu_only=device == "cpu")


def one_per_core(profile: Profile, device: str, runs: int) -> Launch | None:
    """Return how so many ``runs`` of ``profile`` are computed side by side; None where they are not."""
    if not profile.one_run_per_core or ranks.started() > 1:
        return None
    count = min(cpu_count(), runs, int(free_memory_gib() // GIB_PER_RUN))
    if count < 2 or choose_device(device) != "cpu":
        return None
    return Launch("local", max_parallel=count, cpu_only=True)


def _refuse_others(options: argparse.Namespace, name: str | None) -> None:
    belongs: dict[str, tuple[str | None, ...]] = {
        "gpus": ("local", "torchrun", "slurm"),
        "max_parallel": ("local", "slurm", *((None,) if hasattr(options, "table") else ())),
        "nodes": ("torchrun", "slurm"),
        "rendezvous": ("torchrun",),
        "partition": ("slurm",),
        "time": ("slurm",),
        "slurm": ("slurm",),
    }
    defaults = {"max_parallel": 0, "nodes": 1, "rendezvous": "", "partition": "", "time": 24 * 60, "slurm": []}
    for option, launchers in belongs.items():
        if getattr(options, option) != defaults.get(option) and name not in launchers:
            raise UsageError(
                f"--{option.replace('_', '-')} has no use here",
                expected=" or ".join(command("--launcher", n) for n in launchers if n),
                found=command("--launcher", name) if name else "no --launcher",
                mend="leave it out",
            )


def _numbers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in (text or "").replace(",", " ").split())
    except ValueError as error:
        raise UsageError("--gpus takes numbers", expected="--gpus 2 or --gpus 0,1", found=text) from error


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError("--slurm takes KEY=VALUE", expected="--slurm account=mine", found=text)
    return key.lstrip("-"), value


def own_words(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the words of this command line without those that launch."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_launcher(parser, ("local", "torchrun", "slurm"))
    return tuple(parser.parse_known_args(options.words)[1])


def start(options: argparse.Namespace, how: Launch, runs: Path, name: str) -> int:
    """Run this very command by ``how`` (torchrun or slurm) and return its exit code; what it prints is printed."""
    words = own_words(options)
    if how.launcher == "torchrun":
        from repro.launch import torchrun

        return torchrun.run(words, how)
    from repro.launch import slurm

    ended: list[Outcome] = []
    folder = runs / "cache" / "launch" / name
    slurm.run(
        [Job(name, words)],
        how,
        folder,
        lambda _, place: common.log(f"submitted as {place}; logs in {folder}"),
        lambda _, outcome: ended.append(outcome),
    )
    sys.stdout.write(ended[0].out)
    if ended[0].code:
        print(f"{MARK}{ended[0].reason}", file=sys.stderr)
    return ended[0].code


def torchrun_words(options: argparse.Namespace, how: Launch) -> tuple[str, ...]:
    """Return the words of one run of a grid whose runs are divided over processes, each by an agent of its own."""
    extra: list[Any] = ["--launcher", "torchrun", "--gpus", how.processes]
    return (*own_words(options), *map(str, extra))
