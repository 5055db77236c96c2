"""Unknown names: the way out shows what can be named, or says what to change, and then it works."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import draw_counts, plan_of, store_counts
from talk import Talk, ours, way

from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark

SMOKE = load_profile("smoke")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an evaluation of two methods."""
    root = tmp_path_factory.mktemp("names") / "my runs"
    plan = plan_of(root)
    for row in ("clip-base", "disa-base"):
        store_counts(plan, row, "PAS-20", draw_counts(get_benchmark("PAS-20"), 5, 0.5))
    return root


def run_of(runs: Path, method: str) -> str:
    return next(p.name for p in sorted(runs.glob(f"{method}-*")))


STORE = ["--runs", "RUNS"]
SHOWN = [
    way("repro.datasets.benchmarks:get_benchmark", ["eval", "clip", "--benchmarks", "PAS-21", *STORE], "PAS-20"),
    way("repro.runs.data:set_ids", ["data", "verify", "coco-stufff", "--data-root", "."], "coco-stuff"),
    way("repro.api.describing:describe_name", ["describe", "tabel1", *STORE], "table1"),
    way("repro.api.describing:describe_name", ["describe", "claps", *STORE], "clip-smoke"),
    way("repro.cli.main:main", ["evil"], "eval"),
    way("repro.reports.coverage:chosen_papers", ["coverage", "dissa"], "(disa)"),
    way("repro.configuration.profiles:Profile.tower", ["bench", "--profile", "smoke", "--towers", "basis"], "base"),
    way("repro.configuration.profiles:Profile.tower", ["train", "clip", "--profile", "smoke", "--tower", "powerfull"],
        "powerful"),
    way("repro.configuration.profiles:Profile.tower", ["backbone", "--profile", "smoke", "--tower", "basis",
                                            "--dense-residual", "cls"], "base"),
    way("repro.runs.evaluations:_run_folder", ["compare", "clap", "disa", *STORE], "clip-smoke"),
    way("repro.runs.evaluations:_of_row#2", ["compare", "table1:clap", "table1:disa-base", *STORE],
        "clip-base"),
    way("repro.runs.plan:make_plan#1", ["run", "densevlm-table7", "--profile", "smoke", "--benchmarks",
                                               "PAS-20b", "--dry-run"], "A-150"),
    way("repro.runs.plan:make_plan#2", ["run", "table3", "--profile", "smoke", "--methods", "clip",
                                               "--dry-run"], "disa"),
    way("repro.configuration.profiles:load_profile#1", ["run", "table1", "--profile", "smok"], "smoke"),
    way("repro.configuration.tables:load_table#1", ["run", "table11"], "table1"),
    way("repro.measuring.regions:region_cells", ["run", "densevlm-table1", "--profile", "smoke",
                                                        "--benchmarks", "coco", "--dry-run"], "coco-panoptic"),
    way("repro.methods:get_method", ["eval", "catsegg", "--profile", "smoke"], "catseg"),
    way("repro.methods:MethodEntry.make_options", ["train", "disa", "--profile", "smoke", "-o", "kk=1"], "k:"),
    way("repro.stats.metrics:get_metric", ["compare", "table1:clip-base", "table1:disa-base", "--metrics", "miou",
                                           "--profile", "smoke", *STORE], "miou_gt"),
    way("repro.runs.housekeeping:_check#1", ["runs", "gc", "--what", "trash", *STORE], "rests"),
    way("repro.runs.housekeeping:_check#2", ["runs", "gc", "clap", *STORE], "clip-smoke"),
    way("repro.captions.sources:find_files#1", ["data", "captions", ".", "--format", "csv", "--out", "o"], "tsv"),
    way("repro.reports.tables.evidence:Evidence.baseline#2", ["report", "table1", "--profile", "smoke", "--baseline",
                                                       "catseg-base", *STORE], "disa-base"),
    way("repro.values:converted", ["train", "disa", "--profile", "smoke", "-o", "split=x"], "split"),
    way("repro.methods.options:check_options", ["train", "disa", "--profile", "smoke", "-o", "cost_kernel=6"],
        "cost_kernel"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "shown"), SHOWN)
def test_the_way_out_of_an_unknown_name_shows_what_can_be_named(
    talk: Talk, runs: Path, words: list[str], shown: str
) -> None:
    mend = talk.refused(*[str(runs) if w == "RUNS" else w for w in words])
    assert shown in talk.succeeds(*ours(mend))
