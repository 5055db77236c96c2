"""detectron2 in both directions: its own evaluator, trainer and networks beside ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interop_world import ONE_VIEW, SETS, SIDE, World

from repro import evaluate
from repro.datasets.benchmarks import get_benchmark
from repro.errors import DataError, UsageError
from repro.metrics.counts import Counts

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="needs detectron2: docs/interop.md"),
]
SMOKE = {"profile": "smoke"}


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    import repro.interop.detectron2  # noqa: F401


OFFICIAL = {
    "A-847": "ade20k_full_sem_seg_freq_val_all",
    "PC-459": "context_459_test_sem_seg",
    "A-150": "ade20k_150_test_sem_seg",
    "PC-59": "context_59_test_sem_seg",
    "PAS-20": "voc_2012_test_sem_seg",
    "PAS-20b": "voc_2012_test_background_sem_seg",
}


def configuration(world: World, method: str, **own: Any) -> Any:
    from detectron2.config import get_cfg

    from repro.interop.detectron2 import add_repro_config, use_data_root

    use_data_root(world.data)
    cfg = get_cfg()
    add_repro_config(cfg, method if method != "clip" else "", profile="smoke")
    cfg.MODEL.DEVICE, cfg.MODEL.REPRO.METHOD, cfg.MODEL.REPRO.RUNS = "cpu", method, str(world.runs)
    for key, value in own.items():
        setattr(cfg.MODEL.REPRO, key, value)
    cfg.DATALOADER.NUM_WORKERS = 0
    return cfg


def counted(matrix: np.ndarray) -> list[list[int]]:
    """Intersection, ground truth and prediction of the evaluator's matrix, whose columns are the truth."""
    inner = matrix[:-1, :-1]
    return [inner.diagonal().tolist(), inner.sum(0).tolist(), inner.sum(1).tolist()]


def ours(row: Mapping[str, Any]) -> list[list[int]]:
    return [total.tolist() for total in Counts.load(Path(row["folder"]) / "counts.npz").totals()]


def close(theirs: Mapping[str, float], row: Mapping[str, Any]) -> None:
    for name, own in (("mIoU", "miou_gt"), ("pACC", "pacc"), ("mACC", "macc"), ("fwIoU", "fwiou")):
        assert theirs[name] == pytest.approx(100 * row[own], abs=1e-9)


@pytest.mark.parametrize("output", ["labels", "scores"])
@pytest.mark.parametrize("name", SETS)
def test_the_trainer_of_detectron2_finds_our_figures(world: World, tmp_path: Path, name: str, output: str) -> None:
    from detectron2.data import MetadataCatalog

    from repro.interop.detectron2 import Trainer, evaluator

    cfg = configuration(world, "clip", OUTPUT=output)
    cfg.MODEL.REPRO.WEIGHTS = "own"
    cfg.DATASETS.TEST, cfg.OUTPUT_DIR = (OFFICIAL[name],), str(tmp_path)
    judge = evaluator(OFFICIAL[name])
    found = Trainer.test(cfg, Trainer.build_model(cfg), [judge])["sem_seg"]
    assert counted(judge._conf_matrix) == ours(world.rows[name])
    close(found, world.rows[name])
    assert MetadataCatalog.get(OFFICIAL[name]).stuff_classes == list(get_benchmark(name).class_names())


def test_the_plain_trainer_and_evaluator_find_the_same(world: World, tmp_path: Path) -> None:
    from detectron2.engine import DefaultTrainer
    from detectron2.evaluation import SemSegEvaluator

    cfg = configuration(world, "clip", WEIGHTS="own")
    cfg.DATASETS.TEST, cfg.OUTPUT_DIR = (OFFICIAL["A-150"],), str(tmp_path)
    judge = SemSegEvaluator(OFFICIAL["A-150"], distributed=False)
    found = DefaultTrainer.test(cfg, DefaultTrainer.build_model(cfg), [judge])["sem_seg"]
    close(found, world.rows["A-150"])


def test_the_six_sets_have_the_names_of_the_official_code() -> None:
    from detectron2.data import DatasetCatalog

    import repro.interop.detectron2  # noqa: F401

    assert set(OFFICIAL.values()) <= set(DatasetCatalog.list())
    assert {"coco_2017_train_stuff_all_sem_seg", "coco_2017_test_stuff_all_sem_seg"} <= set(DatasetCatalog.list())


@pytest.mark.follows("repro.interop.detectron2.meta_arch:ReproMethod._resized")
def test_an_image_resized_otherwise_is_refused(world: World) -> None:
    from detectron2.modeling import build_model

    cfg = configuration(world, "clip", WEIGHTS="own", CLASSES="A-150")
    model = build_model(cfg).eval()
    item = {"image": torch.zeros(3, 33, 44, dtype=torch.uint8), "height": 66, "width": 88}
    with pytest.raises(UsageError, match="resized otherwise") as refused:
        model([item])
    assert "cfg.INPUT.MIN_SIZE_TEST = 80, cfg.INPUT.MAX_SIZE_TEST = 320" in str(refused.value.mend)
    item["image"] = torch.zeros(3, 80, 107, dtype=torch.uint8)  # as those values resize it
    assert model([item])[0]["sem_seg"].shape == (150, 66, 88)


@pytest.mark.follows(
    "repro.interop.detectron2.meta_arch:ReproMethod._predict", "repro.interop.detectron2.meta_arch:ReproMethod._losses"
)
def test_classes_that_are_not_named_are_asked_for(world: World) -> None:
    from detectron2.modeling import build_model

    item = {"image": torch.zeros(3, 48, 48, dtype=torch.uint8), "sem_seg": torch.zeros(48, 48)}
    with pytest.raises(UsageError, match="classes to segment") as refused:
        build_model(configuration(world, "clip", WEIGHTS="own")).eval()([item])
    assert "MODEL.REPRO.CLASSES" in str(refused.value.mend)
    with pytest.raises(UsageError, match="classes of the training") as refused:
        build_model(configuration(world, "synseg")).train()([item])
    assert "MODEL.REPRO.TRAIN_CLASSES = 'coco-stuff'" in str(refused.value.mend)
    assert build_model(configuration(world, "clip", WEIGHTS="own", CLASSES="A-150")).eval()([item])[0]["sem_seg"].any()
    assert "loss" in str(build_model(configuration(world, "synseg", TRAIN_CLASSES="coco-stuff")).train()([item]).keys())


def test_one_step_of_their_trainer_is_one_of_ours(world: World, tmp_path: Path) -> None:
    from repro.api import load
    from repro.interop.detectron2 import Trainer
    from repro.training.optim import AutocastOptimWrapper, build_optimizer
    from repro.training.settings import Placement, TrainSettings
    from repro.training.step import TrainModel

    cfg = configuration(world, "synseg")
    cfg.DATASETS.TRAIN, cfg.OUTPUT_DIR = ("coco_2017_train_stuff_all_sem_seg",), str(tmp_path)
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SOLVER.WARMUP_ITERS = 1, 1e-3, 0
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = True, 0.01
    batch = next(iter(Trainer.build_train_loader(cfg)))

    class OneBatch(Trainer):
        @classmethod
        def build_train_loader(cls, cfg: Any) -> Any:
            return [batch]

    trainer = OneBatch(cfg)
    start = {name: value.clone() for name, value in trainer.model.method.state_dict().items()}
    torch.manual_seed(0)
    trainer.train()

    settings = TrainSettings(lr=1e-3, weight_decay=cfg.SOLVER.WEIGHT_DECAY, clip_grad_norm=0.01)
    method = load("synseg", "none", device="cpu", runs=world.runs, **SMOKE).method
    model = TrainModel(
        method, get_benchmark("coco-stuff").prompt_names(), torch.device("cpu"), settings, 0, Placement()
    ).train()
    optim = AutocastOptimWrapper(build_optimizer(method, settings), "off", model.device, settings.clip_grad_norm)
    torch.manual_seed(0)
    data = {"image": torch.stack([b["image"] for b in batch]), "label": torch.stack([b["sem_seg"] for b in batch])}
    model.train_step({**data, "position": torch.arange(len(batch))}, optim)

    own, theirs = method.state_dict(), trainer.model.method.state_dict()
    assert max(float((own[name] - start[name]).abs().max()) for name in own) > 1e-4
    assert max(float((own[name] - theirs[name]).abs().max()) for name in own) < 1e-6
    saved = trainer.model.save_method(tmp_path / "weights.pth")
    again = load("synseg", saved, device="cpu", runs=world.runs, **SMOKE).method.state_dict()
    assert all(torch.equal(theirs[name], again[name]) for name in theirs)


def test_the_rate_is_that_of_our_schedule() -> None:
    from repro.interop.detectron2.trainer import rate
    from repro.training.optim import AutocastOptimWrapper, build_schedulers
    from repro.training.settings import TrainSettings

    for warmup in (0, 4):
        settings = TrainSettings(iterations=12, warmup_iterations=warmup)
        weight = torch.nn.Parameter(torch.zeros(1))
        optim = AutocastOptimWrapper(torch.optim.SGD([weight], lr=1.0), "off", torch.device("cpu"), 0.0)
        schedulers = build_schedulers(optim, settings)
        for done in range(12):
            assert optim.get_lr()["lr"][0] == pytest.approx(rate(done, settings), abs=1e-12), (warmup, done)
            optim.optimizer.step()
            for scheduler in schedulers:
                scheduler.step()


YAML = """
_BASE_: base.yaml
DATASETS:
  TEST: ("ade20k_150_test_sem_seg",)
INPUT:
  MIN_SIZE_TEST: 48
  MAX_SIZE_TEST: 48
"""
BASE = """
MODEL:
  META_ARCHITECTURE: SemanticSegmentor
  WEIGHTS: "nowhere.pkl"
  BACKBONE: {NAME: build_resnet_fpn_backbone, FREEZE_AT: 0}
  RESNETS: {DEPTH: 50, STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 32, NUM_GROUPS: 1, WIDTH_PER_GROUP: 8, NORM: BN,
            OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {IN_FEATURES: [res2, res3, res4, res5], OUT_CHANNELS: 16}
  SEM_SEG_HEAD: {NAME: SemSegFPNHead, NUM_CLASSES: 150, CONVS_DIM: 16, NORM: ""}
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small network of detectron2 over ADE20K's 150 classes, as options."""
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    folder = tmp_path_factory.mktemp("foreign")
    (folder / "base.yaml").write_text(BASE)
    (folder / "tiny.yaml").write_text(YAML)
    cfg = get_cfg()
    cfg.merge_from_file(str(folder / "tiny.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    torch.manual_seed(1)
    model = build_model(cfg)
    shown = {"image": torch.randint(0, 256, (3, SIDE, SIDE)), "height": SIDE, "width": SIDE}
    with torch.no_grad():
        model.sem_seg_head.predictor.weight /= model.eval()([shown])[0]["sem_seg"].std()
    model.sem_seg_head.predictor.bias.data[:11] = 9.0  # predicts what the pictures show
    torch.save({"model": model.state_dict(), "iteration": 3}, folder / "tiny.pth")
    return {"config": str(folder / "tiny.yaml"), "checkpoint": str(folder / "tiny.pth")}


def test_their_network_is_evaluated_as_their_trainer_does(foreign: dict[str, str], ade: Path, tmp_path: Path) -> None:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.config import get_cfg
    from detectron2.engine import DefaultTrainer
    from detectron2.evaluation import SemSegEvaluator

    from repro.interop.detectron2 import use_data_root

    words: dict[str, Any] = {"options": foreign, "changes": ONE_VIEW, "data_root": ade, "runs": tmp_path / "runs"}
    (row,) = evaluate("detectron2", ["A-150"], device="cpu", **SMOKE, **words)
    use_data_root(ade)
    cfg = get_cfg()
    cfg.merge_from_file(foreign["config"])
    cfg.MODEL.DEVICE, cfg.OUTPUT_DIR, cfg.DATALOADER.NUM_WORKERS = "cpu", str(tmp_path), 0
    model = DefaultTrainer.build_model(cfg)
    DetectionCheckpointer(model).load(foreign["checkpoint"])
    judge = SemSegEvaluator(OFFICIAL["A-150"], distributed=False)
    found = DefaultTrainer.test(cfg, model, [judge])["sem_seg"]
    assert counted(judge._conf_matrix) == ours(row)
    assert row["pacc"] > 0
    close(found, row)
    base = Path(foreign["config"]).with_name("base.yaml")
    from repro.methods import get_method

    before = get_method("detectron2").make_options(foreign).content
    base.write_text(BASE + "  PIXEL_MEAN: [1.0, 2.0, 3.0]\n")
    assert get_method("detectron2").make_options(foreign).content != before
    base.write_text(BASE)


@pytest.mark.follows("repro.interop.detectron2.method:build")
def test_keys_of_a_project_are_added_by_its_function(
    foreign: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    from repro.api import load

    for name in ("base", "tiny"):
        (tmp_path / f"{name}.yaml").write_text(Path(foreign["config"]).with_name(f"{name}.yaml").read_text())
    (tmp_path / "tiny.yaml").write_text(YAML + "SEGNET: {WIDTH: 3}\n")
    options = {**foreign, "config": str(tmp_path / "tiny.yaml")}
    words: dict[str, Any] = {"device": "cpu", "runs": world.runs, **SMOKE}
    with pytest.raises(UsageError, match="does not know") as refused:
        load("detectron2", None, options=options, **words)
    assert "-o setup=package.module:add_config" in str(refused.value.mend)
    (tmp_path / "segnet_project.py").write_text(
        "from detectron2.config import CfgNode\n"
        "def add_config(cfg):\n    cfg.SEGNET = CfgNode()\n    cfg.SEGNET.WIDTH = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = load("detectron2", None, options={**options, "setup": "segnet_project:add_config"}, **words)
    assert found.method(torch.zeros(1, 3, 48, 48), ["wall", "sky"]).shape == (1, 2, 48, 48)


def test_probabilities_are_averaged_as_they_are(
    foreign: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.api import load
    from repro.interop.detectron2.method import Detectron2Method

    words: dict[str, Any] = {"device": "cpu", "runs": world.runs, **SMOKE}
    method = load("detectron2", None, options={**foreign, "outputs": "probabilities"}, **words).method
    assert isinstance(method, Detectron2Method)
    given = torch.rand(150, 8, 8)
    monkeypatch.setattr(type(method.model), "forward", lambda _, inputs: [{"sem_seg": given} for _ in inputs])
    found = method.scores(torch.zeros(1, 3, 8, 8), get_benchmark("A-150").prompt_names())
    assert torch.allclose(found[0], given, atol=1e-5)


@pytest.mark.follows("repro.interop.detectron2.method:Detectron2Method.every_class")
def test_a_model_without_semantic_segmentation_is_refused(foreign: dict[str, str], world: World) -> None:
    from repro.api import load

    method: Any = load("detectron2", None, options=foreign, device="cpu", runs=world.runs, **SMOKE).method
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(method.model), "forward", lambda _, inputs: [{"instances": 0} for _ in inputs])
        with pytest.raises(UsageError, match="no semantic segmentation") as refused:
            method(torch.zeros(1, 3, 48, 48), ["wall"])
    assert "SemanticSegmentor" in str(refused.value.mend)
    assert type(method.model).__name__ == "SemanticSegmentor"
    assert method(torch.zeros(1, 3, 48, 48), ["wall"]).shape == (1, 1, 48, 48)


def registered(name: str, folder: Path, ade: Path, **facts: Any) -> str:
    """Register the pictures of ``ade`` under ``name`` as a package of other people would."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    inner = ade / "ADEChallengeData2016"
    items = [
        {"file_name": str(image), "sem_seg_file_name": str(inner / "annotations_detectron2/validation" / image.stem)}
        for image in sorted((inner / "images" / "validation").iterdir())
    ]
    for item in items:
        item["sem_seg_file_name"] += ".png"
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: items)
    classes = list(get_benchmark("A-150").class_names())
    MetadataCatalog.get(name).set(**{"stuff_classes": classes, "ignore_label": 255, **facts})
    return name


def test_a_set_of_the_catalogue_is_evaluated_as_ours(
    world: World, ade: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.interop.detectron2 import evaluate_catalogue

    name = registered("others_pictures", tmp_path, ade)
    words: dict[str, Any] = {"device": "cpu", "runs": tmp_path / "runs", **SMOKE}
    row = evaluate_catalogue("clip", name, **words)
    (own,) = evaluate("clip", ["A-150"], data_root=ade, **words)
    assert ours(row) == ours(own)
    assert (row["benchmark"], row["num_images"], row["complete"]) == (name, 4, True)
    (again,) = evaluate("clip", [f"detectron2:{name}"], **words)
    assert again == row
    part = evaluate_catalogue("clip", name, limit=2, **words)
    assert (part["part"], part["complete"]) == ("first 2 of 4 images", False)

    (tmp_path / "others_package.py").write_text(
        "from detectron2.data import DatasetCatalog, MetadataCatalog\n"
        f"DatasetCatalog.register('later', lambda: DatasetCatalog.get({name!r}))\n"
        f"classes = MetadataCatalog.get({name!r}).stuff_classes\n"
        "MetadataCatalog.get('later').set(stuff_classes=classes, ignore_label=255)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (later,) = evaluate("clip", ["detectron2:others_package:later"], **words)
    assert ours(later) == ours(own)


@pytest.mark.follows(
    "repro.interop.detectron2.catalogue:data_set_of#1",
    "repro.interop.detectron2.catalogue:data_set_of#2",
    "repro.interop.detectron2.catalogue:pairs_of",
    "repro.interop.catalogues:opener",
)
def test_sets_that_cannot_be_counted_are_refused(world: World, ade: Path, tmp_path: Path) -> None:
    from detectron2.data import DatasetCatalog

    from repro.interop.detectron2 import evaluate_catalogue

    words: dict[str, Any] = {"device": "cpu", "runs": tmp_path / "runs", **SMOKE}
    with pytest.raises(UsageError, match="did you mean ade20k_150_test_sem_seg") as refused:
        evaluate("clip", ["detectron2:ade20k_150_test_semseg"], **words)
    assert "import the package" in str(refused.value.mend)
    with pytest.raises(UsageError, match="unknown catalogue"):
        evaluate("clip", ["detectron:anything"], **words)
    name = registered("strange_labels", tmp_path, ade, ignore_label=3)
    with pytest.raises(DataError, match="that can be counted") as counted_:
        evaluate_catalogue("clip", name, **words)
    assert "ignore_label of 255" in str(counted_.value.mend)
    mended = registered("mended_labels", tmp_path, ade, ignore_label=255)
    assert evaluate_catalogue("clip", mended, **words)["num_images"] == 4
    DatasetCatalog.register("without_labels", lambda: [{"file_name": "a.jpg"}])
    from repro.interop.detectron2.catalogue import pairs_of

    with pytest.raises(DataError, match="no label for 1 of 1"):
        pairs_of("without_labels")
    assert len(pairs_of(name)) == 4


@pytest.mark.follows("repro.interop.detectron2.meta_arch:_evaluated")
def test_two_foreign_sets_at_once_are_refused(world: World, ade: Path, tmp_path: Path) -> None:
    from detectron2.modeling import build_model

    names = [registered(f"pictures_{n}", tmp_path, ade) for n in range(2)]
    cfg = configuration(world, "clip", WEIGHTS="own")
    cfg.DATASETS.TEST = tuple(names)
    with pytest.raises(UsageError, match="classes of their own"):
        build_model(cfg)
    cfg.DATASETS.TEST = (names[0],)
    item = {"image": torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)}
    assert build_model(cfg).eval()([item])[0]["sem_seg"].shape == (150, SIDE, SIDE)
