"""A page of the docs that is a complete package: its files are written down, installed, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import repro

DOCS = Path(repro.__file__).parents[1] / "docs"


def blocks(page: str) -> dict[str, str]:
    """Return the files of a page by path: fenced blocks, as far in as a list has them, that begin with ``# PATH``."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^( *)```\w+\n *# (\S+)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return {path: re.sub(f"^{margin}", "", block, flags=re.MULTILINE) for margin, path, block in found}


def install(page: str, folder: Path) -> Path:
    """Write the files of ``page`` into ``folder`` and install the package into ``folder/site``; return ``folder``."""
    for path, text in blocks(page).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    words = ["install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", "site", "."]
    subprocess.run([sys.executable, "-m", "pip", *words], cwd=folder, check=True, timeout=900)
    return folder


def run(project: Path, *words: str) -> str:
    """Run ``python -m words`` where the package of ``project`` is installed; return what it prints."""
    paths = [str(project / "site"), str(DOCS.parent), os.environ.get("PYTHONPATH", "")]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    settings.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=project, env=settings, text=True, capture_output=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
