"""Whether a folder that a command is about to fill can be written, and has the room."""

from __future__ import annotations

import os
from pathlib import Path

from repro.errors import ResourceError
from repro.files import check_room, nearest_there


def check_folder(folder: Path, size: int, option: str = "--out") -> None:
    """Raise ResourceError where ``folder``, there or not, cannot be written or has no room for ``size`` bytes.

    ``option`` is the one that names another folder.
    """
    base = nearest_there(folder)
    if not base.is_dir() or not os.access(base, os.W_OK):
        raise ResourceError(
            f"cannot write {folder}",
            expected="a folder this user may write to",
            found=f"{base} is {'read-only' if base.is_dir() else 'a file'}",
            mend=f"name another folder with {option}",
        )
    mend = f"free some space, or name a folder on another disk with {option}"
    check_room(folder, size + 2**20, str(folder), mend=mend)
