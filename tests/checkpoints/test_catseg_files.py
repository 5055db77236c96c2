"""Official CAT-Seg checkpoints: recognised whatever surrounds them, refused when they are not whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import meta_file, small_method
from recordings import shapes
from torch import Tensor

from baselines.catseg.checkpoint import OFFICIAL, official_masks, official_name
from baselines.catseg.options import CatSegOptions
from repro.checkpoints.importing import Imported, import_checkpoint, our_state
from repro.checkpoints.reading import read_foreign
from repro.checkpoints.recognise import MisfitError, recognise
from repro.methods.weights import read_weights, save_weights
from repro.runs.weights.described import describe_weights
from repro.runs.weights.exporting import export_checkpoint

PREFIX = "sem_seg_head.predictor."


def bring_in(value: Any, folder: Path, wanted: str | None = "catseg-small") -> Imported:
    folder.mkdir(exist_ok=True)
    torch.save(value, folder / "file.pth")
    return import_checkpoint(recognise(read_foreign(folder / "file.pth"), wanted), folder / "out", folder)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) and a[n].dtype == b[n].dtype for n in a)


# -- the released lists ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("size", "variant"), [("B", "catseg-vitb"), ("L", "catseg-vitl")])
def test_the_released_list_of_entries_is_recognised_and_comes_back(size: str, variant: str) -> None:
    released = shapes(size)
    masks = official_masks(CatSegOptions(), 24)
    assert {n for n in released if n.endswith("attn_mask")} == masks.keys()
    assert all(tuple(masks[n].shape) == released[n] for n in masks)
    file = meta_file(released, **masks)
    found = recognise(file)
    assert found.variant == variant
    ours = our_state(found)
    assert {n: tuple(t.shape) for n, t in ours.items()} == {
        ours: released[theirs] for theirs, ours in found.layout.names.items()
    }
    back = {official_name(n): tuple(t.shape) for n, t in ours.items()} | {n: tuple(t.shape) for n, t in masks.items()}
    assert back == released
    assert found.format.describe(variant)["tower"]["resolution"] == {"B": 384, "L": 336}[size]


def test_one_missing_entry_of_the_released_list_is_named_with_its_shape() -> None:
    released = shapes("B")
    gone = f"{PREFIX}transformer.head.weight"
    file = meta_file({n: s for n, s in released.items() if n != gone}, **official_masks(CatSegOptions(), 24))
    with pytest.raises(MisfitError, match=r"1 missing: sem_seg.*head.weight 1x32x3x3") as caught:
        recognise(file)
    assert caught.value.report["nearest"] == "catseg-vitb"


def test_a_large_file_is_not_a_base_one_and_the_command_for_it_is_named() -> None:
    file = meta_file(shapes("L"), **official_masks(CatSegOptions(), 24))
    with pytest.raises(MisfitError, match="is not a complete CAT-Seg \\(B\\)") as caught:
        recognise(file, "catseg-vitb")
    assert caught.value.mend == "repro import-checkpoint file.pth --as catseg-vitl"
    report = caught.value.report
    assert report["nearest"] == "catseg-vitl"
    # 24 blocks instead of 12: the file has the others in excess and every width is another.
    assert {e["name"] for e in report["unexpected"]} >= {
        f"{PREFIX}clip_model.visual.transformer.resblocks.23.ln_1.bias"
    }
    assert {"name": "upsample1.weight", "found": [1024, 256, 2, 2], "expected": [768, 256, 2, 2]} in report["reshaped"]


# -- values ------------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_variant")
def test_import_then_export_gives_the_file_to_the_bit(official: dict[str, Tensor], tmp_path: Path) -> None:
    result = bring_in({"model": official}, tmp_path)
    export_checkpoint(result.weights, tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    assert same(back, official)
    assert sum(n.endswith("attn_mask") for n in back) == 2


@pytest.mark.usefixtures("small_variant")
def test_export_then_import_gives_our_weights_to_the_bit(tmp_path: Path) -> None:
    method = small_method(seed=7)
    # Weights of a training have no tower in their header; the run's provenance does.
    save_weights(method, tmp_path / "weights.pth", "catseg", iterations=3)
    facts = {
        "tower": {"spec": dataclasses.asdict(method.clip.spec), "kind": "random"},
        "options": dataclasses.asdict(method.options),
    }
    (tmp_path / "provenance.json").write_text(json.dumps({"facts": facts}))
    exported = export_checkpoint(tmp_path, tmp_path / "official.pth")
    assert exported.variant == "catseg-small"
    assert exported.differing == {}
    found = recognise(read_foreign(tmp_path / "official.pth"), "catseg-small")
    assert same(our_state(found), {n: t.detach() for n, t in method.state_dict().items()})


@pytest.mark.usefixtures("small_variant")
def test_an_imported_file_builds_a_method_that_computes_the_same(
    small: Any, official: dict[str, Tensor], tmp_path: Path
) -> None:
    result = bring_in({"model": official}, tmp_path)
    built = describe_weights(result.folder).build()
    images = 255 * torch.rand(1, 3, 60, 72)
    with torch.no_grad():
        assert torch.equal(built(images, ["dog", "sky"]), small(images, ["dog", "sky"]))


# -- what surrounds the weights ----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_variant")
def test_everything_detectron2_writes_beside_the_weights_is_left_out(
    official: dict[str, Tensor], tmp_path: Path
) -> None:
    scheduler = {"last_epoch": np.int64(79999), "base_lrs": [np.float64(2e-4)], "best": np.float32(0.3)}
    adam = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}, "param_groups": [{"params": [0]}]}
    whole = {
        "model": {f"module.{n}": t for n, t in official.items()} | {"module.pixel_mean": torch.zeros(3, 1, 1)},
        "optimizer": adam,
        "scheduler": scheduler,
        "trainer": {"iteration": 79999, "hooks": {"LRScheduler": scheduler}, "_trainer": {"optimizer": adam}},
        "curve": np.arange(3.0),
        "iteration": np.int64(79999),
        "__author__": "someone",
    }
    result = bring_in(whole, tmp_path)
    assert result.record["left_out"] == ["curve", "optimizer", "pixel_mean", "scheduler", "trainer"]
    assert result.record["beside"] == {"__author__": "someone", "iteration": 79999}
    alone = bring_in(dict(official), tmp_path / "alone")
    assert same(read_weights(alone.weights)["state_dict"], read_weights(result.weights)["state_dict"])


@pytest.mark.usefixtures("small_variant")
def test_numpy_arrays_as_weights_and_the_old_file_form_are_read(official: dict[str, Tensor], tmp_path: Path) -> None:
    arrays = {"model": {n: t.numpy() for n, t in official.items()}}
    new = read_weights(bring_in({"model": official}, tmp_path / "new").weights)["state_dict"]
    assert same(read_weights(bring_in(arrays, tmp_path / "arrays").weights)["state_dict"], new)
    torch.save({"model": official}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found = recognise(read_foreign(tmp_path / "old.pth"), "catseg-small")
    assert same(our_state(found), new)


@pytest.mark.usefixtures("small_variant")
def test_half_precision_becomes_float32_and_is_reported(official: dict[str, Tensor], tmp_path: Path) -> None:
    tower = [n for n in official if "clip_model" in n]
    half = {n: t.half() if n in tower else t for n, t in official.items()}
    result = bring_in({"model": half}, tmp_path)
    assert result.record["converted_to_float32"] == {"float16": len(tower)}
    state = read_weights(result.weights)["state_dict"]
    assert all(t.dtype == torch.float32 for t in state.values())
    name = "clip.model.visual.proj"
    assert torch.equal(state[name], official[f"{PREFIX}clip_model.visual.proj"].half().float())


@pytest.mark.usefixtures("small_variant")
def test_views_of_a_larger_tensor_are_stored_alone(official: dict[str, Tensor], tmp_path: Path) -> None:
    name = f"{PREFIX}transformer.head.bias"
    views = {**official, name: torch.cat([official[name], torch.zeros(1_000_000)])[:1]}
    result = bring_in({"model": views}, tmp_path)
    stored = read_weights(result.weights)["state_dict"]["aggregator.decoder.head.bias"]
    assert stored.untyped_storage().nbytes() < 4096
    assert torch.equal(stored, official[name])


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("small_variant")
def test_all_faults_are_listed_and_long_lists_are_cut(official: dict[str, Tensor], tmp_path: Path) -> None:
    swin = [n for n in official if "swin_block.block_1" in n]
    broken = {n: t for n, t in official.items() if n not in swin}
    broken["upsample1.bias"] = torch.zeros(17)
    broken["extra.weight"] = torch.zeros(2, 3)
    with pytest.raises(MisfitError) as caught:
        bring_in({"model": broken}, tmp_path)
    text, report = str(caught.value), caught.value.report
    assert f"{len(swin)} missing: " in text
    assert f"and {len(swin) - 8} more" in text
    assert "1 unexpected: extra.weight 2x3" in text
    assert "1 of another shape: upsample1.bias 17 instead of 16" in text
    assert {e["name"] for e in report["missing"]} == set(swin)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("small_variant")
def test_a_mask_of_other_windows_is_refused(official: dict[str, Tensor], tmp_path: Path) -> None:
    name = next(n for n in official if n.endswith("attn_mask"))
    official[name] = -official[name]
    with pytest.raises(MisfitError, match=r"other values than the model computes: .*attn_mask"):
        bring_in({"model": official}, tmp_path)


def test_a_file_of_the_first_release_is_called_so() -> None:
    first = {**shapes("B"), "backbone.res2.0.conv1.weight": (64, 64, 1, 1)}
    with pytest.raises(MisfitError, match="first release"):
        recognise(meta_file(first, **official_masks(CatSegOptions(), 24)))


def test_the_format_knows_every_entry_of_our_model_and_no_other() -> None:
    with pytest.raises(KeyError):
        OFFICIAL.official_name("aggregator.nothing")
    assert OFFICIAL.guess({"visual.conv1.weight": (768, 3, 16, 16)}) == ()
