"""The tiny CLIP: open_clip loads it, it resumes exactly, and its parts compute what they say."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from repro.errors import WeightsError
from repro.mini.clip.data import PairStream, draw_window, tokenize
from repro.mini.clip.model import build, image_tokens, normalised, text_features
from repro.mini.clip.optim import Muon, orthogonalised, rate
from repro.mini.clip.scores import dense_features, resized_positions
from repro.mini.clip.training import (
    CONFIG,
    PARTIAL,
    SCORES,
    TEST_RECIPE,
    WEIGHTS,
    Phase,
    TinyClipRecipe,
    train_tiny_clip,
)
from repro.runtime import import_torchvision


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_clip(tmp_path_factory.mktemp("tiny"), TEST_RECIPE)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder / WEIGHTS, weights_only=True)
    return weights


def test_open_clip_builds_the_folder_and_agrees_with_our_towers(trained: Path) -> None:
    import_torchvision()
    import open_clip

    model = open_clip.create_model(f"local-dir:{trained}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{trained}", context_length=TEST_RECIPE.context_length)
    stored = _weights(trained)
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[name]), name
    images = normalised(torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)))
    with torch.no_grad():
        pooled = image_tokens(model, images, (0, 0)).mean(1) @ model.visual.proj
        torch.testing.assert_close(pooled, model.encode_image(images))
        tokens = tokenizer(["a photo of a cat", "a dog and a very long sentence about it"])
        assert tokens.shape[1] == TEST_RECIPE.context_length
        expected = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1)
        torch.testing.assert_close(text_features(model, tokens), expected)
        torch.testing.assert_close(text_features(model, tokens[:, :12]), expected)


def test_full_read_out_averages_to_the_image_embedding(trained: Path) -> None:
    model = build(TEST_RECIPE).eval()
    model.load_state_dict(_weights(trained))
    images = normalised(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))
    with torch.no_grad():
        features = dense_features(model, images)
        tokens = image_tokens(model, images, (0, 0)) @ model.visual.proj
    torch.testing.assert_close(features["full"], torch.nn.functional.normalize(tokens, dim=-1))
    assert all(f.shape == (2, 16, TEST_RECIPE.embed_dim) for f in features.values())
    assert not torch.allclose(features["value/token"], features["value/cls"])


def test_looking_at_all_patches_in_order_is_looking_at_the_image() -> None:
    model = build(TEST_RECIPE).eval()
    images = normalised(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))
    with torch.no_grad():
        whole = image_tokens(model, images, (0, 0))
        torch.testing.assert_close(image_tokens(model, images, (0, 0), torch.arange(16)), whole)
        assert image_tokens(model, images, (0, 0), torch.tensor([0, 5, 9])).shape == (2, 3, TEST_RECIPE.width)


def test_a_part_of_a_picture_takes_the_positions_of_its_corner() -> None:
    model = build(TEST_RECIPE).eval()
    images = normalised(torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8))
    with torch.no_grad():
        moved = image_tokens(model, images, (2, 1))
        assert not torch.allclose(moved, image_tokens(model, images, (0, 0)))
        grid = model.visual.positional_embedding[1:].view(4, 4, -1)
        grid[:2, :2] = grid[2:4, 1:3].clone()
        torch.testing.assert_close(image_tokens(model, images, (0, 0)), moved)


@pytest.mark.parametrize("stop", [3, 5])
def test_interrupted_training_ends_with_the_same_weights(trained: Path, tmp_path: Path, stop: int) -> None:
    def interrupt(done: int, total: int, figures: Mapping[str, float]) -> None:
        assert total == TEST_RECIPE.steps
        assert figures["loss"] > 0
        if done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny_clip(tmp_path, TEST_RECIPE, interrupt)
    assert (tmp_path / PARTIAL).is_file()
    assert not (tmp_path / SCORES).exists()
    seen: list[int] = []
    train_tiny_clip(tmp_path, TEST_RECIPE, lambda done, total, figures: seen.append(done))
    assert seen == list(range(stop // 2 * 2 + 1, TEST_RECIPE.steps + 1))
    mine, reference = _weights(tmp_path), _weights(trained)
    assert mine.keys() == reference.keys()
    assert all(torch.equal(mine[name], reference[name]) for name in mine)
    assert not (tmp_path / PARTIAL).exists()


def test_finished_folder_is_not_trained_again(trained: Path) -> None:
    before = (trained / WEIGHTS).stat().st_mtime_ns
    calls: list[int] = []
    assert train_tiny_clip(trained, TEST_RECIPE, lambda done, total, figures: calls.append(done)) == trained
    assert not calls
    assert (trained / WEIGHTS).stat().st_mtime_ns == before


def test_another_recipe_or_a_damaged_checkpoint_is_one_clear_error(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="another recipe"):
        train_tiny_clip(trained, dataclasses.replace(TEST_RECIPE, seed=1))
    (tmp_path / PARTIAL).write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be read") as caught:
        train_tiny_clip(tmp_path, TEST_RECIPE)
    assert str(caught.value.mend).startswith(f"move {tmp_path / PARTIAL} away")


def test_scores_are_complete(trained: Path) -> None:
    scores = json.loads((trained / SCORES).read_text())
    assert scores["steps"] == TEST_RECIPE.steps == 6
    assert scores["pairs"] == 4 * 8 + 2 * 6
    assert scores["torch"] == torch.__version__
    assert 0 <= scores["crop_top1"] <= 1
    assert {"image_to_text_top1", "text_to_image_top5"} <= scores["retrieval"].keys()
    assert 0 <= scores["synonym_top1"] <= 1
    assert {"seen", "unseen", "chance"} == scores["compositions"].keys()
    assert len(scores["crop_hits"]) == scores["concepts"]
    for view in scores["dense"].values():
        for name in ("full", "value/token", "value/cls"):
            assert {"accuracy", "thing", "stuff", "stuff_called_thing", "thing_called_stuff"} <= view[name].keys()
    config = json.loads((trained / CONFIG).read_text())
    assert config["model_cfg"]["vision_cfg"]["pool_type"] == "avg"
    assert len(config["preprocess_cfg"]["mean"]) == 3


def test_batches_are_a_pure_function_of_the_step_and_fresh_each_step() -> None:
    first, again = PairStream(TEST_RECIPE)[2], PairStream(TEST_RECIPE)[2]
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.groups, again.groups)
    assert not torch.equal(first.images, PairStream(TEST_RECIPE)[1].images)


def test_all_crops_of_a_batch_show_different_concepts() -> None:
    recipe = dataclasses.replace(TEST_RECIPE, phases=(Phase(1, 40, 16, 1.0, 1.0),))
    assert PairStream(recipe)[0].groups.unique().numel() == 40


def test_phases_follow_each_other_and_a_configuration_may_give_them_as_mappings() -> None:
    recipe = TinyClipRecipe(phases=({"steps": 3, "batch": 4, "side": 32}, {"steps": 2, "batch": 4, "side": 64}))  # type: ignore[arg-type]
    assert recipe.phase_at(2) == (recipe.phases[0], 2 / 3)
    assert recipe.phase_at(3) == (recipe.phases[1], 0.0)
    assert recipe.steps == 5
    assert recipe.address() == dataclasses.replace(recipe).address()
    assert recipe.address() != dataclasses.replace(recipe, lr=1e-9).address()
    with pytest.raises(IndexError):
        recipe.phase_at(5)


def test_every_prompt_of_every_vocabulary_keeps_its_end_of_text_token() -> None:
    from repro.datasets import vocabulary

    prompts = []
    for path in sorted((Path(vocabulary.__file__).parent / "vocab").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            names = (row["name"].split(", ")[0].strip() for row in csv.DictReader(stream))
            prompts += [f"A photo of a {name} in the scene" for name in names]
    assert len(prompts) > 1500
    wide = tokenize(prompts, 77)
    assert torch.equal(wide[:, : TinyClipRecipe().context_length], tokenize(prompts, TinyClipRecipe().context_length))


def test_whitened_patch_embedding_decorrelates_patches() -> None:
    model = build(TEST_RECIPE)
    images = torch.cat([PairStream(TEST_RECIPE)[step].images for step in range(4)])
    with torch.no_grad():
        out = model.visual.conv1(normalised(images)).transpose(0, 1).flatten(1)
    moment = out @ out.T / out.shape[1]
    away = moment - torch.diag(moment.diag())
    assert away.abs().mean() < 0.1 * moment.diag().mean()


def test_orthogonalised_update_has_unit_singular_values_and_the_same_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((2, 24, 60), (2, 60, 24)):
        matrix = torch.randn(*shape, generator=generator)
        update = orthogonalised(matrix, 8)
        assert update.shape == matrix.shape
        values = torch.linalg.svdvals(update)
        assert values.min() > 0.6
        assert values.max() < 1.3
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        aligned = (u.mT @ update @ v.mT).diagonal(dim1=1, dim2=2)
        assert (aligned > 0.6).all()


def test_muon_moves_every_matrix_by_its_own_direction_and_the_rate() -> None:
    """Batching matrices of one shape, and cutting a joint projection in three, leaves each its own update."""
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(*shape, generator=generator) for shape in ((8, 8), (24, 8), (8, 8), (32, 8))]
    grads = [torch.randn(value.shape, generator=generator) for value in start]
    parameters = [torch.nn.Parameter(value.clone()) for value in start]
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.clone()
    Muon(parameters, lr=0.1, weight_decay=0.5).step()

    def expected(value: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
        direction = orthogonalised(grad[None])[0]  # of the momentum of a first step too: the same but for its length
        return value * (1 - 0.1 * 0.5) - 0.1 * 0.2 * max(value.shape) ** 0.5 * direction

    joint = torch.cat([expected(v, g) for v, g in zip(start[1].chunk(3), grads[1].chunk(3), strict=True)])
    torch.testing.assert_close(parameters[0].data, expected(start[0], grads[0]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parameters[1].data, joint, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parameters[2].data, expected(start[2], grads[2]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parameters[3].data, expected(start[3], grads[3]), rtol=1e-4, atol=1e-5)


def test_schedule_warms_up_then_falls_to_zero() -> None:
    assert rate(0, 100, 10) == pytest.approx(0.1)
    assert rate(9, 100, 10) == pytest.approx(1.0)
    assert rate(55, 100, 10) == pytest.approx(0.5)
    assert rate(100, 100, 10) == pytest.approx(0.0)


def test_positions_of_the_own_grid_are_untouched_and_a_constant_stays_constant() -> None:
    positions = torch.randn(17, 5)
    assert resized_positions(positions, 4) is positions
    larger = resized_positions(torch.ones(17, 5), 6)
    assert larger.shape == (37, 5)
    torch.testing.assert_close(larger, torch.ones(37, 5))


def test_window_labels_match_the_window() -> None:
    labels = np.arange(40 * 50, dtype=np.int16).reshape(40, 50)
    image = np.repeat((labels % 251).astype(np.uint8)[..., None], 3, 2)
    window, part = draw_window(np.random.default_rng(0), image, labels, (1.0, 1.0), 40)
    assert window.shape == (40, 40, 3)
    assert part.shape[0] == 40
    assert np.array_equal(part, labels[:, part[0, 0] : part[0, -1] + 1])
