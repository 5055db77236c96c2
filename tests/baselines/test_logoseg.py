from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

import repro.layers.tokens
from baselines.logoseg import METHOD
from baselines.logoseg.model import LoGoSeg
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import UsageError
from repro.layers.blocks import block_at
from repro.testing.methods import NAMES, MethodTester

SMALL = {
    "hidden": 16,
    "heads": 2,
    "regions": 3,
    "correlation": 16,
    "decoder_dims": (12, 8),
    "decoder_guidance": (16, 8),
    "decoder_guidance_proj": (6, 4),
    "guide_blocks": (0, 0),
}
SWITCHES: list[dict[str, object]] = [
    {"prior": 0.0},
    {"prior": 0.5},
    {"prior": "learnable"},
    {"prior_in_similarity": True},
    {"regional_alignment": False},
    {"depth": 0},
    {"depth": 1},
    {"depth": 3},
    {"directional_attention": False},
    {"global_context": False},
    {"directional_attention": False, "global_context": False},
    {"prior": 0.0, "depth": 0, "regional_alignment": False},
    {"regions": 4},
    {"regions": 8},
    {"correlation": 8},
    {"tau": 5.0, "beta": 2.0},
    {"templates": ("a photo of a {}", "a drawing of a {}")},
]


class TestLoGoSeg(MethodTester):
    entry = METHOD
    options = SMALL
    # The value path of the last block knows neither queries nor keys.
    zero_gradient = ("resblocks.1.attn.q_proj_weight", "resblocks.1.attn.k_proj_weight")

    @pytest.mark.long
    def test_compiled_method_gives_the_same_logits(self, method: LoGoSeg) -> None:
        super().test_compiled_method_gives_the_same_logits(method)  # traced is tested here

    def build(self, spec: TowerSpec | None = None, **changes: object) -> LoGoSeg:
        torch.manual_seed(1)
        method = METHOD.create(build_tower(spec or self.spec), METHOD.make_options({**SMALL, **changes}))
        assert isinstance(method, LoGoSeg)
        return method.eval()

    @pytest.mark.parametrize("change", SWITCHES, ids=str)
    def test_every_switch_gives_other_logits_and_trains_all_it_builds(self, change: dict[str, object]) -> None:
        images, labels = self.images(), torch.randint(0, len(NAMES), (2, 60, 72))
        method = self.build(**change)
        with torch.no_grad():
            assert not torch.equal(method(images, NAMES), self.build()(images, NAMES)) or change["prior"] == "learnable"
        method.train().loss(images, labels, NAMES)["loss_bce"].backward()
        idle = [n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        assert [n for n in idle if not n.endswith(self.zero_gradient)] == []

    def test_the_image_tower_and_new_modules_train_and_the_text_tower_does_not(self, method: LoGoSeg) -> None:
        frozen = {n for n, p in method.named_parameters() if not p.requires_grad}
        assert all(n.startswith("clip.model.") and not n.startswith("clip.model.visual.") for n in frozen)
        assert {"clip.model.token_embedding.weight", "clip.model.logit_scale"} <= frozen

    @pytest.mark.parametrize(("trains", "suffixes"), [("nothing", ()), ("qv", ("q_proj_weight", "v_proj_weight"))])
    def test_less_of_the_image_tower_may_train(self, trains: str, suffixes: tuple[str, ...]) -> None:
        method = self.build(clip_trains=trains)
        trained = [n for n, p in method.clip.named_parameters() if p.requires_grad]
        assert len(trained) == (4 if suffixes else 0)
        assert all(n.startswith("model.visual.") and n.endswith(suffixes) for n in trained)

    def test_parameter_groups_follow_the_recipe(self) -> None:
        method = self.build(prior="learnable")
        groups = {g["name"]: g for g in method.param_groups(2e-4, 1e-4)}
        assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
            "new": (2e-4, 1e-4),
            "new_norms": (2e-4, 0.0),
            "clip": (pytest.approx(2e-6), 1e-4),
            "clip_norms": (pytest.approx(2e-6), 0.0),
        }
        undecayed = {id(p) for p in groups["new_norms"]["params"]}
        norms = [m for m in method.fusion.modules() if isinstance(m, (nn.LayerNorm, nn.GroupNorm))]
        assert {id(p) for m in norms for p in m.parameters()} < undecayed
        assert id(method.prior.strength) in undecayed

    def test_duplicate_classes_get_the_same_logits(self, method: LoGoSeg) -> None:
        with torch.no_grad():
            logits = method(self.images(), ["dog", "sea", "dog"])
        torch.testing.assert_close(logits[:, 0], logits[:, 2])

    def test_chunks_change_nothing(self, method: LoGoSeg, monkeypatch: pytest.MonkeyPatch) -> None:
        images = self.images()
        with torch.no_grad():
            whole = method(images, NAMES)
            monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 1000)
            self.close(method(images, NAMES), whole)

    def test_no_tensor_grows_with_classes_times_channels_times_places(
        self, method: LoGoSeg, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 10_000)
        largest = 0

        def note(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            nonlocal largest
            largest = max(largest, output.numel())

        for stage in method.decoder.stages:
            stage.register_forward_hook(note)
        with torch.no_grad():
            method(self.images(), [f"thing {i}" for i in range(1000)])
        assert 0 < largest <= 17 * 24 * 24 * 8  # 10,000 elements are 17 classes of 6 x 6 places and 16 channels

    @pytest.mark.parametrize("resolution", [8, 40, 56, 72])
    def test_odd_grids_work(self, resolution: int) -> None:
        method = self.build(TowerSpec(model="tiny", weights=None, resolution=resolution))
        grid = resolution // 8
        with torch.no_grad():
            logits = method(self.images(), NAMES)
        assert logits.shape == (2, len(NAMES), 4 * grid, 4 * grid)
        assert logits.isfinite().all()

    def test_diagnostics_show_one_correlation_map_a_class(self, method: LoGoSeg) -> None:
        maps = method.diagnostics(self.images(), NAMES)
        assert {k: tuple(v.shape) for k, v in maps.items()} == {"correlation": (2, len(NAMES), 6, 6)}
        assert not maps["correlation"].requires_grad

    @pytest.mark.parametrize(
        "change",
        [
            {"prior": "adaptive"},
            {"regions": 0},
            {"depth": -1},
            {"hidden": 15},
            {"correlation": 5},
            {"guide_blocks": (0,)},
            {"decoder_guidance": (16,)},
            {"decoder_guidance_proj": (16, 4)},
        ],
        ids=str,
    )
    def test_options_that_make_no_model_are_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(UsageError, match=next(iter(change)) if "guide" not in str(change) else "decoder"):
            METHOD.make_options({**SMALL, **change})


def test_blocks_are_taken_at_equal_parts_of_the_tower() -> None:
    assert [block_at(12, i, 3) for i in (1, 2)] == [3, 7]
    assert [block_at(24, i, 3) for i in (1, 2)] == [7, 15]
    assert [block_at(depth, 1, 2) for depth in (2, 12, 24)] == [0, 5, 11]


@pytest.mark.parametrize(
    ("model", "resolution", "blocks"),
    [
        ("ViT-B-16-quickgelu", 384, (5, 3, 7)),
        ("ViT-L-14-336-quickgelu", 336, (11, 7, 15)),
        ("convnext_base_w", 768, (2, 2, 1)),
        ("convnext_large_d_320", 768, (2, 2, 1)),
    ],
)
def test_published_sizes_fit_the_published_towers(model: str, resolution: int, blocks: tuple[int, ...]) -> None:
    with torch.device("meta"):
        method = LoGoSeg(build_tower(TowerSpec(model=model, weights=None, resolution=resolution)))
    assert method.clip.grid == 24
    assert (method.middle_block, *method.guide_blocks) == blocks
    assert method.alignment is not None
    assert method.alignment.members.shape == (36, 576)


class TestLoGoSegOnConvNext(MethodTester):
    """Stages of four sizes: the middle map is pooled, the decoder reads maps of its own sizes."""

    entry = METHOD
    options: ClassVar[dict[str, object]] = {**SMALL, "guide_blocks": None, "regions": 2}
    on_the_usual_tower = False
    spec = TowerSpec(model="tiny-convnext", weights=None, resolution=96)

    def test_maps_of_a_pyramid_meet_the_decoder_at_its_sizes(self, method: LoGoSeg) -> None:
        assert (method.clip.grid, method.middle_block, method.guide_blocks) == (3, 2, (2, 1))
        assert [up.up.stride for up in method.upsample] == [(1, 1), (1, 1)]
