"""mmsegmentation in both directions: its own evaluator, optimiser and networks beside ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from interop_world import ONE_VIEW, SETS, World

from repro import evaluate
from repro.datasets.benchmarks import get_benchmark
from repro.errors import UsageError
from repro.metrics.counts import Counts

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("mmseg") is None, reason="needs mmsegmentation: docs/interop.md"),
]
SMOKE = {"profile": "smoke"}
LOADER = {"batch_size": 1, "num_workers": 0, "sampler": {"type": "DefaultSampler", "shuffle": False}}


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    from mmengine.registry import init_default_scope

    import repro.interop.mmseg  # noqa: F401

    init_default_scope("mmseg")


def run_test(
    work_dir: Path, model: dict[str, Any], data_set: dict[str, Any], ignored: int = 255, **more: Any
) -> tuple[Any, Any]:
    """What ``Runner.test`` with IoUMetric reports, and the pixel counts (intersection, truth, prediction) it sums."""
    from mmengine.config import Config
    from mmengine.runner import Runner

    runner = Runner.from_cfg(
        Config(
            {
                "default_scope": "mmseg",
                "work_dir": str(work_dir),
                "log_level": "ERROR",
                "model": model,
                "test_dataloader": {**LOADER, "dataset": data_set},
                "test_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"], "ignore_index": ignored},
                "test_cfg": {"type": "TestLoop"},
                **more,
            }
        )
    )
    (metric,) = runner.test_loop.evaluator.metrics
    kept: list[Any] = []
    summed = metric.compute_metrics
    metric.compute_metrics = lambda results: (kept.extend(results), summed(results))[1]
    figures = runner.test()
    areas = [torch.stack([result[i] for result in kept]).sum(0).long().tolist() for i in (0, 3, 2)]
    return figures, areas


@pytest.mark.parametrize("name", SETS)
def test_the_runner_of_mmsegmentation_finds_our_miou_union(world: World, tmp_path: Path, name: str) -> None:
    row, ignored = world.rows[name], get_benchmark(name).ignore_label
    model = {"type": "ReproSegmentor", "method": "clip", "classes": name, "weights": None, "runs": str(world.runs)}
    data = {"type": f"Repro-{name}", "data_root": str(world.data)}
    figures, areas = run_test(tmp_path, {**model, **SMOKE}, data, ignored)
    counts = Counts.load(Path(row["folder"]) / "counts.npz")
    assert areas == [total.tolist() for total in counts.totals()]
    assert figures["mIoU"] == round(100 * row["miou_union"], 2)
    assert figures["aAcc"] == round(100 * row["pacc"], 2)


def test_images_that_the_pipeline_resized_are_refused(world: World, tmp_path: Path) -> None:
    pipeline = [{"type": "LoadReproPair"}, {"type": "Resize", "scale": (40, 40)}, {"type": "PackSegInputs"}]
    model = {"type": "ReproSegmentor", "method": "clip", "classes": "A-150", "weights": None, "runs": str(world.runs)}
    data = {"type": "ReproDataset", "data_set": "A-150", "data_root": str(world.data), "pipeline": pipeline}
    with pytest.raises(UsageError, match="resized before the segmentor"):
        run_test(tmp_path, {**model, **SMOKE}, data)


@pytest.mark.follows("repro.interop.mmseg.segmentor:_check_size", "repro.interop.mmseg.data_sets:ReproDataset.__init__")
def test_a_pipeline_and_a_data_set_as_the_mends_say_are_taken(world: World) -> None:
    import numpy as np
    from mmseg.registry import DATASETS, MODELS

    model = MODELS.build({"type": "ReproSegmentor", "method": "clip", "classes": ["sky", "wall"], **SMOKE})
    data = {"type": "ReproDataset", "data_set": "A-150", "data_root": str(world.data)}
    pipeline = [{"type": "LoadReproPair"}, {"type": "Resize", "scale": (40, 40)}, {"type": "PackSegInputs"}]
    resized = DATASETS.build({**data, "pipeline": pipeline})[0]
    with pytest.raises(UsageError) as refused:
        model.test_step({"inputs": [resized["inputs"]], "data_samples": [resized["data_samples"]]})
    assert "LoadReproPair, then PackSegInputs" in str(refused.value.mend)
    with pytest.raises(UsageError, match="begin with class 0"):
        DATASETS.build({**data, "reduce_zero_label": True})
    item = DATASETS.build(data)[0]
    (found,) = model.test_step({"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]})
    assert found.pred_sem_seg.data.shape == found.gt_sem_seg.data.shape
    assert set(np.unique(found.pred_sem_seg.data.numpy())) <= {0, 1}


def test_one_step_of_its_optimiser_is_one_of_ours(world: World, tmp_path: Path) -> None:
    from mmengine.optim import build_optim_wrapper
    from mmseg.registry import DATASETS, MODELS

    from repro.api import load
    from repro.training.optim import BETAS, AutocastOptimWrapper, build_optimizer
    from repro.training.settings import Placement, TrainSettings
    from repro.training.step import TrainModel

    settings = TrainSettings(lr=1e-3, weight_decay=1e-2, clip_grad_norm=0.01)
    crop = {"type": "ReproCrop", "short_side": 48, "crop": 48}
    data = {"type": "Repro-coco-stuff", "data_root": str(world.data), "split": "train"}
    data_set = DATASETS.build({**data, "pipeline": [{"type": "LoadReproPair"}, crop, {"type": "PackSegInputs"}]})
    items = [data_set[0], data_set[1]]
    words = {"type": "ReproSegmentor", "method": "synseg", "classes": "A-150", "train_classes": "coco-stuff"}
    theirs = MODELS.build({**words, **SMOKE, "runs": str(world.runs)}).train()
    ours = load("synseg", "none", device="cpu", runs=world.runs, **SMOKE).method
    assert all(torch.equal(a, b) for a, b in zip(theirs.method.parameters(), ours.parameters(), strict=True))

    wrapper = {
        "constructor": "ReproOptimWrapperConstructor",
        "optimizer": {"type": "AdamW", "lr": settings.lr, "betas": BETAS, "weight_decay": settings.weight_decay},
        "clip_grad": {"max_norm": settings.clip_grad_norm},
    }
    torch.manual_seed(0)
    batch = {"inputs": [i["inputs"] for i in items], "data_samples": [i["data_samples"] for i in items]}
    said = theirs.train_step(batch, build_optim_wrapper(theirs, wrapper))

    classes = get_benchmark("coco-stuff").prompt_names()
    model = TrainModel(ours, classes, torch.device("cpu"), settings, 0, Placement()).train()
    optim = AutocastOptimWrapper(build_optimizer(ours, settings), "off", model.device, settings.clip_grad_norm)
    images = torch.stack([i["inputs"].flip(0) for i in items])
    labels = torch.stack([i["data_samples"].gt_sem_seg.data[0] for i in items])
    torch.manual_seed(0)
    values = model.train_step({"image": images, "label": labels, "position": torch.arange(2)}, optim)

    assert float(said["loss"]) == pytest.approx(values["loss"], abs=1e-6)
    start = load("synseg", "none", device="cpu", runs=world.runs, **SMOKE).method.state_dict()
    own, other = ours.state_dict(), theirs.method.state_dict()
    moved = max(float((own[name] - start[name]).abs().max()) for name in own)
    apart = max(float((own[name] - other[name]).abs().max()) for name in own)
    assert moved > 1e-4
    assert apart < 1e-6
    saved = theirs.save_method(tmp_path / "weights.pth")
    again = load("synseg", saved, device="cpu", runs=world.runs, **SMOKE).method.state_dict()
    assert all(torch.equal(other[name], again[name]) for name in other)


CONFIG = """
default_scope = "mmseg"
model = dict(
    type="EncoderDecoder",
    pretrained="nowhere.pth",
    data_preprocessor=dict(type="SegDataPreProcessor", mean=[100.0, 110, 120], std=[50.0, 60, 70], bgr_to_rgb=True),
    backbone=dict(type="ResNetV1c", depth=18, base_channels=8, norm_cfg=dict(type="BN")),
    decode_head=dict(type="FCNHead", in_channels=64, channels=8, num_convs=1, num_classes=150,
                     norm_cfg=dict(type="BN")),
    test_cfg=dict(mode="whole"),
)
test_dataloader = dict(dataset=dict(type="ADE20KDataset"))
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small network of mmsegmentation over ADE20K's 150 classes, as options."""
    from mmengine.config import Config
    from mmseg.registry import MODELS

    folder = tmp_path_factory.mktemp("foreign")
    (folder / "tiny.py").write_text(CONFIG)
    config = Config.fromfile(folder / "tiny.py")
    torch.manual_seed(1)
    model = MODELS.build({**config.model, "pretrained": None})
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=1.0)
    model.decode_head.conv_seg.bias.data[:11] = 9.0  # predicts what the pictures show
    torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 1}}, folder / "tiny.pth")
    return {"config": str(folder / "tiny.py"), "checkpoint": str(folder / "tiny.pth")}


def test_its_network_is_evaluated_as_its_own_runner_does(foreign: dict[str, str], ade: Path, tmp_path: Path) -> None:
    from mmengine.config import Config

    words: dict[str, Any] = {"options": foreign, "changes": ONE_VIEW, "data_root": ade, "runs": tmp_path / "runs"}
    (row,) = evaluate("mmseg", ["A-150"], device="cpu", **SMOKE, **words)
    loading = [{"type": "LoadImageFromFile", "imdecode_backend": "pillow"}, {"type": "LoadAnnotations"}]
    prefix = {"img_path": "images/validation", "seg_map_path": "annotations/validation"}
    data = {"type": "ADE20KDataset", "data_root": str(ade / "ADEChallengeData2016"), "data_prefix": prefix}
    model = {**Config.fromfile(foreign["config"]).model, "pretrained": None}
    loaded = {**data, "pipeline": [*loading, {"type": "PackSegInputs"}]}
    figures, areas = run_test(tmp_path, model, loaded, load_from=foreign["checkpoint"])
    counts = Counts.load(Path(row["folder"]) / "counts.npz")
    assert areas == [total.tolist() for total in counts.totals()]
    assert sum(areas[0]) > 0
    assert figures["mIoU"] == round(100 * row["miou_union"], 2)


def test_what_its_files_hold_is_part_of_the_address(foreign: dict[str, str], ade: Path, tmp_path: Path) -> None:
    from repro.methods import get_method

    entry = get_method("mmseg")
    own = entry.make_options(foreign)
    assert own == entry.make_options(foreign)
    base = tmp_path / "base.py"
    base.write_text(Path(foreign["config"]).read_text())
    above = tmp_path / "above.py"
    above.write_text('_base_ = "./base.py"\n')
    inherited = entry.make_options({**foreign, "config": str(above)})
    assert inherited.content == own.content
    base.write_text(CONFIG.replace("100.0", "101.0"))
    assert entry.make_options({**foreign, "config": str(above)}).content != own.content
    with pytest.raises(UsageError, match="unknown option of method mmseg 'content'"):
        entry.make_options({**foreign, "content": "0"})


@pytest.mark.follows("repro.interop.class_names:match", "repro.interop.closed:ClosedMethod.channels",
                     "repro.interop.closed:ClosedMethod.prompts")  # fmt: skip
def test_classes_that_the_network_lacks_are_listed_and_may_be_named(
    foreign: dict[str, str], world: World, tmp_path: Path
) -> None:
    import json

    from repro.api import load

    def predicted(**more: str) -> Any:
        model = load("mmseg", None, device="cpu", options={**foreign, **more}, runs=world.runs, **SMOKE)
        method = model.method
        asked = method.prompts(get_benchmark("PAS-20b").prompt_names(), 20)
        return method(torch.rand(1, 3, 48, 48) * 255, get_benchmark("PAS-20").prompt_names()), asked

    with pytest.raises(UsageError, match="no class of these names: 'aeroplane'") as refused:
        predicted()
    assert "names=FILE" in str(refused.value.mend)
    with pytest.raises(UsageError, match="no class of these names"):
        load("mmseg", None, device="cpu", options=foreign, runs=world.runs, **SMOKE).method(
            torch.zeros(1, 3, 48, 48), ["a unicorn"]
        )
    names = [*get_benchmark("PAS-20").prompt_names(), *(f"other {n}" for n in range(130))]
    (tmp_path / "names.json").write_text(json.dumps(names))
    maps, asked = predicted(names=str(tmp_path / "names.json"))
    assert maps.shape[:2] == (1, 20)
    assert len(asked) == 150
    assert asked[20:] == tuple(names[20:])


@pytest.mark.follows("repro.interop.mmseg.method:build")
def test_a_model_without_a_map_per_class_is_refused(foreign: dict[str, str], world: World, tmp_path: Path) -> None:
    from repro.api import load

    one = CONFIG.replace("num_classes=150", "num_classes=2, out_channels=1, threshold=0.3")
    (tmp_path / "one.py").write_text(one)
    words: dict[str, Any] = {"device": "cpu", "runs": world.runs, **SMOKE}
    with pytest.raises(UsageError, match="no map per class") as refused:
        load("mmseg", None, options={**foreign, "config": str(tmp_path / "one.py")}, **words)
    assert "score what it predicts" in str(refused.value.mend)
    assert load("mmseg", None, options=foreign, **words).method.names[:2] == ("wall", "building")


def test_the_papers_profile_needs_no_tower_for_it(foreign: dict[str, str], ade: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"options": foreign, "data_root": ade, "runs": tmp_path / "runs", "limit": 1}
    (row,) = evaluate("mmseg", ["A-150"], profile="paper", device="cpu", **words)
    assert row["part"] == "first 1 of 4 images"
    assert not (tmp_path / "runs" / "cache" / "clip").exists()


def test_its_runner_trains_a_method(world: World, tmp_path: Path) -> None:
    from mmengine.config import Config
    from mmengine.runner import Runner

    crop = {"type": "ReproCrop", "short_side": 48, "crop": 48}
    pipeline = [{"type": "LoadReproPair"}, crop, {"type": "PackSegInputs"}]
    data = {"type": "Repro-coco-stuff", "data_root": str(world.data), "split": "train", "pipeline": pipeline}
    model = {"type": "ReproSegmentor", "method": "synseg", "classes": "coco-stuff", "runs": str(world.runs), **SMOKE}
    optimizer = {"type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4}
    runner = Runner.from_cfg(
        Config(
            {
                "default_scope": "mmseg",
                "work_dir": str(tmp_path),
                "log_level": "ERROR",
                "model": model,
                "train_dataloader": {"batch_size": 2, "num_workers": 0, "dataset": data,
                                     "sampler": {"type": "InfiniteSampler", "shuffle": True}},
                "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 2},
                "optim_wrapper": {"constructor": "ReproOptimWrapperConstructor", "optimizer": optimizer},
            }
        )
    )  # fmt: skip
    start = {name: value.clone() for name, value in runner.model.method.named_parameters()}
    trained = {name: value for name, value in runner.train().method.named_parameters() if value.requires_grad}
    assert any(not torch.equal(start[name], value) for name, value in trained.items())
    frozen = [name for name, value in runner.model.method.named_parameters() if not value.requires_grad]
    assert all(torch.equal(start[name], dict(runner.model.method.named_parameters())[name]) for name in frozen)
