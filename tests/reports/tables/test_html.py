"""The page: complete in itself, true to the evaluations, and alive in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from finished_table import finished_table

from repro.reports.tables.evidence import Evidence
from repro.reports.tables.html import Section, table_section, write_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Sorts by the first benchmark, opens a cell and draws against another baseline; what it finds becomes the page's text.
PROBE = """<script>
const errors = [];
addEventListener("error", (e) => errors.push(e.message));
const section = document.querySelector("section.table"), heads = section.querySelectorAll("th.number button");
const order = () => [...section.querySelectorAll("tbody tr")].map((r) => r.dataset.row);
const asked = order();
heads[0].click(); const falling = order();
heads[0].click(); const rising = order();
heads[0].click(); const again = order();
const forest = section.querySelector("[data-chart=forest]");
const select = forest.querySelector("select"), circles = forest.querySelectorAll("circle").length;
select.value = "clip-base"; select.dispatchEvent(new Event("change", { bubbles: true }));
const after = forest.querySelectorAll("circle").length, shown = forest.querySelector("svg").textContent;
section.querySelector('[data-cell="disa-base|A-150"]').click();
const dialog = document.querySelector("dialog");
const result = { asked, falling, rising, again, circles, after, shown, errors, open: dialog.open,
  dialog: dialog.textContent, curves: section.querySelectorAll("[data-chart=curves] path").length,
  bars: section.querySelectorAll("[data-chart=classes] rect").length };
document.body.replaceChildren(Object.assign(document.createElement("pre"), { id: "probe", textContent: JSON.stringify(result) }));
</script></body>"""  # noqa: E501


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return finished_table(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def section(evidence: Evidence) -> Section:
    return table_section(evidence)


@pytest.fixture(scope="module")
def page(section: Section, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "table1.html"
    write_page(path, "Table 1", [section])
    return path


def embedded(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)
    assert found
    return json.loads(found[1])


def test_the_page_asks_no_server_for_anything(page: Path):
    text = page.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?://|<link|<img|<iframe|@import|url\(|\bsrc=|fetch\(|XMLHttpRequest", text)


def test_text_in_the_data_cannot_end_the_script(tmp_path: Path):
    shown = {"kind": "none", "caption": "<b>", "profile": {"comparable": True}, "columns": [], "rows": [], "notes": []}
    write_page(tmp_path / "x.html", "<i>", [Section("t", "T", shown, {"note": "</script><script>alert(1)"})])
    assert embedded(tmp_path / "x.html") == {"t": {"note": "</script><script>alert(1)"}}
    assert "<title>&lt;i&gt;</title>" in (tmp_path / "x.html").read_text()


def test_every_cell_of_the_table_has_its_provenance(page: Path, evidence: Evidence):
    data = embedded(page)["table1"]
    buttons = {html.unescape(c) for c in re.findall(r'data-cell="([^"]+)"', page.read_text())}
    assert buttons == set(data["cells"]) == {f"{r.id}|{b.id}" for r in evidence.rows for b in evidence.plan.benchmarks}
    seed = data["cells"]["disa-base|A-150"]["seeds"][1]
    run = data["runs"][seed["run"]]
    assert seed["metrics"]["protocol_digest"]
    assert set(run["facts"]) >= {"options", "classes", "tower", "train", "data"}
    assert run["hardware"]["label"] == "CPU, 2 cores"
    assert run["packages"] == {"torch": "2.13"}


def test_a_cell_is_the_mean_of_its_evaluations_with_their_interval(section: Section, evidence: Evidence):
    cell = section.data["cells"]["disa-base|A-150"]
    values = [s["metrics"]["miou_gt"] for s in cell["seeds"]]
    assert len(values) == 2
    assert cell["result"]["value"] == pytest.approx(sum(values) / 2)
    assert cell["result"]["low"] < cell["result"]["value"] < cell["result"]["high"]
    rows = {r["id"]: r for r in section.shown["rows"]}
    assert rows["disa-base"]["cells"][0]["text"] == f"{50 * sum(values):.1f}"
    assert [rows[i]["cells"][0].get("best") for i in ("disa-base", "catseg-base")] == [True, False]


def test_a_cell_that_is_not_computed_is_a_gap(section: Section):
    row = next(r for r in section.shown["rows"] if r["id"] == "logoseg-base")
    assert "text" not in row["cells"][0]
    assert "result" not in section.data["cells"]["logoseg-base|A-150"]


def test_all_papers_that_print_a_number_for_a_method_are_named(tmp_path: Path):
    found = table_section(finished_table(tmp_path, ("A-847",)))
    printed = found.data["cells"]["catseg-base|A-847"]["published"]
    assert {(p["value"], p["source"].split(" ")[0]) for p in printed} >= {(12.0, "DiSa"), (8.4, "LoGoSeg")}
    letters = {s["letter"]: s["source"] for s in found.shown["sources"]}
    row = next(r for r in found.shown["rows"] if r["id"] == "catseg-base")
    assert {p["source"] for p in row["cells"][0]["published"]} == {letters[p["letter"]] for p in row["cells"][0]["published"]}  # fmt: skip  # noqa: E501


def test_a_table_without_any_result_is_a_page_without_charts(tmp_path: Path):
    from fake_runs import plan_of

    from repro.runs.status import plan_status

    plan = plan_of(tmp_path, benchmarks=["A-150"])
    write_page(tmp_path / "x.html", "x", [table_section(Evidence(plan, plan_status(plan)))])
    assert 'data-chart="forest"' not in (tmp_path / "x.html").read_text()


@pytest.mark.slow
def test_a_browser_sorts_opens_provenance_and_draws(page: Path, tmp_path: Path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("needs a browser: apt-get install chromium")
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text().replace("</body>", PROBE))
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    found = subprocess.run(
        [*command, "--virtual-time-budget=2000", "--dump-dom", probe.as_uri()],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    dumped = re.search(r'<pre id="probe">(.*?)</pre>', found.stdout, re.S)
    assert dumped, found.stdout[-2000:]
    result = json.loads(html.unescape(dumped[1]))
    assert result["errors"] == []
    assert result["falling"][:3] == ["disa-base", "catseg-base", "clip-base"]
    assert result["rising"][:3] == ["clip-base", "catseg-base", "disa-base"]
    assert result["again"] == result["asked"]
    assert result["circles"] == result["after"] == 4  # two rows against the baseline on two benchmarks
    assert "CAT-Seg" in result["shown"]
    assert result["open"]
    for expected in ("DiSa (ICLR 2026 submission), Table 1", "code digest", "a CPU", "torch", "protocol_digest"):
        assert expected in result["dialog"]
    assert result["curves"] == 4
    assert result["bars"] > 20
