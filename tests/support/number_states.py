"""The gate on numbers in a copy of the source tree: the first tensor that an edit changes in a piece of its work."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from code_states import MARK, Trial, apply, copy_tree, in_tree, preload
from edits import Edit


class Numbers(Trial):
    """A copy of the tree in which edits are tried."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, __file__)


def first_difference(piece: str) -> dict[str, Any]:
    """What the gate says of one piece: verdict and first difference."""
    from repro.runs.gates.numeric import NumericRequest, check_numeric

    (judged,) = check_numeric(NumericRequest(only=(piece,))).judged
    return {"answer": [judged.verdict, judged.first]}


def main(folder: Path) -> None:
    """Answer an edit and a piece on stdin, one pair a line, with what the gate says of it."""
    preload()
    tree = copy_tree(folder / "tree")
    print(MARK + json.dumps(["ready"]), flush=True)
    for line in sys.stdin:
        *edit, piece = json.loads(line)
        back = apply(tree, Edit(*edit))
        try:
            found = in_tree(tree, lambda piece=piece: first_difference(piece))  # type: ignore[misc]
        finally:
            back()
        print(MARK + json.dumps(found.get("answer", ["failed", str(found)])), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
