"""Files of torch that hold more than tensors: which class they ask for, and a copy without it where one trusts them.

Nothing here unpickles anything; this program reads tensors and plain values only.
"""

from __future__ import annotations

import re
from pathlib import Path

from repro.errors import command

# How torch's and our own restricted unpicklers say what they refuse.
_REFUSED = (
    r"GLOBAL (\S+) (?:was not an allowed|whose module)",
    r"but got (?:<class '([^']+)'>|(\S+))",
    r"the archive asks for ([^\s,]+)",
    r"[Uu]nrecognized function (?:<[^>]*function (\S+)[^>]*>|(\S+))",
)
_PICKLE = (
    "import sys, torch; v = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    "v = next((v[k] for k in ('model', 'state_dict', 'module') if isinstance(v, dict) and k in v), v); "
    "v = v.state_dict() if hasattr(v, 'state_dict') else v; "
    "torch.save({k: torch.as_tensor(t) for k, t in v.items() if isinstance(t, torch.Tensor) "
    "or getattr(getattr(t, 'dtype', 0), 'kind', '') in tuple('biuf')}, open(sys.argv[2], 'xb'))"
)
_ARCHIVE = (
    "import sys, torch; v = torch.jit.load(sys.argv[1], map_location='cpu'); "
    "torch.save(v.state_dict(), open(sys.argv[2], 'xb'))"
)


def refused_class(error: BaseException) -> str | None:
    """Return the class or function for which reading was refused with ``error``; None where the fault is another."""
    for pattern in _REFUSED:
        if match := re.search(pattern, str(error)):
            return next(name for name in match.groups() if name)
    return None


def what_is_refused(name: str) -> str:
    """Return what a file with the class ``name`` is, in words."""
    return f"a pickle that asks for {name}, which is not a tensor; nothing of it was run"


def plain_copy(path: Path, *, archive: bool = False, imports: bool = True) -> str:
    """Say how to turn the file ``path`` into a plain state dict (and import it), as commands to paste.

    ``archive``: it is TorchScript. The command unpickles, which runs code of the file: that is said.
    """
    plain = path.with_name(f"{path.stem}-plain.pth")
    copy = command("python", "-c", _ARCHIVE if archive else _PICKLE, path, plain)
    lines = copy + (f" && {command('repro', 'import-checkpoint', plain)}" if imports else "")
    return f"where its code is installed and you trust it (this runs code of the file), make a plain copy: {lines}"
