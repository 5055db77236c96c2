"""Runs commands in folders that may not be written, without root's right to do so; prints exit codes and errors."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import struct
import sys
from pathlib import Path

RIGHTS = 0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
_VERSION = 0x20080522


def obey_permissions() -> None:
    """Let the permissions of files bind root too (it stays who it is, and may still read its interpreter)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = ctypes.create_string_buffer(struct.pack("Ii", _VERSION, 0)), ctypes.create_string_buffer(24)
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    words = list(struct.unpack("6I", data.raw[:24]))
    words[0] &= ~RIGHTS
    if libc.capset(header, ctypes.create_string_buffer(struct.pack("6I", *words))):
        raise OSError(ctypes.get_errno(), "capset")


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
        obey_permissions()
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
