"""``repro doctor``: environment, hardware, versions, weights and what can run here."""

from __future__ import annotations

import argparse
from typing import Any

from repro.api.doctor import OPTIONAL, examine
from repro.cli import common


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``doctor``."""
    common.declare(parser, "runs", "json")
    parser.set_defaults(execute=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print the report; exit code 5 where training or evaluation cannot run at all."""
    facts = examine(options.runs)
    common.answer(options, lambda: facts, lambda: _print(facts))
    return 0 if facts["can"]["evaluate"] else 5


def _print(facts: dict[str, Any]) -> None:
    cpu, torch = facts["cpu"], facts["torch"]
    print(f"CPU         {cpu['name']}, {cpu['cores']} cores, {cpu['memory_gib']} GiB")
    if torch["imports"]:
        gpus = (
            ", ".join(f"{g['name']} ({g['memory_gib']} GiB)" for g in torch["gpus"])
            or "none: everything runs on the CPU"
        )
        print(f"GPU         {gpus}")
        print(f"torch       {torch['version']}, CUDA {torch['cuda'] or 'none'}, {torch['threads']} threads")
    else:
        print(f"torch       cannot be imported: {torch['error']}")
    print(f"disk free   {facts['disk_free_gib']} GiB")
    print("packages    " + ", ".join(f"{k} {v or 'absent'}" for k, v in facts["python"].items()))
    for name, present in facts["optional"].items():
        purpose, mend = OPTIONAL[name]
        print(f"{name:<11} {'present' if present else 'absent: ' + mend} ({purpose})")
    for title, state in facts["weights"].items():
        print(f"weights     {title}: {state}")
    print("methods     " + ", ".join(facts["methods"]))
    print("can         " + ", ".join(f"{k}: {'yes' if v else 'no'}" for k, v in facts["can"].items()))
