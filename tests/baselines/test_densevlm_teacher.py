"""Who teaches, and whether it may: shares of labels in regions, the premise of an alignment, labels as a control."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from baselines.densevlm import ALIGNMENT
from baselines.densevlm.data import RegionSet, region_shares
from baselines.densevlm.options import DenseVLMOptions
from baselines.densevlm.teacher import Premise, label_logits, premise, refuse_weak
from baselines.densevlm.train import _Training, align
from baselines.densevlm.trained import RegionFeatures
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import RunError, UsageError
from repro.methods.alignments import FACTS, WEIGHTS, Labels
from repro.metrics.regions.prompts import category_embeddings

BASE = TowerSpec("tiny", None, resolution=48, dense_residual="token")
OTHER = dataclasses.replace(BASE, seed=1)
NAMES = load_vocabulary("coco_stuff171").names
SKY, GRASS = 0, 1
COLOURS = np.array([[90, 150, 230], [40, 140, 50]], np.uint8)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Labels]:
    """Pictures of two colours, and the two classes they mean."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    images, masks = [], []
    for i in range(6):
        mask = np.zeros((40, 60), np.uint8)
        mask[10 + 4 * i % 20 :] = 1
        noise = rng.normal(0, 12, (40, 60, 3))
        images.append(folder / f"{i}.png")
        masks.append(folder / f"{i}-label.png")
        Image.fromarray(np.clip(COLOURS[mask] + noise, 0, 255).astype(np.uint8)).save(images[-1])
        Image.fromarray(np.where(mask == 1, GRASS, SKY).astype(np.uint8)).save(masks[-1])
    return images, Labels(tuple(masks), NAMES)


def options(**changes: object) -> DenseVLMOptions:
    quick = {"image_size": 48, "templates": ("{}",), "threshold": 0.0, "iterations": 2, "batch_size": 2, "workers": 0}
    made: DenseVLMOptions = ALIGNMENT.make_options({**quick, "warmup_iterations": 1, "lr": 1e-3, **changes})
    return made


def test_shares_are_counts_of_labelled_pixels() -> None:
    label = np.array([[0, 0, 1, 255], [0, 1, 1, 255], [2, 2, 255, 255]])
    cells = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [2, 2, 4, 3], [0, 0, 4, 3]], np.float32)
    expected = [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0], [3 / 8, 3 / 8, 2 / 8]]
    np.testing.assert_allclose(region_shares(label, cells, 3), expected, rtol=1e-6)


def test_shares_of_a_cell_smaller_than_a_pixel_are_those_of_one_pixel() -> None:
    label = np.array([[0, 1], [2, 3]])
    assert region_shares(label, np.array([[1.1, 0.2, 1.3, 0.4]], np.float32), 4).tolist() == [[0, 1, 0, 0]]


def test_logits_of_labels_are_their_shares() -> None:
    shares = torch.tensor([[[0.5, 0.5, 0.0, 0.0]]])
    found = label_logits(shares).softmax(dim=-1)
    torch.testing.assert_close(found, torch.tensor([[[0.499, 0.499, 0.001, 0.001]]]), rtol=0, atol=1e-3)


def test_samples_with_labels_are_those_without_and_their_shares(labels: tuple[list[Path], Labels]) -> None:
    images, known = labels
    plain = RegionSet(images, 48, 6, seed=3)
    with_labels = RegionSet(images, 48, 6, 3, known.files, len(NAMES))
    for item in ((0, 0), (4, 17)):
        a, b = plain[item], with_labels[item]
        assert torch.equal(a.boxes, b.boxes)  # type: ignore[union-attr]
        assert torch.equal(a.images, b.images)  # type: ignore[union-attr]
        assert a.shares is None  # type: ignore[union-attr]
        shares, valid = b.shares, b.valid  # type: ignore[union-attr]
        assert shares is not None
        torch.testing.assert_close(shares[valid].sum(dim=-1), torch.ones(int(valid.sum())))
        assert not shares[~valid].any()
        assert not shares[:, 2:].any()


def measured(teacher: TowerSpec, student: TowerSpec, labels: tuple[list[Path], Labels], threshold: float) -> Premise:
    images, known = labels
    towers = build_tower(teacher), build_tower(student)
    text = F.normalize(torch.randn(5, towers[0].embed_dim), dim=-1)
    data = RegionSet(images, 48, 6, 0, known.files, len(NAMES))
    names = [F.normalize(category_embeddings(t, known.names, None, ("{}",)), dim=-1) for t in towers]
    modules = RegionFeatures(towers[0]), RegionFeatures(towers[1])
    return premise(modules, names, data, (text, 0.01), threshold)


def test_the_premise_is_the_same_measure_of_both(labels: tuple[list[Path], Labels]) -> None:
    one, other = measured(BASE, OTHER, labels, 0.0), measured(OTHER, BASE, labels, 0.0)
    assert (one.teacher, one.student, one.regions) == (other.student, other.teacher, other.regions)
    assert not measured(BASE, BASE, labels, 0.0).holds
    assert measured(BASE, OTHER, labels, 1.0).regions == 0


def test_a_teacher_that_is_no_better_is_refused_with_both_numbers() -> None:
    refuse_weak(Premise(0.51, 0.5, 100))
    with pytest.raises(RunError) as error:
        refuse_weak(Premise(0.4, 0.5, 100))
    assert "50.0 %" in str(error.value.expected)
    assert "40.0 % of the 100" in str(error.value.found)
    assert "accept_weak_teacher=True" in str(error.value.mend)


@pytest.mark.follows("baselines.densevlm.teacher:refuse_weak")
def test_going_on_all_the_same_keeps_the_numbers(labels: tuple[list[Path], Labels], tmp_path: Path) -> None:
    images, known = labels
    with pytest.raises(RunError, match="no better than the model"):
        align(BASE, BASE, options(), images, tmp_path / "a", labels=known)
    align(BASE, BASE, options(accept_weak_teacher=True), images, tmp_path / "a", labels=known)
    found = json.loads((tmp_path / "a" / FACTS).read_text())["premise"]
    assert found["teacher"] == found["student"]
    align(BASE, BASE, options(), images, tmp_path / "b")  # without labels nobody can tell
    assert json.loads((tmp_path / "b" / FACTS).read_text())["premise"] is None


def test_labels_that_teach_raise_the_accuracy_of_regions(labels: tuple[list[Path], Labels], tmp_path: Path) -> None:
    images, known = labels
    made = options(teacher="labels", categories="coco_stuff171", temperature="tower", iterations=40, mixing=1.0)
    align(BASE, OTHER, made, images, tmp_path, labels=known)
    after = dataclasses.replace(BASE, model=str(tmp_path), weights=WEIGHTS)
    found = measured(after, BASE, labels, 0.0)
    assert found.teacher > found.student + 0.3


@pytest.mark.follows("baselines.densevlm.train:_Training.__init__")
def test_labels_cannot_teach_without_labels_or_other_categories(
    labels: tuple[list[Path], Labels], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there are none"):
        align(BASE, OTHER, options(teacher="labels", categories="coco_stuff171"), labels[0], tmp_path)
    align(BASE, OTHER, options(categories="coco_stuff171"), labels[0], tmp_path)
    with pytest.raises(UsageError, match="coco_stuff171"):
        options(teacher="labels", categories="coco133")


def test_a_tower_s_own_temperature_is_what_it_was_trained_with(labels: tuple[list[Path], Labels]) -> None:
    training = _Training(BASE, OTHER, options(temperature="tower"), labels[0], 0, torch.device("cpu"), None)
    expected = [1 / float(build_tower(spec).logit_scale) for spec in (BASE, OTHER)]
    assert training.temperatures == pytest.approx(expected)
    fixed = _Training(BASE, OTHER, options(), labels[0], 0, torch.device("cpu"), None)
    assert fixed.temperatures == [0.01, 0.01]


def test_images_beside_labels_are_read_as_they_are_stored(tmp_path: Path) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:20] = 200
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a-label.png")
    stored = RegionSet([tmp_path / "a.png"], 40, 6, 0, [tmp_path / "a-label.png"], 1)[0, 0]
    upright = RegionSet([tmp_path / "a.png"], 40, 6, 0)[0, 0]
    assert stored.images[0, 0, 0] == 200  # type: ignore[union-attr]
    assert upright.images[0, 0, 0] == 0  # type: ignore[union-attr]


def test_a_resumed_alignment_keeps_the_premise_it_began_with(
    labels: tuple[list[Path], Labels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, known = labels
    made = options(accept_weak_teacher=True, iterations=3, checkpoint_every=1)

    def stop(step: int, total: int, figures: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(BASE, OTHER, made, images, tmp_path / "a", labels=known, progress=stop)
    align(BASE, OTHER, made, images, tmp_path / "b", labels=known)
    monkeypatch.setattr("baselines.densevlm.train.premise", lambda *_: pytest.fail("measured again"))
    align(BASE, OTHER, made, images, tmp_path / "a", labels=known)
    kept, whole = (json.loads((tmp_path / name / FACTS).read_text())["premise"] for name in ("a", "b"))
    assert kept is not None
    assert kept == whole
