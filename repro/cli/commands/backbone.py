"""Options that swap the backbone of ``run``, ``report``, ``train``, ``eval`` and ``predict``; ``repro backbone``."""

from __future__ import annotations

import argparse
import dataclasses

from repro.cli import common
from repro.methods.backbones import FORMS
from repro.requests import ProfileRequest


def add_options(parser: argparse.ArgumentParser, *, tower: bool = False) -> None:
    """Declare ``--backbone`` and what belongs to it; with ``tower`` also which tower it replaces."""
    group = parser.add_argument_group("backbone swap (docs/backbones.md)")
    group.add_argument(
        "--backbone",
        metavar="SOURCE:WHAT",
        help="another CLIP in place of the tower, e.g. densevlm:FILE, clipself:FILE, openclip:MODEL/TAG, eva:MODEL/TAG",
    )
    group.add_argument(
        "--dense-residual",
        choices=("cls", "token"),
        help="residual of the dense last block: the class token (as CAT-Seg released) or each token's own",
    )
    group.add_argument(
        "--zero-shot-bar",
        type=float,
        metavar="R",
        help="refuse to train on a backbone whose dense features are not R times better than chance (0: never refuse)",
    )
    if tower:
        group.add_argument("--tower", default="base", help="the tower of the profile that is replaced (default: base)")


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``repro backbone``."""
    parser.add_argument("backbone", nargs="?", metavar="SOURCE:WHAT", help=f"{FORMS} (default: the profile's tower)")
    common.declare(parser, "runs", "profile", "data-root", "tower", tower="the tower that it replaces (default: base)")
    parser.add_argument("--dense-residual", choices=("cls", "token"), help="residual of the dense last block")
    parser.add_argument("--zero-shot-bar", type=float, metavar="R", help="times chance (default: the profile's)")
    common.declare(parser, "device", "json")
    parser.epilog = "Exit code 4 where a training on it would be refused."
    parser.set_defaults(execute=show)


def show(options: argparse.Namespace) -> int:
    """Measure the class signal of a backbone's dense features on the training set and judge it."""
    from repro.runs.assets import Assets
    from repro.runs.gates.class_signal import measured_signal, refuse_without_signal, signal_text

    profile = common.request(ProfileRequest, options).load()
    assets = Assets(profile, options.runs, options.data_root)
    title = profile.towers[options.tower].title
    with common.stdout_to_stderr():
        signal = measured_signal(assets, options.tower, common.choose_device(options.device))
    bar = signal.bar(profile.zero_shot_bar)
    spec = dataclasses.asdict(assets.tower_spec(options.tower))
    figures = {"tower": title, "spec": spec, **dataclasses.asdict(signal), "chance": signal.chance, "bar": bar}
    common.answer(options, lambda: figures, lambda: print(f"{title}: {signal_text(signal)}; bar {100 * bar:.2f} %"))
    refuse_without_signal(signal, profile.zero_shot_bar, title, "a training")
    return 0
