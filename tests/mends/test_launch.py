"""Launchers, packages and the machine: the ways out where something is not here."""

from __future__ import annotations

import contextlib
import errno
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mend_places import ROOT
from talk import Talk, options, ours, way

SMOKE = ["--profile", "smoke"]
RUN = ["run", "table1", *SMOKE, "--dry-run"]
LEFT_OUT = [  # place, a call, the words that the mend says to leave out
    way("repro.cli.commands.run:run#2", ["run", "densevlm-table1", *SMOKE, "--dry-run"], ["--launcher", "local"]),
    way("repro.cli.launching:_refuse_others", RUN, ["--gpus", "1"]),
    way("repro.api.table_options:refuse_options", ["run", "densevlm-table1", *SMOKE, "--dry-run"], ["--repeat", "5"]),
    way("repro.cli.commands.run:run#1", [*RUN[:-1], "--methods", "nothing"], ["--calibrate"]),
    way("repro.runs.data:Data.__init__", RUN, ["--data-root", "."]),
]


@pytest.mark.parametrize(("call", "extra"), LEFT_OUT)
def test_what_has_no_use_is_left_out(talk: Talk, call: list[str], extra: list[str]) -> None:
    if "--calibrate" in extra:
        call = RUN[:-1]
    mend = talk.refused(*call, *extra)
    assert "leave" in mend
    assert "out" in mend
    if "repro describe" in mend:
        talk.succeeds(*ours(mend))
    talk.succeeds(*call, *([] if "--dry-run" in call else ["--dry-run"]))


@pytest.mark.follows("repro.cli.launching:chosen")
def test_machines_meet_at_the_host_that_is_named(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    from repro.cli import launching

    started: list[Any] = []
    monkeypatch.setattr(launching, "start", lambda _, how, *__: started.append(how) or 0)
    words = ["train", "catseg", *SMOKE, "--launcher", "torchrun", "--nodes", "2"]
    assert "free port" in talk.refused(*words)
    talk.succeeds(*words, "--rendezvous", "localhost:29511")
    assert started[0].rendezvous == "localhost:29511"


@pytest.mark.follows("repro.methods.options:parse_options")
def test_an_option_is_given_as_a_name_and_a_value(talk: Talk) -> None:
    mend = talk.refused("train", "catseg", *SMOKE, "-o", "hidden")
    form = mend.split()[1].replace("name", "hidden").replace("value", "32")
    talk.goes_on("train", "catseg", *SMOKE, mend.split()[0], form, "--device", "cuda:77")
    assert "no such GPU" in talk.error


@pytest.mark.follows("repro.api.running:trainable_run")
def test_what_is_not_trained_is_evaluated_by_the_command(talk: Talk) -> None:
    talk.refused("train", "clip", *SMOKE, "--runs", "my runs", "--tower", "powerful")
    talk.succeeds(*ours(talk.mend), "--benchmarks", "PAS-20", "--device", "cpu")
    assert list(Path("my runs").glob("clip-*/eval/PAS-20/metrics.json"))


@pytest.mark.follows("repro.api.drawing:draw_data")
def test_a_profile_that_draws_is_named(talk: Talk) -> None:
    mend = talk.refused("data", "synth", "--profile", "paper", "--out", "data")
    assert options(mend) == ["--profile", "mini"]
    from repro.configuration.profiles import load_profile

    assert load_profile("mini").synthetic


@pytest.mark.follows("repro.mini.synth:_clear")
def test_another_folder_than_one_with_own_sets_is_drawn_into(talk: Talk) -> None:
    from repro.mini.synth import MiniSizes, synth

    Path("data/ADEChallengeData2016").mkdir(parents=True)
    sizes = MiniSizes(train=1, ade=1, context=1, voc=1)
    assert "name another folder with --out" in talk.refused_by(lambda: synth(Path("data"), 0, sizes))
    synth(Path("other"), 0, sizes)


# -- packages ----------------------------------------------------------------------------------------------------------
def absent(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the import of these packages fail."""
    for name in [m for m in sys.modules if m.split(".")[0] in names]:
        monkeypatch.delitem(sys.modules, name)
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def map_panels() -> None:
    from repro.reports.figures.maps import panels

    panels(1, 1, (4, 4))


def plots() -> None:
    from repro.reports.figures.plots import write_plots

    with contextlib.suppress(AttributeError):  # past the import it asks for evidence
        write_plots(SimpleNamespace(), Path("plots"))  # type: ignore[arg-type]


def qualitative() -> None:
    from repro.reports.figures.draw import FiguresRequest, draw_figures

    draw_figures(FiguresRequest(Path("figures"), "qualitative"))


def pipeline() -> None:
    from repro.training.pipeline import build_pipeline
    from repro.training.settings import TrainSettings

    build_pipeline(TrainSettings())


def slurm() -> None:
    from repro.launch.job import Launch
    from repro.launch.slurm import _executor

    _executor(Launch("slurm", cluster="local", cpu_only=True), Path("logs"))


PACKAGES = [
    way("repro.reports.figures.plot_style:need_matplotlib", map_panels, "matplotlib"),
    way("repro.reports.figures.plot_style:need_matplotlib", plots, "matplotlib"),
    way("repro.reports.figures.plot_style:need_matplotlib", qualitative, "matplotlib"),
    way("repro.training.pipeline:build_pipeline", pipeline, "mmseg"),
    way("repro.launch.slurm:_executor#1", slurm, "submitit"),
]
DISTRIBUTIONS = {"mmseg": "onedl-mmsegmentation"}


def brings(mend: str, package: str) -> bool:
    """Whether what a mend installs, this package or an extra of it, brings the package."""
    asked = re.search(r"pip install .*'?repro-ovseg(?:\[(\w+)\])?'? -c ", mend)
    assert asked, mend
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = project["optional-dependencies"][asked[1]] if asked[1] else project["dependencies"]
    return any(line.startswith(DISTRIBUTIONS.get(package, package)) for line in listed)


@pytest.mark.parametrize(("call", "package"), PACKAGES)
def test_the_extra_of_the_mend_brings_the_package_and_with_it_the_work_goes_on(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, call: Callable[[], None], package: str
) -> None:
    pytest.importorskip(package)
    with monkeypatch.context() as without:
        absent(without, package)
        mend = talk.refused_by(call)
    assert brings(mend, package)
    from repro.errors import ReproError

    try:
        call()
    except ReproError as error:
        assert error.message != talk.message  # noqa: PT017


@pytest.mark.follows("repro.reports.bench:_write")
def test_the_figure_of_timings_is_drawn_once_its_package_is_there(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    import repro.reports.bench as bench

    pytest.importorskip("matplotlib")
    words = [
        "bench",
        *SMOKE,
        "--methods",
        "clip",
        "--classes",
        "2",
        "--sizes",
        "48",
        "--repeat",
        "1",
        "--device",
        "cpu",
    ]
    with monkeypatch.context() as without:
        without.setattr(bench, "write_scaling", lambda *_: (_ for _ in ()).throw(ImportError("matplotlib")))
        mend = talk.refused(*words)
    assert brings(mend, "matplotlib")
    talk.succeeds(*words)


@pytest.mark.follows("repro.runtime:import_torchvision")
def test_torchvision_is_a_dependency_that_the_mend_brings(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from repro.runtime import import_torchvision

    with monkeypatch.context() as without:
        without.delitem(sys.modules, "torchvision", raising=False)
        without.setattr(importlib.util, "find_spec", lambda _: None)
        assert "pip install" in talk.refused_by(import_torchvision)
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(line.startswith("torchvision") for line in listed)
    import_torchvision()


@pytest.mark.follows("repro.captions.phrases:parser_versions", "repro.captions.phrases:_parser")
def test_the_parser_of_captions_is_brought_by_the_extra(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    spacy = pytest.importorskip("spacy")
    from repro.captions import phrases

    real = __import__("importlib.util").util.find_spec
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda n, *p: None if n == "spacy" else real(n, *p))
        assert brings(talk.refused_by(phrases.parser_versions), "spacy")
    phrases._parser.cache_clear()
    with monkeypatch.context() as without:
        without.setattr(spacy, "load", lambda *_, **__: (_ for _ in ()).throw(OSError("damaged")))
        assert brings(talk.refused_by(phrases._parser), "spacy")
    assert "--force-reinstall" in talk.mend
    phrases._parser.cache_clear()
    phrases.parser_versions()


@pytest.mark.follows("repro.launch.slurm:_executor#2")
def test_without_slurm_doctor_says_what_there_is(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    from repro.launch.job import Launch
    from repro.launch.slurm import _executor

    monkeypatch.setenv("PATH", "")
    talk.refused_by(lambda: _executor(Launch("slurm", cpu_only=True), Path("logs")))
    assert "submitit" in talk.succeeds(*ours(talk.mend))


# -- disk and memory ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("code", "says"),
    [
        way("repro.files:_explained#1", errno.ENOSPC, "run the same command again"),
        way("repro.files:_explained#2", errno.EROFS, "name another folder with"),
    ],
)
def test_with_room_or_another_folder_a_file_is_written(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    from repro.files import write_text

    with monkeypatch.context() as full:
        full.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(code, "refused")))
        assert says in talk.refused_by(lambda: write_text(Path("runs/x.txt"), "x"))
    write_text(Path("runs/x.txt"), "x")
    write_text(Path("other/x.txt"), "x")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        way("repro.cli.failures:explain#1", MemoryError(), "fewer classes"),
        way("repro.cli.failures:explain#3", PermissionError(13, "Permission denied", "x"), "permissions"),
    ],
)
def test_what_the_system_refuses_once_it_may_do_later(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    from repro.cli.commands import describe

    with monkeypatch.context() as refused:
        refused.setattr(describe, "catalogue", lambda: (_ for _ in ()).throw(error))
        assert says in talk.refused("list")
    talk.succeeds("list")
