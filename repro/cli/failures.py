"""What the machine or the system refuses, as errors of the family: told apart from defects of this program."""

from __future__ import annotations

from repro.errors import ReproError, ResourceError, UsageError
from repro.mends import install

_TRAINING = ("mmengine", "mmcv", "mmseg")
_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "DefaultCPUAllocator")


def explain(error: Exception) -> ReproError | None:
    """Return the clear error for ``error``; None for a defect, whose traceback should be seen."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in str(error) for w in _MEMORY)):
        return ResourceError(
            "not enough memory",
            expected="the budgets of docs/survival.md",
            found=(str(error) or type(error).__name__).splitlines()[0],
            mend="close other programs, choose smaller images or fewer classes, or another --device",
        )
    if isinstance(error, UnicodeError) or (isinstance(error, ValueError) and "null byte" in str(error)):
        return UsageError(
            "a name or path holds characters that no file can have",
            expected="text in UTF-8 without zero bytes",
            found=str(error),
            mend="check the words of the command and the names of its files",
        )
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return ResourceError(
            f"the system refuses to read or write{place}",
            expected="a file or folder this user may use",
            found=error.strerror or str(error),
            mend="check the paths of the command, their permissions and the disk",
        )
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] in _TRAINING:
        return ResourceError(
            f"this needs {error.name}, which is not installed: it comes with what training needs",
            expected="the extra `train`",
            found=str(error),
            mend=install("train"),
        )
    return None
