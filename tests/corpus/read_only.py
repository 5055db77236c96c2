"""Runs commands in folders that may not be written, without the rights of root; prints their exit codes and errors."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

NOBODY = 65534


def main() -> int:
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
    import corpus
    from bad_files import torch_bytes

    from repro.cli.main import main as command

    closed, (photo, weights) = folder / "closed", (folder / "photo.png", folder / "strange.pth")
    closed.mkdir()
    corpus._photo(photo)
    weights.write_bytes(torch_bytes({"epoch": 1}))
    corpus.ade_set(folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (folder / "secret.png").touch()
    (folder / "secret.png").chmod(0)
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.chdir(closed)
    data = str(folder / "data")
    words = {
        "run": corpus.run_words(closed),
        "eval": corpus.eval_words(folder, "none"),
        "prepare": ["data", "prepare", "A-150", "--data-root", data],
        "verify": ["data", "verify", "A-150", "--data-root", data, "--out", str(closed / "reports")],
        "synth": ["data", "synth", "--profile", "smoke", "--out", str(closed / "data")],
        "import-checkpoint": ["import-checkpoint", str(folder / "secret.png"), "--out", str(closed / "out")],
        "predict": corpus.predict_words(closed, "--image", str(photo), "--classes", "cat"),
        "predict of a secret": corpus.predict_words(closed, "--image", str(folder / "secret.png"), "--classes", "cat"),
        "train": ["train", "catseg", "--profile", "smoke", "--runs", str(closed / "runs"), "--device", "cpu"],
    }
    result = {}
    for name, arguments in words.items():
        error = io.StringIO()
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            try:
                code = command(arguments)
            except Exception as defect:  # noqa: BLE001 (the claim is that there is none)
                code = repr(defect)
        result[name] = [code, error.getvalue()]
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
