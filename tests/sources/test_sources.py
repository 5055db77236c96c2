# ruff: noqa: E501
"""A source digest follows what is named on the way from a root, and nothing that cannot change a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.sources import Sources

BASE = {
    "__init__.py": "",
    "core.py": '''
import math
from pkg.helper import twice, unused_elsewhere

RATE = 0.5
_SCALE = 3.0
table = {"a": 1}


def compute(x, *, times=2):
    """Doc."""
    _inner = twice(x) * RATE * _SCALE
    log(f"computed {_inner}")
    if x < 0:
        raise ValueError("must not be negative")
    return math.sqrt(_inner) * times


def other(x):
    return x + 1


class Model:
    def __init__(self, size: int) -> None:
        self._size = size
        self._name = "m"

    def forward(self, x):
        return compute(x) * self._size
''',
    "helper.py": "FACTOR = 2\n\n\ndef twice(x):\n    return FACTOR * x\n\n\ndef unused_elsewhere(x):\n    return 3 * x\n",
    "entry.py": 'BUILD = "pkg.core:Model"\n',
    "names.py": 'from pathlib import Path\n\nFOLDER = Path(__file__).with_name("words")\n\n\ndef read():\n    return FOLDER\n',
    "words/list.csv": "a\nb\n",
}


def digest(folder: Path, changes: dict[str, tuple[str, str]] | None = None, root: str = "pkg.core:Model") -> str:
    package = folder / "pkg"
    for name, text in BASE.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before, after = (changes or {}).get(name, ("", ""))
        assert before in text
        path.write_text(text.replace(before, after) if before else text)
    return Sources({"pkg": package}).source([root]).digest


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("core.py", "RATE = 0.5", "RATE = 0.25"),
        ("core.py", "math.sqrt", "math.exp"),
        ("core.py", "times=2", "times=3"),
        ("core.py", "x < 0", "x <= 0"),
        ("core.py", "twice(x) * RATE", "other(x) * RATE"),
        ("core.py", "* self._size", "* self._name"),
        ("core.py", "* RATE * _SCALE", "* _SCALE * RATE"),
        ("helper.py", "FACTOR = 2", "FACTOR = 2.0"),
        ("helper.py", "FACTOR * x", "x * FACTOR"),
    ],
)
def test_what_may_change_a_number_changes_the_digest(tmp_path: Path, file: str, before: str, after: str) -> None:
    assert digest(tmp_path / "a") != digest(tmp_path / "b", {file: (before, after)})


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("core.py", '    """Doc."""\n', ""),
        ("core.py", "RATE = 0.5", "RATE = 0.5  # a comment"),
        ("core.py", "RATE = 0.5", "RATE: float = 0.5"),
        ("core.py", "    log(f\"computed {_inner}\")\n", ""),
        ("core.py", "must not be negative", "must be positive"),
        ("core.py", "_SCALE", "_WEIGHT"),
        ("core.py", "_inner", "_product"),
        ("core.py", "_size", "_width"),
        ("core.py", "size: int", "size"),
        ("core.py", "def other(x):\n    return x + 1\n", ""),
        ("core.py", "def other(x):\n    return x + 1\n", "def other(x):\n    return x + 2\n"),
        ("core.py", "from pkg.helper import twice, unused_elsewhere\n", "from pkg.helper import unused_elsewhere, twice\n"),
        ("helper.py", "3 * x", "4 * x"),
        ("entry.py", "pkg.core:Model", "pkg.core:other"),
    ],
)  # fmt: skip
def test_what_cannot_change_a_number_changes_nothing(tmp_path: Path, file: str, before: str, after: str) -> None:
    assert digest(tmp_path / "a") == digest(tmp_path / "b", {file: (before, after)})


def test_a_module_may_be_imported_in_any_way(tmp_path: Path) -> None:
    other = ("from pkg.helper import twice, unused_elsewhere\n", "import pkg.helper as h\n\ntwice_by = h\n")
    changed = {"core.py": other}
    plain = digest(tmp_path / "a")
    package = tmp_path / "b" / "pkg"
    digest(tmp_path / "b", changed)
    text = (package / "core.py").read_text().replace("\ntwice_by = h\n", "").replace("twice(x)", "h.twice(x)")
    (package / "core.py").write_text(text)
    assert Sources({"pkg": package}).source(["pkg.core:Model"]).digest == plain


def test_a_function_may_move_to_another_module_under_another_private_name(tmp_path: Path) -> None:
    plain = digest(tmp_path / "a")
    package = tmp_path / "b" / "pkg"
    digest(tmp_path / "b")
    (package / "new.py").write_text("_F = 2\n\n\ndef twice(x):\n    return _F * x\n")
    text = (package / "core.py").read_text()
    (package / "core.py").write_text(
        text.replace("from pkg.helper import twice, ", "from pkg.new import twice\nfrom pkg.helper import ")
    )
    assert Sources({"pkg": package}).source(["pkg.core:Model"]).digest == plain


def test_a_text_that_names_a_definition_is_a_reference(tmp_path: Path) -> None:
    plain = digest(tmp_path / "a", root="pkg.entry:BUILD")
    assert digest(tmp_path / "b", {"helper.py": ("FACTOR = 2", "FACTOR = 3")}, root="pkg.entry:BUILD") != plain


def test_data_that_a_definition_reads_belong_to_it(tmp_path: Path) -> None:
    plain = digest(tmp_path / "a", root="pkg.names:read")
    assert digest(tmp_path / "b", {"words/list.csv": ("b", "c")}, root="pkg.names:read") != plain
    assert digest(tmp_path / "c", {"words/list.csv": ("b", "c")}) == digest(tmp_path / "a")


def test_what_was_rewritten_is_named(tmp_path: Path) -> None:
    digest(tmp_path / "a")
    before = Sources({"pkg": tmp_path / "a" / "pkg"}).source(["pkg.core:Model"])
    digest(tmp_path / "b", {"helper.py": ("FACTOR = 2", "FACTOR = 3")})
    after = Sources({"pkg": tmp_path / "b" / "pkg"}).source(["pkg.core:Model"])
    assert after.changes(before.definitions) == ["pkg.helper:FACTOR"]


def test_an_unknown_root_is_an_error_not_an_empty_digest(tmp_path: Path) -> None:
    digest(tmp_path / "a")
    with pytest.raises(ModuleNotFoundError, match="nothing is called"):
        Sources({"pkg": tmp_path / "a" / "pkg"}).source(["pkg.core:Modell"])


def test_digests_are_kept_by_the_bytes_of_all_files(tmp_path: Path) -> None:
    digest(tmp_path / "a")
    package, memory = {"pkg": tmp_path / "a" / "pkg"}, tmp_path / "memory"
    first = Sources(package, memory).source(["pkg.core:Model"])
    (kept,) = memory.iterdir()
    kept.write_text(kept.read_text().replace(first.digest, "f" * 16))
    assert Sources(package, memory).source(["pkg.core:Model"]).digest == "f" * 16
    kept.write_text("{")  # damaged: taken again
    assert Sources(package, memory).source(["pkg.core:Model"]) == first


def test_sources_of_several_folders_are_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest(tmp_path / "a")
    one = Sources({"pkg": tmp_path / "a" / "pkg"})
    found = one.source(["pkg.core:Model"])
    monkeypatch.setattr(Sources, "_taken", None)
    other = one.kept_in(tmp_path / "memory")
    assert other.source(["pkg.core:Model"]) is found
    other.keep()
    assert len(list((tmp_path / "memory").iterdir())) == 1
