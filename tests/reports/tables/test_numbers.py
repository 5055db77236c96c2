"""numbers.tex: a macro for every number; and that what we hand to LaTeX compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from finished_table import finished_table

from repro.configuration.tables import load_table, table_names
from repro.reports.tables.columns import Columns
from repro.reports.tables.evidence import Evidence
from repro.reports.tables.tex_numbers import MISSING, macro_name, table_numbers, write_numbers
from repro.reports.tables.writers import table_text


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return finished_table(tmp_path_factory.mktemp("runs"))


def macros(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\} %", path.read_text(), re.M))


def test_names_are_letters_only_and_say_what_they_are():
    assert macro_name("table1", "disa-base", "A-150") == "TableOneDisaBaseAOneFiveZero"
    assert macro_name("table2", "catseg_large", "params_million") == "TableTwoCatsegLargeParamsMillion"


def test_every_cell_has_its_number_and_a_gap_shows(evidence: Evidence, tmp_path: Path):
    found = macros(write_numbers(tmp_path, "table1", table_numbers(evidence)))
    for row in evidence.rows:
        for b in evidence.plan.benchmarks:
            entry = evidence.entry(row.id, b.id)
            text = found[macro_name("table1", row.id, b.id)]
            assert text == (f"{100 * entry.result[0].value:.1f}" if entry else MISSING)
            for end in ("Low", "High"):
                assert macro_name("table1", row.id, b.id) + end in found
    assert found["TableOneDisaBaseAOneFiveZeroPublished"] == "33.7"
    assert found["TableOneProfile"] == "smoke"


def test_a_gain_is_the_paired_difference_to_the_baseline(evidence: Evidence, tmp_path: Path):
    found = macros(write_numbers(tmp_path, "table1", table_numbers(evidence)))
    assert evidence.baseline().id == "catseg-base"  # the first that was trained
    pair = evidence.pair("disa-base", "catseg-base", "A-150")
    assert pair is not None
    plain = found["TableOneDisaBaseAOneFiveZeroGain"].replace(r"\ensuremath{+}", "+")
    assert plain == f"{100 * pair.difference.value:+.1f}"
    assert "TableOneCatsegBaseAOneFiveZeroGain" not in found
    other = macros(write_numbers(tmp_path, "table1", table_numbers(evidence, "clip-base")))
    assert "TableOneCatsegBaseAOneFiveZeroGain" in other


def test_a_table_replaces_its_own_section_only(evidence: Evidence, tmp_path: Path):
    write_numbers(tmp_path, "table2", iter([("TableTwoX", "1.0", "a")]))
    path = write_numbers(tmp_path, "table1", table_numbers(evidence))
    first = path.read_text()
    assert macros(path)["TableTwoX"] == "1.0"
    assert write_numbers(tmp_path, "table1", table_numbers(evidence)).read_text() == first
    write_numbers(tmp_path, "table2", iter([("TableTwoX", "2.0", "a")]))
    assert macros(path)["TableTwoX"] == "2.0"
    assert set(macros(path)) > {"TableTwoX", "TableOneProfile"}


def test_two_numbers_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="TableX"):
        write_numbers(tmp_path, "t", iter([("TableX", "1", ""), ("TableX", "2", "")]))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("intervals", [False, True])
def test_tables_and_numbers_compile(tmp_path: Path, layout: str, intervals: bool):
    import dataclasses

    pdflatex = shutil.which("pdflatex")
    if pdflatex is None:
        pytest.skip("needs pdflatex: apt-get install texlive-latex-base texlive-latex-recommended")
    made = finished_table(tmp_path / "runs", ("A-847", "PC-459", "A-150", "PC-59", "PAS-20", "PAS-20b"))
    plan = dataclasses.replace(made.plan, table=dataclasses.replace(made.plan.table, layout=layout))
    (tmp_path / "table1.tex").write_text(table_text(plan, made.cells, "latex", Columns(intervals)))
    write_numbers(tmp_path, "table1", table_numbers(made))
    body = " ".join(f"\\{name}{{}}" for name in macros(tmp_path / "numbers.tex"))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs,graphicx}\\input{numbers}\n"
        f"\\begin{{document}}\\sloppy {body}\n\\input{{table1}}\\end{{document}}\n"
    )
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert found.returncode == 0, found.stdout[-1500:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
    log = (tmp_path / "paper.log").read_text()
    wide = [float(w) for w in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) in paragraph at lines", log)]
    assert intervals is False or not [w for w in wide if w > 20], "the table is wider than the page"


@pytest.mark.parametrize("table", table_names())
def test_rows_of_a_table_have_names_of_their_own(table: str) -> None:
    """``layer=1`` and ``layer=-1`` were one macro, and the report of their table ended in a traceback."""
    names = [macro_name(table, row.id) for row in load_table(table).rows]
    assert len(set(names)) == len(names)
