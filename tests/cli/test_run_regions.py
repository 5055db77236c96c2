"""``repro run densevlm-table1`` from nothing, on random towers and a handful of generated pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from repro.cli.main import main
from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile, with_variants
from repro.configuration.published import find_published
from repro.configuration.tables import Row, load_table
from repro.errors import UsageError
from repro.hardware import cpu_count, cpu_name
from repro.methods.alignments import FACTS, WEIGHTS
from repro.runs.plan import make_plan
from repro.runs.status import plan_steps
from repro.towers.aligned import read_recipe


def repro(folder: Path, *words: str) -> int:
    return main([*words, "--profile", "smoke", "--runs", str(folder / "runs")])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    assert repro(folder, "run", "densevlm-table1", "--results", str(folder / "results"), "--device", "cpu") == 0
    return folder


@pytest.mark.slow
def test_table_holds_every_row_with_intervals_of_what_alignment_is_worth(made: Path) -> None:
    frame = pd.read_csv(made / "results" / "densevlm-table1.csv")
    assert set(frame["row"]) == {"clip", "clipself", "powerful", "densevlm"}
    assert (frame["status"] == "done").all()
    assert frame[["boxes_top1", "masks_thing_top5", "masks_stuff_top5"]].notna().all(axis=None)
    text = (made / "results" / "densevlm-table1.md").read_text()
    assert "DenseVLM over CLIP, COCO Masks-S top-1" in text
    assert f"- Hardware: {cpu_name()}, {cpu_count()} cores." in text
    assert "| DenseVLM (published) | ViT-B/16 | 72.3 | 70.1 | 44.9 | 89.9 | 84.4 | 76.4 | 51.0 | 49.3 | 57.0 |" in text


@pytest.mark.slow
def test_finished_cells_are_not_computed_again(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {p: p.stat().st_mtime_ns for p in (made / "runs" / "cache").rglob("*.npz")}
    # Ranks of four rows on two sets, embeddings of two vocabularies by four text encoders, and of the names of labels
    # by the two towers of the alignment, whose premise is measured.
    assert len(kept) == 18
    assert repro(made, "run", "densevlm-table1", "--results", str(made / "again"), "--json") == 0
    cells = json.loads(capsys.readouterr().out)
    assert {c["status"] for c in cells} == {"done"}
    assert {p: p.stat().st_mtime_ns for p in (made / "runs" / "cache").rglob("*.npz")} == kept
    assert repro(made, "report", "densevlm-table1", "--results", str(made / "report")) == 0
    assert (made / "report" / "densevlm-table1.md").read_text() == (made / "again" / "densevlm-table1.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("densevlm-table2", {"clip", "powerful", "features", "logits", "densevlm"}),
        ("densevlm-table6", {"clip", "densevlm", "resnet", "densevlm-resnet"}),
        ("densevlm-figure6", {"clip", "densevlm-1-of-16", "densevlm-1-of-4", "densevlm-1-of-1"}),
    ],
)
def test_tables_of_towers_run_from_nothing(name: str, rows: set[str], made: Path) -> None:
    results = made / name
    assert repro(made, "run", name, "--results", str(results), "--device", "cpu") == 0
    frame = pd.read_csv(results / f"{name}.csv")
    assert set(frame["row"]) == rows
    assert (frame["status"] == "done").all()
    assert frame[["boxes_top1", "boxes_top5", "masks_stuff_top5"]].notna().all(axis=None)
    trained = frame[frame["row"].str.startswith("densevlm") | frame["row"].isin(["features", "logits"])]
    assert (trained["train_memory"] == "resident").all()
    assert (trained["train_seconds_per_epoch"] > 0).all()
    assert frame[~frame.index.isin(trained.index)]["train_images"].isna().all()
    if name == "densevlm-figure6":
        assert trained["train_images"].tolist() == [1, 1, 2, 2, 8, 8]  # of eight, on both sets


@pytest.mark.slow
def test_memory_and_time_of_training_stand_in_table_2_with_what_they_are(made: Path) -> None:
    results = made / "table2"
    assert repro(made, "run", "densevlm-table2", "--results", str(results), "--device", "cpu") == 0
    text = (results / "densevlm-table2.md").read_text()
    assert "| memory (GB) (Training) | min / epoch (Training) |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| feature distillation |")]
    assert float(row.split("|")[-3]) > 0.05
    assert "Training (feature distillation, logit distillation, DenseVLM): memory resident in the process" in text
    (base,) = [line for line in text.splitlines() if line.startswith("| CLIP |")]
    assert base.endswith("| - | - |")


@pytest.mark.slow
def test_aligned_tower_is_a_tower_any_method_can_be_built_on(made: Path) -> None:
    plan = make_plan(load_table("densevlm-table1"), load_profile("smoke"), made / "runs")
    (run,) = [r for r in plan.runs if r.row.id == "densevlm"]
    folder = plan.assets.tower_folder(run.row.tower)
    assert (folder / FACTS).is_file()
    spec = plan.assets.tower_spec(run.row.tower)
    assert (spec.model, spec.weights) == (str(folder), WEIGHTS)
    tower = build_tower(spec)
    assert tower.resolution == run.tower.spec.resolution
    assert run.entry.create(tower, run.options) is not None


def test_each_row_of_an_ablation_has_an_aligned_tower_of_its_own(tmp_path: Path) -> None:
    for name in [f"densevlm-{end}" for end in ("table2", "table3", "table4", "table5", "table6", "figure6")]:
        plan = make_plan(load_table(name), load_profile("smoke"), tmp_path)
        towers = [r.row.tower for r in plan.runs if plan.assets.tower_parts(r.row.tower)]
        folders = {plan.assets.tower_folder(tower) for tower in towers}
        assert len(folders) == len(towers) >= 2


def test_the_full_method_is_one_tower_in_all_tables_with_316_names(tmp_path: Path) -> None:
    folders = set()
    rows = {"table3": "densevlm", "table4": "densevlm-densevlm316", "table5": "large", "figure6": "densevlm-1-of-1"}
    for name, row in {**rows, "table2": "densevlm", "table6": "densevlm"}.items():
        plan = make_plan(load_table(f"densevlm-{name}"), load_profile("smoke"), tmp_path)
        (run,) = [r for r in plan.runs if r.row.id == row]
        folders.add(plan.assets.tower_folder(run.row.tower))
    assert len(folders) == 1


def test_address_follows_the_recipe_and_both_towers(tmp_path: Path) -> None:
    profile = load_profile("smoke")
    rows = [
        Row(f"row {i}", "t", "clip", "densevlm", alignment=change)
        for i, change in enumerate([{}, {"threshold": 0.5}, {"powerful": "powerful-small"}, {"preset": "as_released"}])
    ]
    changed, own = with_variants(profile, rows)
    from repro.runs.assets import Assets

    assets = Assets(changed, tmp_path, None)
    assert len({assets.tower_folder(row.tower) for row in own}) == 4
    assert read_recipe(changed, own[3].tower).options.reduction == "group"
    assert assets.tower_chain("densevlm") == ["base", "powerful", "densevlm"]


def test_only_aligned_towers_have_a_recipe_to_change_and_none_is_made_from_itself() -> None:
    profile = load_profile("smoke")
    with pytest.raises(UsageError, match="has none"):
        with_variants(profile, [Row("r", "t", "clip", "base", alignment={"threshold": 0.5})])
    changed, rows = with_variants(profile, [Row("r", "t", "clip", "densevlm", alignment={"powerful": "densevlm"})])
    with pytest.raises(UsageError, match="cannot be made"):
        read_recipe(changed, rows[0].tower)


def test_options_of_other_tables_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repro(tmp_path, "run", "densevlm-table1", "--no-timing") == 2
    assert "no use for --no-timing" in capsys.readouterr().err
    assert repro(tmp_path, "run", "densevlm-table1", "--benchmarks", "A-150", "--dry-run") == 2
    assert "coco-panoptic" in capsys.readouterr().err


def test_paper_profile_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "densevlm-table3", "--profile", "paper", "--runs", str(tmp_path), "--data-root", str(tmp_path)]
    assert main([*words, "--dry-run", "--benchmarks", "coco-panoptic"]) == 0
    said = capsys.readouterr().out
    assert "panoptic_annotations_trainval2017.zip" in said
    assert "repro weights EVA02" in said


def test_the_full_method_of_the_miniature_is_the_tower_that_comes_with_the_package(tmp_path: Path) -> None:
    for name, row in (("densevlm-table2", "densevlm"), ("densevlm-figure6", "densevlm-1-of-1")):
        plan = make_plan(load_table(name), load_profile("mini"), tmp_path)
        shipped = {run.row.id for run in plan.runs if plan.assets.shipped(run.row.tower) is not None}
        assert row in shipped
        assert len(shipped & {"features", "logits", "densevlm-1-of-4"}) == 0


@pytest.mark.parametrize("name", ["densevlm-table2", "densevlm-table6", "densevlm-figure6"])
def test_new_tables_have_rows_in_the_paper_profile(name: str, tmp_path: Path) -> None:
    plan = make_plan(load_table(name), load_profile("paper"), tmp_path)
    bases = {plan.assets.tower_parts(run.row.tower)[:1] for run in plan.runs} - {()}
    of_table6 = {("eva-base",), ("openclip-base",), ("resnet-base",)}
    assert bases == (of_table6 if name == "densevlm-table6" else {("eva-base",)})


@pytest.mark.parametrize("profile", ["smoke", "mini", "paper"])
def test_methods_on_densevlm_share_one_alignment_and_the_sizes_of_its_base(profile: str, tmp_path: Path) -> None:
    plan = make_plan(load_table("densevlm-table7"), load_profile(profile), tmp_path)
    runs = {run.row.id: run for run in plan.runs}
    assert set(runs) == {"catseg", "catseg-densevlm", "catseg-densevlm-cls", "disa", "disa-densevlm"}
    towers = [runs[r].row.tower for r in ("catseg-densevlm", "catseg-densevlm-cls", "disa-densevlm")]
    assert len({plan.assets.tower_folder(tower) for tower in towers}) == 1
    residuals = [plan.profile.towers[tower].spec.dense_residual for tower in towers]
    assert residuals == ["token", "cls", "token"]
    assert runs["catseg"].options == runs["catseg-densevlm"].options
    assert runs["disa"].options == runs["disa-densevlm"].options
    assert len({run.id for run in plan.runs}) == 5
    shipped = plan.assets.shipped(towers[0]) is not None
    assert shipped is (profile == "mini")
    trained = [step.what for step in plan_steps(plan)].count(f"train {plan.profile.towers[towers[0]].title}")
    assert trained == (0 if shipped else 1)
    published = find_published(runs["catseg-densevlm"].row.published, "A-150")
    assert published is not None
    assert published.value == 34.1
    assert plan.assets.untrained_tower(towers[0]).model == plan.assets.untrained_tower("base").model
