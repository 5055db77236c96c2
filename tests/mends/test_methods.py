"""Methods and alignments: the ways out of options, weights and towers that do not go together."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import SMALL
from fake_method import make_method
from PIL import Image
from talk import Talk, ours, way
from tiny_set import TinyBenchmark, write_pairs

from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.hashing import file_digest
from repro.methods import get_method

TOWER = TowerSpec("tiny", None, resolution=48, dense_residual="token")


def built(method: str, **options: Any) -> Any:
    """The method at a small size."""
    entry = get_method(method)
    known = entry.options.__dataclass_fields__
    sizes = {k: v for k, v in SMALL.items() if k in known and method in ("catseg", "disa")}
    sizes |= {"sdm_head_dim": 16} if method == "disa" else {}
    return entry.create(build_tower(TOWER), entry.make_options({**sizes, **options}))


OPTIONS = [  # place, method, options that do not fit, options that do
    way("disa.model:DiSa.__init__", "disa", {"window": 5, "k": 8}, {"k": 8}),
    way("disa.options:DisaOptions.tokens", "disa", {"k": 96}, {"k": 96, "k_policy": "ratio"}),
    way("repro.clip.tower:ClipTower._check_block", "logoseg", {"middle_block": 99}, {"middle_block": 0}),
    way("baselines.catseg.model:CatSeg.__init__", "catseg", {"window": 5}, {}),
    way("repro.layers.mccl:MCCL.__post_init__", "synseg", {"similarity": "cosine"}, {"similarity": "clipped"}),
]


@pytest.mark.parametrize(("method", "wrong", "right"), OPTIONS)
def test_options_that_are_changed_as_the_mend_says_make_the_method(
    talk: Talk, method: str, wrong: Mapping[str, Any], right: Mapping[str, Any]
) -> None:
    if method == "synseg":
        from repro.layers.mccl import MCCL

        mend = talk.refused_by(lambda: MCCL(**wrong))
        MCCL(**right)
    else:
        mend = talk.refused_by(lambda: built(method, **wrong))
        assert all(o in mend for o in right if o.startswith("k_"))
        built(method, **right)
    assert "in the profile" in mend


FIELDS = [("logoseg", {"hidden": 15}, "hidden"), ("synseg", {"width": 7}, "width")]


@pytest.mark.parametrize(("method", "wrong", "shown"), FIELDS)
def test_an_option_that_does_not_fit_is_shown_by_the_way_out(
    talk: Talk, method: str, wrong: Mapping[str, Any], shown: str
) -> None:
    mend = talk.refused_by(lambda: get_method(method).make_options(wrong))
    assert shown in talk.succeeds(*ours(mend))


@pytest.mark.follows("baselines.synseg.build:build#1", "baselines.synseg.build:build#2",
                     "baselines.synseg.clipseg:load_decoder")  # fmt: skip
def test_decoder_weights_are_named_with_their_digest_or_left_out(talk: Talk) -> None:
    def make(**options: Any) -> Any:
        return built("synseg", width=16, heads=2, mlp_width=16, blocks=(0, 1), **options)

    talk.refused_by(lambda: make(normalise=False, decoder_weights="none.pth", decoder_sha256="0" * 64))
    make(decoder_weights="", decoder_sha256="")
    torch.save({"x": torch.zeros(1)}, "other.pth")
    talk.refused_by(lambda: make(normalise=False, decoder_weights="other.pth", decoder_sha256="0" * 64))
    assert "set decoder_sha256" in talk.mend
    digest = file_digest(Path("other.pth"))
    # A later message:
    talk.refused_by(lambda: make(normalise=False, decoder_weights="other.pth", decoder_sha256=digest))
    assert "CLIPSeg's" in talk.mend
    make()


# -- alignments --------------------------------------------------------------------------------------------------------
@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.mark.follows("baselines.densevlm.train:align#1", "baselines.densevlm.train:_Training.step",
                     "baselines.densevlm.train:align#2")  # fmt: skip
def test_an_alignment_is_made_of_images_at_a_rate_and_in_a_folder_of_its_own(
    talk: Talk, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines.densevlm import train as module
    from baselines.densevlm.options import DenseVLMOptions

    quick: dict[str, Any] = {"image_size": 32, "categories": "coco133", "templates": ("{}",), "threshold": 0.0,
                             "iterations": 1, "batch_size": 2, "warmup_iterations": 1, "workers": 0}  # fmt: skip
    teacher = TowerSpec("tiny", None, resolution=48, dense_residual="token", seed=1)

    def align(own: list[Path], lr: float = 1e-4, folder: str = "my tower") -> None:
        module.align(TOWER, teacher, DenseVLMOptions(**quick, lr=lr), own, Path(folder), seed=0, device="cpu")

    assert "a folder with images" in talk.refused_by(lambda: align([]))
    real = module._Training.loss

    def exploding(self: Any, batch: Any) -> Any:
        found = real(self, batch)
        return found._replace(loss=found.loss * float("nan")) if self.options.lr > 1 else found

    with monkeypatch.context() as high:
        high.setattr(module._Training, "loss", exploding)
        assert talk.refused_by(lambda: align(images, lr=9.0)) == "lower lr"
        align(images)
    mend = talk.refused_by(lambda: align(images, lr=1e-5))
    words = shlex.split(mend)
    shutil.move(words[words.index("move") + 1], tmp_path / "away")
    align(images, lr=1e-5)


# -- maps --------------------------------------------------------------------------------------------------------------
@pytest.mark.follows("repro.evaluation.maps:measure_maps")
def test_a_method_without_maps_is_left_out(talk: Talk, tmp_path: Path) -> None:
    from repro.datasets.protocol import Protocol
    from repro.evaluation.maps import measure_maps

    protocol = Protocol(short_side=48, max_long_side=96, canvas=48, window=48)
    benchmark: Any = SimpleNamespace(
        **vars(TinyBenchmark()), num_classes=5, vocabulary="", class_kinds=lambda: ["thing"] * 5,
        class_names=lambda: TinyBenchmark().names, prompt_names=lambda: TinyBenchmark().names,
    )  # fmt: skip
    pairs: Any = write_pairs(tmp_path / "pairs", 1)
    mend = talk.refused_by(lambda: measure_maps(make_method(), benchmark, pairs, protocol, lambda *_: None))
    assert "--methods" in mend
    words = ["run", "reviewers_saliency", "--profile", "smoke", "--dry-run"]
    talk.succeeds(*words, "--methods", "disa")


@pytest.mark.follows("repro.measuring.figures:_maps")
def test_maps_of_the_shape_that_is_asked_for_are_drawn(talk: Talk, tmp_path: Path) -> None:
    from repro.measuring.figures import image_data
    from repro.methods.interface import Method

    assert Method.diagnostics.__doc__
    benchmark: Any = TinyBenchmark()
    from repro.configuration.profiles import load_profile

    run: Any = SimpleNamespace(profile=load_profile("smoke"), entry=SimpleNamespace(name="pixel"))
    (pair,) = write_pairs(tmp_path / "pairs", 1)
    method = make_method().eval()
    shapes = {"wrong": (1, 2, 3, 3), "right": (1, 5, 3, 3)}
    for name, shape in shapes.items():
        method.diagnostics = lambda *_, shape=shape: {"saliency": torch.zeros(shape)}  # type: ignore[method-assign]
        call = lambda: image_data(run, method, benchmark, pair, None, 2)  # type: ignore[arg-type]  # noqa: E731
        if name == "wrong":
            assert "Method.diagnostics" in talk.refused_by(call)
        else:
            assert call().maps["saliency"].shape[1:] == (3, 3)
