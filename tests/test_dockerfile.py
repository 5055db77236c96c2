"""The recipe of the Dockerfile's CPU target, followed in a plain virtual environment in place of an image."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()


def stage(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage and of those it is built on, as (INSTRUCTION, rest)."""
    words = [tuple(line.split(maxsplit=1)) for line in LINES if line.strip() and not line.startswith("#")]
    begin = next(i for i, (what, rest) in enumerate(words) if what == "FROM" and rest.endswith(f" AS {name}"))
    rest_of = words[begin + 1 :]
    end = next((i for i, (what, _) in enumerate(rest_of) if what == "FROM"), len(rest_of))
    base = words[begin][1].split()[0]
    own = [(what, rest) for what, rest in rest_of[:end]]
    return (stage(base) if any(line.endswith(f" AS {base}") for line in LINES) else []) + own


def of(instructions: list[tuple[str, str]], what: str) -> list[str]:
    return [rest for name, rest in instructions if name == what]


def checkout(folder: Path) -> Path:
    """A copy of what git tracks or would track: what `COPY . .` brings."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() or source.is_file():
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


def test_both_targets_install_the_same_package_with_the_pinned_versions() -> None:
    for name in ("cpu", "cuda"):
        instructions = stage(name)
        installs = [run for run in of(instructions, "RUN") if run.startswith("pip install")]
        assert len(installs) == 1
        assert installs[0].endswith("'.[train]' -c constraints.txt")
        assert "libgl1" in "".join(of(instructions, "RUN"))
        assert of(instructions, "ENTRYPOINT") == ['["repro"]']
        assert of(instructions, "WORKDIR")[-1] == "/work"


@pytest.mark.long
def test_the_recipe_of_the_cpu_target_ends_with_a_table(tmp_path: Path) -> None:
    instructions, venv, work = stage("cpu"), tmp_path / "venv", tmp_path / "work"
    source = checkout(tmp_path / "source")
    work.mkdir()
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTEST_ADDOPTS")}
    env = {**kept, "PATH": f"{venv / 'bin'}:{kept['PATH']}", "OMP_WAIT_POLICY": "PASSIVE"}
    for run in of(instructions, "RUN"):
        if run.startswith("apt-get"):  # what a system brings
            continue
        here = run.replace("/opt/venv", str(venv)).replace("python -m venv", f"{sys.executable} -m venv", 1)
        subprocess.run(["bash", "-euc", here], cwd=source, env=env, check=True)
    (start,), (words,) = of(instructions, "ENTRYPOINT"), of(instructions, "CMD")
    done = subprocess.run([*json.loads(start), *json.loads(words)], cwd=work, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "CLIP (zero-shot" in done.stdout
    assert {path.name for path in work.iterdir()} == {"runs", "results"}
