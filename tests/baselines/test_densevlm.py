"""DenseVLM's grids, category sets and options, and its training on towers of every family."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.densevlm import ALIGNMENT
from baselines.densevlm.categories import SETS, load_categories
from baselines.densevlm.data import Batch, RegionSet
from baselines.densevlm.grid import grid_boxes, grid_pairs
from baselines.densevlm.options import DenseVLMOptions
from baselines.densevlm.train import CHECKPOINT, _Training, align
from baselines.densevlm.trained import param_groups, train_last_blocks
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import DataError, ReproError, RunError, UsageError
from repro.methods.alignments import CONFIG, FACTS, WEIGHTS, get_alignment
from repro.testing.device_path import PRECISIONS, autocast
from repro.testing.fake_device import KIND, fake_device, put

TINY = TowerSpec("tiny", None, resolution=48, dense_residual="token")
TEACHER = TowerSpec("tiny", None, resolution=48, dense_residual="token", seed=1)
QUICK: Mapping[str, Any] = {
    "image_size": 32,
    "categories": "coco133",
    "templates": ("{}",),
    "threshold": 0.0,
    "iterations": 4,
    "batch_size": 2,
    "lr": 1e-3,
    "warmup_iterations": 2,
    "workers": 0,
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(6)]
    for path, size in zip(paths, [(40, 60), (60, 40), (32, 32), (25, 80), (50, 50), (33, 47)], strict=True):
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def options(**changes: object) -> DenseVLMOptions:
    made: DenseVLMOptions = ALIGNMENT.make_options({**QUICK, **changes})
    return made


def state_of(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / WEIGHTS, weights_only=True)
    return state


def test_grids_are_the_seventeen_published_pairs_with_eighteen_regions_on_average() -> None:
    pairs = ["22", "23", "24", "33", "34", "35", "36", "43", "44", "45", "46", "54", "55", "56", "64", "65", "66"]
    assert grid_pairs(6) == tuple((int(p[0]), int(p[1])) for p in pairs)
    counts = [m * n for m, n in grid_pairs(6)]
    assert (min(counts), max(counts)) == (4, 36)
    assert np.mean(counts) == pytest.approx(18.2, abs=0.05)


def test_cells_partition_the_image_and_lie_in_the_unpadded_part_of_the_frame(images: list[Path]) -> None:
    boxes = grid_boxes(30, 50, 3, 4)
    assert len(boxes) == 12
    assert ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum() == pytest.approx(30 * 50)
    sample = RegionSet(images, 32, 6, seed=0)[3, 7]  # 25 x 80: ten rows of the frame are image
    assert not isinstance(sample, ReproError)
    assert sample.boxes[sample.valid][:, 2:].amax(0).tolist() == pytest.approx([1, 25 / 80])
    assert (sample.images[:, 10:] == 0).all()
    assert (sample.images[:, :10] > 0).any()


def test_every_grid_is_drawn_and_the_position_alone_decides(images: list[Path]) -> None:
    data = RegionSet(images, 8, 6, seed=0)
    drawn = [int(data[0, position].valid.sum()) for position in range(120)]  # type: ignore[union-attr]
    assert set(drawn) == {m * n for m, n in grid_pairs(6)}
    assert drawn == [int(data[5, position].valid.sum()) for position in range(120)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "size", "things"),
    [("coco133", 133, 80), ("coco_stuff171", 171, 80), ("densevlm273", 273, 160), ("densevlm316", 316, 204)],
)
def test_category_sets_have_their_published_sizes_with_things_first(name: str, size: int, things: int) -> None:
    assert load_categories(name).things == (True,) * things + (False,) * (size - things)


def test_the_316_names_are_the_recorded_ones() -> None:
    names = load_categories("densevlm316").names
    assert hashlib.sha256("\n".join(names).encode()).hexdigest().startswith("8c494946")
    assert names[203] == "house"
    assert "window " in names
    assert {n for n in names if names.count(n) > 1} == {"fruit", "cupboard", "cradle"}


def test_unknown_category_set_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="densevlm316"):
        load_categories("densevlm361")
    assert set(SETS) == {"coco133", "coco_stuff171", "densevlm273", "densevlm316"}


def test_preset_changes_four_options_and_given_values_win() -> None:
    entry = get_alignment("densevlm")
    released = entry.make_options({"preset": "as_released", "unit_text": True})
    assert released == DenseVLMOptions(last_thing_is_stuff=True, reduction="group", average_gradients=False)
    with pytest.raises(UsageError, match="as_released"):
        entry.make_options({"preset": "as-released"})
    with pytest.raises(UsageError, match="threshold"):
        entry.make_options({"treshold": 0.1})
    with pytest.raises(UsageError, match="mixing"):
        entry.make_options({"mixing": 2})


@pytest.mark.parametrize("model", ["tiny", "tiny-eva", "tiny-convnext"])
def test_trains_the_last_blocks_of_every_family_and_leaves_a_tower(
    model: str, images: list[Path], cache: Path, tmp_path: Path
) -> None:
    size = 64 if model == "tiny-convnext" else 32
    base = TowerSpec(model, None, resolution=64 if model == "tiny-convnext" else 48)
    teacher = TowerSpec("tiny-eva" if model == "tiny" else "tiny", None, resolution=48, seed=1)
    folder = align(base, teacher, options(blocks=1, image_size=size, iterations=2), images, tmp_path, cache=cache)
    before, after = build_tower(base), build_tower(TowerSpec(str(folder), WEIGHTS, resolution=base.resolution))
    assert before.open_clip_state().keys() == after.open_clip_state().keys()
    blocks = {id(p) for p in before.blocks[-1].parameters()}
    last = [n for n, p in before.named_parameters() if id(p) in blocks]
    changed = {
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert changed
    assert changed <= set(last)
    unused = {n for n in last if ".q_" in n or ".k_" in n}
    assert {n for n in last if n.endswith("weight")} - unused - changed == set()
    assert torch.equal(before.text(["cat"], "{}"), after.text(["cat"], "{}"))


def test_result_is_nine_parts_of_the_trained_weights_and_one_of_the_original(
    images: list[Path], cache: Path, tmp_path: Path
) -> None:
    whole = state_of(align(TINY, TEACHER, options(mixing=1.0), images, tmp_path / "1", cache=cache))
    mixed = state_of(align(TINY, TEACHER, options(), images, tmp_path / "0.9", cache=cache))
    original = build_tower(TINY).open_clip_state()
    for name, before in original.items():
        torch.testing.assert_close(mixed[name], 0.9 * whole[name] + 0.1 * before, atol=1e-7, rtol=1e-6)
        if not name.startswith("visual.transformer"):
            assert torch.equal(mixed[name], before), name


def test_ended_training_goes_on_to_the_same_weights(images: list[Path], cache: Path, tmp_path: Path) -> None:
    class EndedError(Exception):
        pass

    def end(step: int, total: int, figures: Mapping[str, float]) -> None:
        if step == 3:
            raise EndedError

    expected = state_of(align(TINY, TEACHER, options(), images, tmp_path / "whole", cache=cache))
    with pytest.raises(EndedError):
        align(TINY, TEACHER, options(), images, tmp_path / "ended", cache=cache, progress=end)
    assert (tmp_path / "ended" / CHECKPOINT).is_file()
    found = state_of(align(TINY, TEACHER, options(), images, tmp_path / "ended", cache=cache))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (tmp_path / "ended" / CHECKPOINT).exists()
    curves = [json.loads((tmp_path / f / FACTS).read_text())["curve"] for f in ("whole", "ended")]
    assert curves[0] == curves[1]


def test_a_finished_folder_is_left_alone_and_another_recipe_refused(
    images: list[Path], cache: Path, tmp_path: Path
) -> None:
    folder = align(TINY, TEACHER, options(iterations=1), images, tmp_path, cache=cache)
    stamp = (folder / WEIGHTS).stat().st_mtime_ns
    align(TINY, TEACHER, options(iterations=1, workers=1), images, tmp_path, cache=cache)
    assert (folder / WEIGHTS).stat().st_mtime_ns == stamp
    assert (folder / CONFIG).is_file()
    with pytest.raises(RunError, match="another alignment"):
        align(TINY, TEACHER, options(iterations=2), images, tmp_path, cache=cache)


def test_alignment_brings_the_trained_model_nearer_to_the_powerful_one(
    images: list[Path], cache: Path, tmp_path: Path
) -> None:
    losses: list[float] = []
    many = options(iterations=25, batch_size=4, lr=3e-3)
    align(TINY, TEACHER, many, images, tmp_path, cache=cache, progress=lambda s, t, f: losses.append(f["loss"]))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_matrices_decay_and_vectors_do_not() -> None:
    tower = build_tower(TINY)
    train_last_blocks(tower, 1)
    matrices, vectors = param_groups(tower, 0.1)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(tower.blocks[-1].parameters()))


def test_query_and_key_of_evas_last_block_do_not_train() -> None:
    tower = build_tower(TowerSpec("tiny-eva", None, resolution=48))
    train_last_blocks(tower, 2)
    frozen = [n for block in tower.blocks[-2:] for n, p in block.named_parameters() if not p.requires_grad]
    assert sorted(frozen) == ["attn.k_proj.weight", "attn.q_proj.bias", "attn.q_proj.weight"]


@pytest.mark.slow
def test_as_many_parameters_of_eva_b16_train_as_recorded() -> None:
    tower = build_tower(TowerSpec("EVA02-B-16", None, resolution=512))
    train_last_blocks(tower, 12)
    assert sum(p.numel() for p in tower.parameters() if p.requires_grad) == 83_944_704
    assert sum(p.numel() for p in tower.parameters()) == 149_691_137


def test_no_image_and_a_broken_image_are_errors_of_the_data(images: list[Path], cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"):
        align(TINY, TEACHER, options(), [], tmp_path / "none", cache=cache)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        align(TINY, TEACHER, options(), [broken], tmp_path / "broken", cache=cache)


def test_unit_text_is_an_option(images: list[Path], cache: Path, tmp_path: Path) -> None:
    from baselines.densevlm.train import _Training

    templates = ("{}", "a photo of {article} {}.")
    lengths = [
        _Training(TINY, TEACHER, options(templates=templates, unit_text=unit), images, 0, torch.device("cpu"), cache)
        .texts[0]
        .norm(dim=-1)
        for unit in (True, False)
    ]
    torch.testing.assert_close(lengths[0], torch.ones(133))
    assert (lengths[1] < 1 - 1e-6).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("objective", "choices"), [("decoupled", 2), ("logits", 1), ("features", 0)])
def test_the_loss_waits_for_the_device_at_the_sizes_of_regions_and_at_the_choice_of_categories(
    objective: str, choices: int, precision: str, images: list[Path], cache: Path
) -> None:
    training = _Training(TINY, TEACHER, options(objective=objective), images, 0, torch.device("cpu"), cache)
    with fake_device(answer=True) as waits:  # there are things and stuff
        put(training.student)
        put(training.powerful)
        training.device = torch.device(KIND)
        training.things = torch.empty_like(training.things, device=KIND)
        training.texts = [torch.empty_like(text, device=KIND) for text in training.texts]
        pixels = torch.empty(2, 3, 32, 32, dtype=torch.uint8, device=KIND)
        regions = torch.empty(2, 4, dtype=torch.bool, device=KIND)
        with autocast(precision):
            outcome = training.loss(Batch(pixels, torch.empty(2, 4, 4, device=KIND), regions))
    assert (outcome.loss.dtype, outcome.loss.device.type) == (torch.float32, KIND)
    assert outcome.loss.requires_grad
    where = [wait.where.removeprefix("baselines.densevlm.loss:") for wait in waits]
    # Both axes of the boxes of both towers; of things and of all: are there any, and their logits of both towers.
    choice = ["divergence", "divergence.<locals>.<genexpr>", "divergence.<locals>.<genexpr>"]
    assert where == ["repro.metrics.regions.roi_align:_axis"] * 4 + choices * choice
