"""No message holds a command that does something else than it says when it is pasted."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import repro
from repro.errors import ReproError

ROOT = Path(repro.__file__).parents[1]
PACKAGES = ("repro", "baselines", "disa")
NO_MESSAGES = ("repro/cost/machine.py",)
"""Arguments of nvidia-smi, given to it as a list."""
SAFE = {"command", "make_again", "plain_copy", "download_command"}
"""Functions that quote all that they put into a command."""

_HOLE = "\0"
_WORDS = "backbone bench check compare data describe doctor eval export-checkpoint figures import-checkpoint list"
_WORDS += " predict rehearse report run runs score train weights"
_COMMAND = re.compile(
    rf"\brepro (?:{'|'.join(_WORDS.split())})\b[^\0;)]*\0"
    r"|(?<![\w-])(?:pip|python3?|mv|cp|sh|bash|git|wget|curl|tar|unzip|mkdir|cd) [^;]*\0"
    r"|(?<![\w-])--[a-z][a-z-]+[ =]['\"]?\0"
)
_REMOVAL = re.compile(r"(?<![\w-])(?:rm|rmdir|unlink|shred|del) +(?:-|/|\.|~|\0|\S*/|\{)")


def sources() -> list[Path]:
    found = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]
    return [p for p in found if not str(p.relative_to(ROOT)).startswith(NO_MESSAGES)]


def is_safe(value: ast.expr) -> bool:
    """Whether ``value`` is a text made by the functions that quote, or a plain text."""
    called = [n.func for n in ast.walk(value) if isinstance(n, ast.Call)]
    return any(getattr(f, "id", getattr(f, "attr", None)) in SAFE for f in called)


def text_of(node: ast.expr) -> str | None:
    """The text that ``node`` makes, a hole for every value in it that nothing quotes; None where it makes none."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [
            v.value if isinstance(v, ast.Constant) else "" if is_safe(v) else _HOLE
            for v in node.values  # a value with a format is a number: it is a hole all the same
        ]
        return "".join(map(str, parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        if left is None and right is None:
            return None
        sides = [(node.left, left), (node.right, right)]
        return "".join(("" if is_safe(n) else _HOLE) if t is None else t for n, t in sides)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        left = text_of(node.left)
        return left and re.sub(r"%[sdr]", _HOLE, left)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        left = text_of(node.func.value)
        return left and re.sub(r"\{[^}]*\}", _HOLE, left)
    return None


def faults(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.expr) and (text := text_of(node)) and (_COMMAND.search(text) or _REMOVAL.search(text)):
            yield node.lineno, text.replace(_HOLE, "{}")


@pytest.mark.parametrize(
    "line",
    [
        'mend=f"repro data prepare {x} --data-root DIR"',
        'mend=f"repro train {name}, or --weights FILE"',
        'mend="repro import-checkpoint " + str(path)',
        'mend="repro import-checkpoint {}".format(path)',
        'mend="repro import-checkpoint %s" % path',
        'mend=f"--backbone openclip:{model}/.."'.replace("openclip:", ""),
        'mend=f"rm -r {folder}"',
        'mend=f"first rm {path}, then train"',
        'mend="rm ./x"',
        "mend=f\"python -c 'print({x})'\"",
        "mend=f\"repro eval {command('x')} --out {path}\"",
    ],
)
def test_the_search_finds_a_value_that_nothing_quotes(line: str) -> None:
    assert list(faults(f"f({line})"))


@pytest.mark.parametrize(
    "line",
    [
        'mend=command("repro", "data", "prepare", name)',
        "mend=f\"train first: {command('repro', 'train', name)}\"",
        'mend="train first: " + command("repro", "train", name)',
        'mend="repro train METHOD"',
        'message=f"{path} is damaged"',
        'message=f"the norm {value} of the form {x}"',
    ],
)
def test_the_search_finds_nothing_in_what_is_quoted(line: str) -> None:
    assert not list(faults(f"f({line})"))


def test_no_command_in_a_message_holds_an_unquoted_value_and_none_removes_files() -> None:
    found = [f"{p.relative_to(ROOT)}:{line}: {text}" for p in sources() for line, text in faults(p.read_text())]
    assert found == []


# -- messages as they are raised ---------------------------------------------------------------------------------------
NASTY = [
    "my sets",
    "it's",
    'a "b"',
    "$(touch canary)",
    "`touch canary`",
    "a\nb",
    "-rf",
    "x; touch canary",
    "a && b",
    "~",
]


def files_read_json(path: Path) -> None:
    from repro.files import read_json

    path.write_text("{")
    read_json(path)


def files_read_record(path: Path) -> None:
    from repro.files import read_record

    path.write_text("[]")
    read_record(path, "key")


def counts_load(path: Path) -> None:
    from repro.metrics.counts import Counts

    path.write_bytes(b"PK")
    Counts.load(path)


def weights_cut(path: Path) -> None:
    from repro.methods.weights import read_weights

    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])
    read_weights(path)


def weights_foreign(path: Path) -> None:
    from repro.methods.weights import read_weights

    torch.save({"w": torch.zeros(3)}, path)
    read_weights(path)


def weights_with_objects(path: Path) -> None:
    from repro.methods.weights import read_weights

    torch.save({"w": SimpleNamespace(a=1)}, path)
    read_weights(path)


def checkpoint_folder(path: Path) -> None:
    from repro.checkpoints.reading import read_foreign

    path.mkdir()
    (path / f"{path.name}.pth").touch()
    read_foreign(path)


def checkpoint_own(path: Path) -> None:
    from repro.checkpoints.reading import read_foreign

    torch.save({"header": {"method": "clip"}, "state_dict": {}}, path)
    read_foreign(path)


def checkpoint_with_objects(path: Path) -> None:
    from repro.checkpoints.reading import read_foreign

    torch.save({"w": np.array([None], dtype=object)}, path)
    read_foreign(path)


def tower_with_objects(path: Path) -> None:
    from repro.clip.weights import load_state

    torch.save({"w": SimpleNamespace(a=1)}, path)
    load_state(path)


def training_of_another(path: Path) -> None:
    from repro.training.checkpoint import FILE, load_checkpoint

    path.mkdir()
    torch.save({"format": 0}, path / FILE)
    load_checkpoint(path / FILE, "x")


def tiny_of_another_recipe(path: Path) -> None:
    from repro.mini.clip.training import SCORES, TEST_RECIPE, train_tiny_clip

    path.mkdir()
    (path / SCORES).write_text('{"recipe": "x"}')
    train_tiny_clip(path, TEST_RECIPE)


def no_reference(path: Path) -> None:
    from repro.runs.gates.reference import Reference

    Reference.load(path)


def no_run(path: Path) -> None:
    from repro.runs.addresses.stored import find_run
    from repro.runs.store import RunStore

    find_run(RunStore(path), "x")


def out_among_images(path: Path) -> None:
    from repro.api.outputs import find_targets

    path.mkdir()
    (path / "a.png").touch()
    find_targets([str(path)], path)


RAISERS = [
    files_read_json, files_read_record, counts_load, weights_cut, weights_foreign, weights_with_objects,
    checkpoint_folder, checkpoint_own, checkpoint_with_objects, tower_with_objects, training_of_another,
    tiny_of_another_recipe, no_reference, no_run, out_among_images,
]  # fmt: skip


@pytest.mark.parametrize("raiser", RAISERS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", NASTY)
def test_the_words_of_a_mend_are_the_path_and_nothing_else(
    raiser: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    with pytest.raises(ReproError) as caught:
        raiser(path)
    mend = caught.value.mend
    assert mend
    words = shlex.split(mend)
    holding = [w for w in words if name in w]
    assert holding, mend
    # Paths that the command names are whole words: none of their characters is left to the shell.
    assert all(re.fullmatch(rf"(?:\./)?{re.escape(name)}(?:-plain\.pth|/.*)?,?", w, re.DOTALL) for w in holding), mend
    assert not any("touch" in w for w in words if w not in holding)
    assert not _REMOVAL.search(mend)
    assert not [w for w in holding if w.startswith("-") and "repro" in words and "gc" in words]
