"""mmsegmentation and detectron2 where they are installed, and one clear error where they are not."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io

from repro.errors import ResourceError
from repro.mends import install
from repro.runtime import import_torchvision

INSTALL = {
    "mmseg": install("train"),
    "detectron2": install("detectron2") + " && pip install --no-build-isolation --no-deps PATH_TO_DETECTRON2",
}
"""Import name of a library -> how it is installed (docs/interop.md)."""


def need(library: str) -> None:
    """Import ``library``, one of :data:`INSTALL`, beside any torch. Raises ResourceError where it is absent or broken.

    What it prints when it is imported is dropped: only results belong on stdout.
    """
    if importlib.util.find_spec(library) is None:
        raise _absent(library, f"no module named {library}")
    import_torchvision()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(library)
    except ImportError as error:
        raise _absent(library, error) from error


def _absent(library: str, found: object) -> ResourceError:
    return ResourceError(
        f"this needs {library}, which is not installed", expected=library, found=found, mend=INSTALL[library]
    )
