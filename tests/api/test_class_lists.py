"""Class names from files: read rightly or refused, never taken literally."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from talk import Talk, options

from repro.api.class_lists import class_names, read_class_names
from repro.cli.main import main
from repro.errors import UsageError

NAMES = ["cat", "traffic light", "mouse, rodent"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.txt", "cat\ntraffic light\nmouse, rodent\n"),
        ("a.json", json.dumps(NAMES, indent=1)),
        ("a.JSON", json.dumps({"names": NAMES})),
        ("a.json", json.dumps({"classes": NAMES, "version": 2})),
        ("a.json", json.dumps({"categories": [{"id": i, "name": n} for i, n in enumerate(NAMES)], "info": {}})),
        ("a.json", json.dumps([{"name": n, "colour": [0, 1, 2]} for n in NAMES])),
        ("a.csv", 'cat\ntraffic light\n"mouse, rodent"\n'),
        ("a.csv", 'name\r\ncat\r\ntraffic light\r\n"mouse, rodent"\r\n'),
        ("a.csv", 'Id,Name,Colour\n0,cat,red\n1,traffic light,blue\n2,"mouse, rodent",grey\n\n'),
        ("a.tsv", "id\tname\n0\tcat\n1\ttraffic light\n2\tmouse, rodent\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_form_gives_the_names(file: str, content: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content, encoding=encoding)
    assert read_class_names(tmp_path / file) == NAMES


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("a.json", b'["cat", "dog"', "no valid JSON"),
        ("a.json", b'{"0": "cat", "1": "dog"}', "an object with 0, 1"),
        ("a.json", b'{"names": {"cat": 1}}', "an object instead of a list"),
        ("a.json", b'["cat", 3]', "entry 1 is a number"),
        ("a.json", b'["cat", ["dog"]]', "entry 1 is a list"),
        ("a.json", b'["cat", {"id": 3}]', "entry 1 is an object"),
        ("a.json", b'["cat", "d\\u0000g"]', "NUL"),
        ("a.json", b"[" * 100_000, "no valid JSON"),
        ("a.csv", b"0,cat\n1,dog\n", "none of which is headed name"),
        ("a.csv", b"name,id\ncat,0\nmouse, rodent,1\n", "row 2 has 3 columns"),
        ("a.csv", b"name,id\ncat,0\n,1\n", "row 2 has no name"),
        ("a.csv", b'name\n"cat\n', "no valid table"),
        ("a.txt", b'["cat",\n"dog"]\n', "looks like JSON"),
        ("a.txt", "cat\ndog\n".encode("utf-16-le"), "NUL characters"),
        ("a.txt", b"\xff\xfec", "not utf-16"),
        ("a.txt", "köter".encode("latin-1"), "not utf-8"),
    ],
)
def test_what_is_no_list_of_names_is_refused_with_its_cause(
    file: str, content: bytes, found: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UsageError, match="cannot read the class names in") as caught:
        read_class_names(tmp_path / file)
    assert found in str(caught.value.found)
    assert len(str(caught.value)) < 2048


def test_predict_takes_the_names_of_a_json_file_and_not_its_lines(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "names.json").write_text(json.dumps(NAMES, indent=1))
    words = ["predict", "--method", "clip", "--profile", "smoke", "--device", "cpu", "--runs", str(tmp_path / "runs")]
    words += ["--image", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]
    assert main([*words, "--classes", f"@{tmp_path / 'names.json'}"]) == 0
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert [c["name"] for c in record["classes"]] == NAMES


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.csv", "id;name\n0;cat\n"),
        ("a.csv", "cat;dog\n"),
        ("a.csv", "id\tname\n0\tcat\n"),
        ("a.tsv", "id,name\n0,cat\n"),
    ],
)
def test_columns_of_another_separator_are_refused(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(UsageError, match="cannot read") as error:
        read_class_names(tmp_path / file)
    assert "columns between" in str(error.value.found)


@pytest.mark.parametrize("text", ["names.txt", "my names.csv", "list.JSON", "here", '["cat","dog"]', '{"names": []}'])
def test_a_file_without_its_sign_and_json_are_not_taken_for_names(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("cat\n")
    with pytest.raises(UsageError) as error:
        class_names(text)
    assert "@" in str(error.value.mend)


WORDS = ("predict", "--method", "clip", "--profile", "smoke", "--device", "cpu", "--image", "a.png", "--out", "out")


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("a.png")
    return Talk(capsys)


@pytest.mark.follows("repro.api.class_lists:class_names#1")
def test_the_option_that_reads_a_file_reads_it(talk: Talk) -> None:
    Path("my names.txt").write_text("cat\ndog\n")
    talk.refused(*WORDS, "--classes", "my names.txt")
    talk.succeeds(*WORDS, *options(talk.mend))


@pytest.mark.follows("repro.api.class_lists:class_names#2")
def test_json_is_given_as_names_or_as_a_file(talk: Talk) -> None:
    talk.refused(*WORDS, "--classes", '["cat", "dog"]')
    given = options(talk.mend)
    talk.succeeds(*WORDS, given[0], given[1].rstrip(","))
    Path("names.json").write_text('["cat", "dog"]')
    assert "@FILE" in given
    talk.succeeds(*WORDS, "--overwrite", "--classes", "@names.json")


def test_names_with_commas_dots_and_spaces_are_names() -> None:
    assert class_names("cat,st. bernard dog, U.S. flag") == ["cat", "st. bernard dog", " U.S. flag"]
    assert class_names("x" * 5000) == ["x" * 5000]
