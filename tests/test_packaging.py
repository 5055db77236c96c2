"""The wheel holds what a user needs without the checkout; evaluation needs nothing that only training uses."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from repro.cli.failures import explain
from repro.mends import install

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "repro",
    "baselines",
    "disa",
    "configs",
    "results",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "constraints.txt",
)
OF_TRAINING = ("mmengine", "mmcv", "mmseg", "fvcore", "tensorboard", "pkg_resources", "einops")
BLOCKED = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OF_TRAINING}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from repro.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def call(folder: Path, *words: str, code: str = "", path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the package in ``folder``: with ``code`` in place of the package's own start, from ``path``."""
    start = ["-c", code] if code else ["-m", "repro"]
    environment = {**os.environ, **({} if path is None else {"PYTHONPATH": str(path)})}
    return subprocess.run([sys.executable, *start, *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_evaluation_tables_and_predictions_need_nothing_that_only_training_uses(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (60, 50)).save(tmp_path / "photo.png")
    smoke, image = ("--profile", "smoke", "--device", "cpu"), ("--image", "photo.png")
    for words in (
        ("run", "table1", *smoke, "--methods", "clip", "--benchmarks", "PAS-20", "--intervals"),
        ("eval", "catseg", *smoke, "--weights", "none", "--benchmarks", "PAS-20"),
        ("predict", "--method", "disa", *smoke, "--checkpoint", "none", *image, "--classes", "cat,dog", "--out", "out"),
        ("report", "table1", *smoke[:2], "--methods", "clip", "--benchmarks", "PAS-20", "--html", "--figures"),
        ("describe", "catseg"),
    ):  # fmt: skip
        done = call(tmp_path, *words, code=BLOCKED)
        assert done.returncode == 0, (words, done.stderr)
    done = call(tmp_path, "train", "catseg", *smoke, code=BLOCKED)
    assert done.returncode == 5, done.stderr
    assert "mmengine, which is not installed" in done.stderr
    assert install("train") in done.stderr


@pytest.mark.slow
def test_the_wheel_and_the_source_package_run_without_the_checkout(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        more = (
            {"symlinks": True, "ignore": shutil.ignore_patterns("__pycache__", "mini", "smoke")}
            if part == "results"
            else {}
        )
        more = {"symlinks": True, "ignore": shutil.ignore_patterns("__pycache__")} if part == "repro" else more
        copy(ROOT / part, source / part, **more)
    shutil.copytree(ROOT / "results" / "measured", source / "results" / "measured", dirs_exist_ok=True)
    build = "from setuptools import build_meta as b; print(b.build_wheel('..')); print(b.build_sdist('..'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,), (archive,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    for needed in (
        "repro/_constraints.txt", "repro/_results/numeric.json", "repro/_results/measured/mini/reference.json",
        "repro/_results/measured/mini/weights.json", "repro/testing/methods.py", "repro/_configs/profiles/mini.py",
        "repro/towers/weights/base.safetensors",
    ):  # fmt: skip
        assert needed in names
    for package in (wheel, archive):
        place = tmp_path / package.suffix.strip(".")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(place),
        ]
        done = subprocess.run([*pip, str(package)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        where = call(tmp_path, code="import repro.paths as p; print(p.CONSTRAINTS.is_file(), p.PACKAGE)", path=place)
        assert where.stdout.split() == ["True", str(place / "repro")]
    shutil.rmtree(source)
    words = ("run", "table1", "--profile", "smoke", "--methods", "clip", "--benchmarks", "PAS-20", "--device", "cpu")
    done = call(tmp_path, *words, path=tmp_path / "whl")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "smoke" / "table1.tex").is_file()


@pytest.mark.follows("repro.cli.failures:explain#4")
def test_what_training_lacks_is_said_with_a_command_that_installs_it() -> None:
    error = explain(ModuleNotFoundError("No module named 'mmengine.optim'", name="mmengine.optim"))
    assert error is not None
    words = shlex.split(str(error.mend))
    assert words[:3] == ["pip", "install", "repro-ovseg[train]"]
    assert Path(words[-1]).read_text() == (ROOT / "constraints.txt").read_text()
    assert explain(ModuleNotFoundError("No module named 'absent'", name="absent")) is None
