"""The reader and the runner of command blocks, on pages made up here."""

from __future__ import annotations

from pathlib import Path

import pytest
from block_runner import BlockError, Page, unknown, unusable
from command_blocks import Block, quoted, read_blocks

PAGE = """\
Text.

<!-- needs: data, network -->
```bash
repro weights NAME      # a comment, with "quotes"
repro eval catseg \\
    --benchmarks A-150 --weights 'a # b.pth'
A=1 B='2 3' .venv/bin/repro run table1 && repro check; python -m repro list | head
for set in A B; do repro data prepare $set; done
```

1. A list:

   <!-- another comment -->
   <!-- takes: training -->
   <!-- exits: 1 -->
   ```python
   if True:
       print(1)
   ```

~~~toml
# own/set.toml
a = 1
~~~

```console
$ repro weights [NAME] [--out DIR]
repro said this
```

```yaml
- run: .venv/bin/repro check
entry: repro list
```
"""


def read(text: str) -> list[Block]:
    blocks, wrong = read_blocks("docs/page.md", text)
    assert wrong == []
    return blocks


def test_blocks_have_their_marks_their_language_and_their_line() -> None:
    data, python, shown, console, workflow = read(PAGE)
    assert (data.language, data.line, data.needs, data.takes) == ("bash", 5, {"data", "network"}, set())
    assert (python.line, python.takes, python.exits) == (18, {"training"}, 1)
    assert python.text == "if True:\n    print(1)"
    assert (shown.language, shown.shows, console.shows) == ("toml", "own/set.toml", "")
    assert [b.needs for b in (python, shown, console, workflow)] == [set()] * 4


def test_commands_are_joined_split_and_rid_of_comments() -> None:
    data, _, _, console, workflow = read(PAGE)
    assert [(c.line, c.ours) for c in data.commands] == [
        (5, [["weights", "NAME"]]),
        (6, [["eval", "catseg", "--benchmarks", "A-150", "--weights", "a # b.pth"]]),
        (8, [["run", "table1"], ["check"], ["list"]]),
        (9, [["data", "prepare", "$set"]]),
    ]
    assert data.commands[2].settings == {"A": "1", "B": "2 3"}
    assert [(c.line, c.ours) for c in console.commands] == [(28, [["weights", "NAME", "--out", "DIR"]])]
    assert [(c.line, c.ours) for c in workflow.commands] == [(33, [["check"]]), (34, [["list"]])]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- needs: date -->\n```bash\n```", "1: needs: date is none of data, gpu"),
        ("<!-- takes: training, ages -->\n```bash\n```", "2: takes: ages is none of training"),
        ("<!-- need: data -->\n```bash\n```", "2: the mark need is none of needs, takes, exits"),
        ("<!-- exits: one -->\n```bash\n```", "2: exits: one is no exit code"),
        ("<!-- needs: data -->\n\n```bash\n```", "2: a mark stands on the line above its block"),
        ("```\npip install repro\n```", "1: a block of commands without a language"),
        ("Try\n\n    repro list\n", "3: indented commands"),
        ("```bash\nrepro list", "1: the block does not end"),
    ],
)
def test_a_wrong_mark_and_commands_that_nothing_tries_are_found(text: str, complaint: str) -> None:
    _, wrong = read_blocks("docs/page.md", text)
    assert len(wrong) == 1
    assert complaint[2:] in wrong[0]
    assert wrong[0].startswith("docs/page.md:")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("eval catseg --bechmarks A-150", "unrecognized arguments: --bechmarks"),
        ("evl catseg", "invalid choice"),
        ("eval catseg --benchmarks A-151", "A-151"),
        ("run table1 --methods catsegg", "catsegg"),
        ("run table1 --profile minni", "minni"),
        ("eval METHOD --benchmarks A-150 --data-root DATA", ""),
        ("run table1 --methods catseg+densevlm", ""),
    ],
)
def test_what_no_longer_exists_is_found_without_running_it(words: str, complaint: str) -> None:
    said = unusable(words.split())
    assert complaint in said
    assert bool(said) == bool(complaint)


def test_commands_within_sentences_are_found_and_their_options_are_known() -> None:
    text = "Use `repro data prepare ..\n--jobs 2` or `repro`.\n```bash\nrepro list `repro no`\n```\n"
    text += "`repro eval --jbos`, `repro evl M`"
    found = [(c.line, words) for c in quoted(text) for words in c.ours]
    assert found == [
        (1, ["data", "prepare", "..", "--jobs", "2"]),
        (6, ["eval", "--jbos"]),
        (6, ["evl", "M"]),
    ]
    assert [unknown(words) for _, words in found] == ["", "--jbos", "evl"]


def follow(folder: Path, text: str, run: bool = True, **stands_for: str) -> int:
    page = Page(folder, stands_for)
    return sum(page.follow(block, run) for block in read(text))


def test_a_page_is_run_in_its_folder_with_what_it_shows(tmp_path: Path) -> None:
    text = (
        "```toml\n# own/a.toml\nx = 5\n```\n```python\nimport tomllib\n\n"
        "read = tomllib.load(open('own/a.toml', 'rb'))\n"
        "```\n```python\nopen(str(read['x']), 'w')\n```\n```bash\nrepro describe NAME\n```\n"
    )
    assert follow(tmp_path, text, NAME="clip") == 3
    assert (tmp_path / "5").is_file()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "```bash\nrepro describe clip\nrepro describe clipp\n```",
            "docs/page.md:3: repro describe clipp\nexit",
        ),
        (
            "<!-- exits: 1 -->\n```bash\nrepro describe clip\n```",
            "docs/page.md:3: repro describe clip\nexit code 0, ",
        ),
        ("```bash\nrepro list && ls\n```", "docs/page.md:2: repro list && ls\nonly repro and"),
        ("```python\nx = 1\ny = x.z\n```", "docs/page.md:3: AttributeError"),
        ("```python\nx = (\n```", "docs/page.md:2: '(' was never closed"),
        ("```python\nfrom repro.errors import Absent\n```", "docs/page.md:2: dotted repro.errors.Absent"),
    ],
)
def test_what_fails_is_named_with_file_and_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BlockError) as error:
        follow(tmp_path, text)
    assert str(error.value).startswith(complaint)


def test_a_block_that_is_not_run_is_parsed(tmp_path: Path) -> None:
    assert follow(tmp_path, "```bash\nrepro data prepare A-150 --data-root DATA\nls\n```", run=False) == 0
    with pytest.raises(BlockError, match="2: repro data prepare --from X"):
        follow(tmp_path, "```bash\nrepro data prepare --from X\n```", run=False)
    with pytest.raises(BlockError, match="3: repro lst"):
        follow(tmp_path, "```yaml\n# own.yml\n- run: repro lst\n```")
