"""Every path, link and dotted name that code and documentation cite is there (tests/support/citations.py)."""

from __future__ import annotations

import pytest
from citations import ROOT, Citation, anchors, citations, is_there, missing, resolves, sources

DOCUMENT = """\
Read [this](docs/protocol.md#the-sets), [that](docs/absent.md#the-sets), [here](#run-it); not [there](#nowhere) and not
[outside](https://example.org/docs/absent.md).
See `docs/protocol.md`, `specs/benchmarks.md`, tests/golden/{README,none}.md, `configs/tables/*.py`,
`configs/tables/*.yml`, `test_paths.py` and `test_absent.py`, runs/x/config.py, PROFILE.py, and/or.
`repro.hashing`, `repro.methods.interface.Method.loss` and `repro.methods.interface.Method.absent`.

    from repro.errors import ReproError, AbsentError
"""
CODE = '''\
"""As :class:`UsageError` and :func:`absent` do, by specs/catseg.md, section 2."""

from repro.errors import ReproError


class Here(ReproError):  # of repro/absent.py and repro/errors.py
    def works(self):
        raise ReproError(f"see docs/absent.md, {self}")
'''


def test_everything_cited_is_there() -> None:
    cited = [c for file in sources() for c in citations(file, (ROOT / file).read_text(encoding="utf-8"))]
    kinds = [c.kind for c in cited]
    for kind, least in {"path": 100, "link": 20, "role": 10, "dotted": 10}.items():  # a blind finder must not pass
        assert kinds.count(kind) > least, kind
    assert "\n".join(missing(cited)) == ""


def test_what_a_document_cites_in_vain_is_found_with_its_line() -> None:
    assert sorted(missing(citations("README.md", DOCUMENT))) == [
        "README.md:1: link #nowhere",
        "README.md:1: link docs/absent.md#the-sets",
        "README.md:1: path docs/absent.md",
        "README.md:3: path specs/benchmarks.md",
        "README.md:3: path tests/golden/{README,none}.md",
        "README.md:4: path configs/tables/*.yml",
        "README.md:4: path test_absent.py",
        "README.md:5: dotted repro.methods.interface.Method.absent",
        "README.md:7: dotted repro.errors.AbsentError",
    ]


def test_what_code_cites_in_vain_is_found_with_its_line() -> None:
    assert sorted(missing(citations("repro/errors.py", CODE))) == [
        "repro/errors.py:1: path specs/catseg.md",
        "repro/errors.py:1: role absent",
        "repro/errors.py:6: path repro/absent.py",
        "repro/errors.py:8: path docs/absent.md",
    ]


def test_strings_of_tests_are_data_and_their_comments_are_not() -> None:
    text = 'PATH = "docs/absent.md"  # as docs/gone.md has it\n'
    assert missing(citations("tests/test_made_up.py", text)) == ["tests/test_made_up.py:1: path docs/gone.md"]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("repro", True),
        ("repro.metrics", True),
        ("repro.errors.ReproError", True),
        ("repro.absent", False),
        ("repro.errors.Absent", False),
        ("baselines.catseg.options.CatSegOptions.pad_len", True),
        ("baselines.catseg.options.CatSegOptions.absent", False),
        ("disa.options.DisaOptions.tokens", True),
    ],
)
def test_a_dotted_name_is_followed_to_its_definition(name: str, there: bool) -> None:
    assert resolves(name) is there


def test_a_path_out_of_the_repository_is_not_there() -> None:
    assert not is_there(Citation("docs/protocol.md", 1, "path", "../../outside/notes.md"))
    assert not is_there(Citation("docs/protocol.md", 1, "link", "../../README.md"))


@pytest.mark.parametrize(
    ("name", "there"),
    [("unknown_name", True), ("ReproError.exit_code", True), (".files", True), (".absent", False), ("absent", False)],
)
def test_a_role_may_name_what_is_near(name: str, there: bool) -> None:
    assert is_there(Citation("repro/errors.py", 1, "role", name)) is there


def test_anchors_are_those_of_headings_outside_code() -> None:
    assert anchors("# One: two, `three`\n```\n# no heading\n```\n## Four - five\n") == {"one-two-three", "four---five"}
