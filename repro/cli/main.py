"""The command line: ``repro COMMAND``. Each command group is one module; none is imported before it is needed."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

import repro
from repro import preemption
from repro.cli.failures import explain
from repro.errors import Preempted, ReproError, unknown_name
from repro.runtime import prepare

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "make a table: train and evaluate what is missing, then write CSV, LaTeX and Markdown"),
    "rehearse": ("rehearse", "rehearse a table: a few real steps and images per row, its hours, what would fail"),
    "report": ("report", "write a table, its page, plots and numbers from finished cells"),
    "train": ("train", "train one method with a profile's recipe"),
    "tune": ("tune", "search training settings, the same for every method, on held-out training scenes"),
    "eval": ("evaluate", "evaluate one method on benchmarks"),
    "score": ("score", "score predictions of other code: label maps, arrays or detectron2's JSON"),
    "predict": ("predict", "write label maps and overlays for your own images and classes"),
    "weights": ("weights", "list published weights, and download one"),
    "import-checkpoint": ("checkpoint", "import a checkpoint from other code, recognised by its content"),
    "export-checkpoint": ("checkpoint", "write weights under the names of the method's authors"),
    "backbone": ("backbone", "check whether a CLIP's dense features tell classes apart, before training on it"),
    "figures": ("figures", "draw saliency, prediction and correlation maps of trained runs"),
    "bench": ("bench", "measure time and memory of inference over methods, classes, image sizes and batches"),
    "data": ("data", "draw the miniature, prepare and verify data sets, make labels from captions"),
    "mini": ("mini", "the miniature: its CLIP towers, and what papers take for granted of CLIP"),
    "compare": ("compare", "compare two runs: paired differences with intervals and p-values"),
    "check": ("check", "the regression gate: compare a table with its reference values"),
    "runs": ("runs", "list runs and their disk use; remove checkpoints by rule, never results"),
    "coverage": ("coverage", "list every table, figure and claim of the papers with its command and state"),
    "list": ("describe", "list every table, method, benchmark and profile"),
    "describe": ("describe", "explain one table, method, benchmark, profile or run"),
    "doctor": ("doctor", "report environment, hardware, versions and what can run"),
}
COMPLETION = "--print-completion"
EPILOG = """\
examples:
  repro run table1                  the miniature: data, CLIP, training and table, on a CPU
  repro run table1 --dry-run        what is done, what is missing, how long it takes
  repro run table1 --profile paper --data-root DATA --dry-run
  repro doctor

exit codes: 0 done; 1 part of the work failed; 2 usage; 3 data; 4 weights; 5 machine (disk, memory, packages);
6 run state; 75 ended by SIGTERM or SIGUSR1, 130 by Ctrl-C (run the same command again to continue)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (see ``repro --help``). Logs go to stderr, results to stdout."""
    prepare()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may hold bytes that are not text
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser, chosen = make_parser(words)
    try:
        if chosen is not None and chosen not in COMMANDS:
            raise unknown_name("command", chosen, COMMANDS, mend="repro --help")
        options = parser.parse_args(words)
        options.words = words
        preemption.install()
        code: int = options.execute(options)
    except ReproError as error:
        print(f"repro: error: {error}", file=sys.stderr)
        return error.exit_code
    except Preempted as error:
        print(f"\nrepro: ended by {error}; run the same command again to continue", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nrepro: interrupted; finished work is kept, run the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        print(f"repro: error: {known}", file=sys.stderr)
        return known.exit_code
    return code


def make_parser(words: Sequence[str]) -> tuple[argparse.ArgumentParser, str | None]:
    """Make the parser for ``words``, and say which command they name (None: none). Its module alone is imported."""
    parser = argparse.ArgumentParser(
        prog="repro",
        description="Trains, evaluates and compares open-vocabulary segmentation methods under one protocol.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"repro {repro.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    completion = any(w.startswith(COMPLETION) for w in words[:1])
    chosen = None if completion else next((w for w in words if not w.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if completion or name == chosen:
            importlib.import_module(f"repro.cli.commands.{module}").configure(sub, name)
    if completion:
        import shtab

        shtab.add_argument_to(parser, COMPLETION)
    else:
        shells = "bash, zsh, tcsh or fish (docs/getting-started.md)"
        parser.add_argument(COMPLETION, metavar="SHELL", help=f"print what completes commands and options in {shells}")
    return parser, chosen


if __name__ == "__main__":
    sys.exit(main())
