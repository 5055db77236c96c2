"""Training samples from caption labels, and SynSeg's loss on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from caption_files import jpeg, stand_in, write_coco, write_shard
from torch.utils.data import DataLoader

from baselines.synseg import METHOD
from repro.captions import convert
from repro.captions.image_set import LabelSet, collate_labels, crop_square
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import DataError
from repro.training.sampler import StreamSampler


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """Labels of four images in a folder: dog, cat; dog; a file that is absent; a path that leads elsewhere."""
    stand_in(monkeypatch)
    images = [(1, "a.jpg"), (2, "b.jpg"), (3, "absent.jpg"), (4, "up/a.jpg"), (5, "none.jpg")]
    captions = [(1, "dog cat"), (2, "dog"), (3, "cow"), (4, "dog"), (5, "of")]
    convert(write_coco(tmp_path / "c.json", images, captions), tmp_path / "labels")
    (shard,) = (tmp_path / "labels" / "shards").glob("*.jsonl")
    shard.write_text(shard.read_text().replace("up/a.jpg", "../a.jpg"))  # not by convert: it leaves such names out
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(jpeg(10))
    (tmp_path / "images" / "b.jpg").write_bytes(jpeg(200, 90, 30))
    return tmp_path


def label_set(folder, **options):
    return LabelSet(folder / "labels", folder / "images", **{"side": 32, **options})


def test_a_sample_is_an_eight_bit_crop_with_the_labels_of_its_image(coco):
    data = label_set(coco)
    sample = data[0, 17]
    assert len(data) == 4
    assert sample["image"].shape == (3, 32, 32)
    assert sample["image"].dtype == torch.uint8
    assert (sample["labels"], sample["position"]) == (("dog", "cat"), 17)
    assert (sample["image"].float().mean() - 10).abs() < 2


def test_rare_labels_and_images_left_without_one_are_not_drawn(coco):
    data = label_set(coco, min_count=2)
    assert [data.record(i).labels for i in range(len(data))] == [("dog",)] * 3
    with pytest.raises(DataError, match="has a label"):
        label_set(coco, min_count=9)


@pytest.mark.parametrize(("index", "found"), [(2, "absent"), (3, "leads elsewhere")])
def test_an_image_that_is_absent_or_outside_the_folder_is_returned_as_a_data_error(coco, index, found):
    data = label_set(coco)
    error = data[index, 0]
    assert isinstance(error, DataError)
    assert found in str(error)
    assert collate_labels([data[0, 0], error]) is error


def test_an_address_is_refused_with_the_way_to_images(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    (tmp_path / "a.tsv").write_text("https://example.org/a.jpg\tdog\n")
    convert(tmp_path / "a.tsv", tmp_path / "labels")
    error = LabelSet(tmp_path / "labels", tmp_path)[0, 0]
    assert isinstance(error, DataError)
    assert "an address" in str(error)


def test_images_are_read_out_of_archives(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    write_shard(tmp_path / "0.tar", ["dog", "cat"])
    write_shard(tmp_path / "1.tar", ["cow", "cat", "pig"])
    convert(tmp_path, tmp_path / "labels", "webdataset")
    data = LabelSet(tmp_path / "labels", tmp_path, side=32)
    assert [data.record(i).labels for i in range(5)] == [("dog",), ("cat",), ("cow",), ("cat",), ("pig",)]
    levels = [data[i, 0]["image"].float().mean().item() for i in range(5)]
    assert levels == pytest.approx([0, 1, 0, 1, 2], abs=0.6)
    (tmp_path / "1.tar").write_bytes(b"")
    assert isinstance(data[3, 0], DataError)


def test_a_crop_depends_on_position_and_seed_alone_and_shows_its_image():
    image = np.arange(40 * 90 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 90, 3)
    one, again, other = (crop_square(image, 40, np.random.default_rng((0, p))) for p in (5, 5, 6))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    windows = np.lib.stride_tricks.sliding_window_view(image, (40, 40), axis=(0, 1))[0].transpose(0, 2, 3, 1)
    assert any(np.array_equal(one, w) or np.array_equal(one[:, ::-1], w) for w in windows)


def test_a_batch_has_the_union_of_labels_and_who_has_which(coco):
    data = label_set(coco)
    batch = collate_labels([data[1, 0], data[0, 1]])
    assert batch["classes"] == ("dog", "cat")
    assert batch["present"].tolist() == [[True, False], [True, True]]
    assert batch["image"].shape == (2, 3, 32, 32)
    assert batch["position"].tolist() == [0, 1]


def test_synseg_learns_from_batches_of_captions(coco):
    (coco / "images" / "absent.jpg").write_bytes(jpeg(90))
    (coco / "a.jpg").write_bytes(jpeg(90))
    data = label_set(coco, min_count=1)
    torch.manual_seed(0)
    tower = build_tower(TowerSpec(model="tiny", weights=None, resolution=48))
    options = {"width": 16, "heads": 2, "mlp_width": 32, "film_hidden": 16}
    method = METHOD.create(tower, METHOD.make_options(options))
    optimizer = torch.optim.AdamW(method.param_groups(1e-3, 0.0))
    sampler = StreamSampler(3, 24, seed=0)
    totals = []
    for batch in DataLoader(data, batch_size=3, sampler=sampler, collate_fn=collate_labels):
        losses = method.image_loss(batch["image"].float(), batch["present"], batch["classes"])
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert np.isfinite(totals).all()
    assert totals[-1] < totals[0]
