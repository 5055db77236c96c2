from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import repro.layers.tokens
from disa import METHOD
from disa.model import DiSa
from disa.options import DisaOptions
from disa.selection import most_salient
from repro.clip.tower import build_tower
from repro.configuration.tables import load_table
from repro.errors import UsageError, WeightsError
from repro.methods.weights import load_weights, save_weights
from repro.testing.methods import NAMES, MethodTester

SMALL = {
    "hidden": 16,
    "heads": 2,
    "window": 3,
    "k": 6,
    "sdm_head_dim": 16,
    "appearance_guidance": 12,
    "decoder_dims": (12, 8),
    "decoder_guidance": (16, 8),
    "decoder_guidance_proj": (6, 4),
    "guide_blocks": (0, 0),
}


class TestDiSa(MethodTester):
    entry = METHOD
    options = SMALL
    zero_gradient = tuple(f"visual.transformer.resblocks.1.attn.{p}_proj_weight" for p in "qk")

    @pytest.mark.long
    def test_traced_method_gives_the_same_logits(self, method: DiSa) -> None:
        super().test_traced_method_gives_the_same_logits(method)  # a minute; test_saliency traces what is DiSa's own

    @pytest.mark.long
    def test_compiled_method_gives_the_same_logits(self, method: DiSa) -> None:
        super().test_compiled_method_gives_the_same_logits(method)  # CAT-Seg compiles the shared layers

    def test_gradients_reach_what_trains_and_nothing_else(self, method: DiSa) -> None:
        # A key bias shifts all attention logits of a query alike: its exact gradient is zero, rounding leaves a rest.
        method.train()
        losses = method.loss(self.images(), torch.randint(0, len(NAMES), (2, 60, 72)), NAMES)
        sum(v for k, v in losses.items() if k.startswith("loss")).backward()
        grouped = {id(p) for g in method.param_groups(1.0, 0.1) for p in g["params"]}
        for name, parameter in method.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad == (id(parameter) in grouped), name
            if parameter.grad is None:
                continue
            if name.endswith(self.zero_gradient):
                assert (parameter.grad == 0).all()
            elif not name.endswith("attn.k.bias"):
                assert parameter.grad.abs().max() > 0, name

    def test_parameter_groups_follow_the_recipe(self, method: DiSa) -> None:
        groups = {g["name"]: g for g in method.param_groups(2e-4, 1e-4)}
        assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
            "new": (2e-4, 1e-4),
            "new_norms": (2e-4, 0.0),
            "clip": (pytest.approx(2e-6), 1e-4),
        }

    def test_logged_values_are_not_minimised(self, method: DiSa) -> None:
        values = method.loss(self.images(), torch.randint(0, 3, (2, 60, 72)), NAMES)
        assert set(values) == {"loss_seg", "loss_itm", "itm_accuracy", "itm_ap"}
        assert not values["itm_accuracy"].requires_grad
        assert not values["itm_ap"].requires_grad

    def test_a_crop_without_any_label_trains_without_nan(self, method: DiSa) -> None:
        values = method.loss(self.images(), torch.full((2, 60, 72), 255), NAMES)
        (values["loss_seg"] + values["loss_itm"]).backward()
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)

    def test_segmentation_does_not_reach_the_saliency_module(self, method: DiSa) -> None:
        method.loss(self.images(), torch.randint(0, 3, (2, 60, 72)), NAMES)["loss_seg"].backward()
        assert all(p.grad is None for p in method.sdm.parameters())

    def test_a_class_named_twice_gets_the_same_logits_twice(self, method: DiSa) -> None:
        with torch.no_grad():
            logits = method(self.images(), [*NAMES, NAMES[2]])
        self.close(logits[:, 2], logits[:, -1])

    def test_diagnostics_are_maps_of_the_tower_s_grid(self, method: DiSa) -> None:
        maps = method.diagnostics(self.images(), NAMES)
        assert {n: tuple(m.shape) for n, m in maps.items()} == dict.fromkeys(
            ("correlation", "foreground", "saliency", "attention"), (2, len(NAMES), 6, 6)
        )
        assert (maps["foreground"].sum(dim=(2, 3)) == SMALL["k"]).all()
        assert maps["saliency"].min() >= 0
        assert maps["correlation"].abs().max() <= 1

    def test_the_foreground_is_the_most_salient(self, method: DiSa) -> None:
        maps = {n: m.flatten(2) for n, m in method.diagnostics(self.images(), NAMES).items()}
        front = torch.where(maps["foreground"] > 0, maps["saliency"], torch.inf).amin(-1)
        assert (front >= torch.where(maps["foreground"] > 0, -torch.inf, maps["saliency"]).amax(-1)).all()

    def test_weights_trained_with_other_switches_are_refused_by_name(self, method: DiSa, tmp_path: Path) -> None:
        save_weights(method, tmp_path / "w.pth", "disa")
        load_weights(self.make(seed=3), tmp_path / "w.pth", "disa")
        other = variant(k=5, saliency_target="loss")
        with pytest.raises(WeightsError, match="other options") as refused:
            load_weights(other, tmp_path / "w.pth", "disa")
        assert refused.value.found == "k = 6; saliency_target = 'margin'"
        assert refused.value.expected == "k = 5; saliency_target = 'loss'"


def variant(**changes: Any) -> DiSa:
    torch.manual_seed(1)
    tower = build_tower(TestDiSa.spec)
    return METHOD.create(tower, METHOD.make_options({**SMALL, **changes})).eval()  # type: ignore[return-value]


CHANGES: list[dict[str, Any]] = [
    *(dict(row.options) for row in load_table("table3").rows if row.method == "disa"),
    {"saliency": "attention"},
    {"saliency": "correlation"},
    {"saliency": "random"},
    {"saliency": "none"},
    {"saliency_target": "loss"},
    {"saliency_target": "score"},
    {"text_scale": "unit"},
    {"selection": "straight_through"},
    {"selection": "soft"},
    {"saliency_layer": -1},
    {"saliency_layer": 0},
    {"saliency_layer": "mean", "saliency": "attention"},
    {"k": 0},
    {"k": 36},
    {"k_policy": "ratio", "k": 96},
    {"k_policy": "adaptive"},
    {"k_policy": "adaptive", "saliency": "correlation"},
    {"share_branches": True},
    {"aggregation": "sum"},
    {"aggregation": "concat"},
    {"aggregation": "learned"},
    {"aggregation": "concat", "split": "token_level"},
    {"aggregation": "sum", "split": "token_level"},
    {"aggregation": "learned", "split": "none"},
    {"aggregation_layers": 0},
    {"category": False},
    {"seg_loss": "bce"},
    {"clip_finetune": "qv"},
    {"clip_finetune": "attention"},
    {"clip_finetune": "none"},
    {"clip_finetune": "full"},
    {"window": 12},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: "-".join(f"{k}={v}" for k, v in c.items()) or "paper")
def test_every_switch_trains_and_chunks_change_nothing(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    method = variant(**changes)
    images, labels = TestDiSa.images(), torch.randint(0, 3, (2, 60, 72))
    values = method.loss(images, labels, NAMES)
    sum(v for n, v in values.items() if n.startswith("loss")).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)
    whole = method(images, NAMES).detach()
    monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 1000)
    with torch.no_grad():
        torch.testing.assert_close(method(images, NAMES), whole, rtol=0, atol=1e-5 * max(1.0, float(whole.abs().max())))
        assert method(images, NAMES[:1]).isfinite().all()
    assert method.diagnostics(images, NAMES)


@pytest.mark.parametrize("finetune", ["qk", "qv", "attention", "none", "full"])
def test_what_trains_of_clip_is_what_the_switch_says(finetune: str) -> None:
    method = variant(clip_finetune=finetune)
    trained = {n for n, p in method.clip.model.named_parameters() if p.requires_grad}
    blocks = [f"visual.transformer.resblocks.{i}" for i in range(2)] + ["transformer.resblocks.0"]
    of_attention = {"qk": ("q", "k"), "qv": ("q", "v"), "attention": ("q", "k", "v"), "none": ()}
    if finetune == "full":
        assert {n for n, _ in method.clip.model.named_parameters()} - trained == {"logit_scale"}
        return
    expected = {f"{b}.attn.{p}_proj_weight" for b in blocks for p in of_attention[finetune]}
    expected |= {f"{b}.attn.out_proj.weight" for b in blocks} if finetune == "attention" else set()
    assert trained == expected


def test_summing_branches_is_masking_where_the_mask_is_binary() -> None:
    images = TestDiSa.images()
    with torch.no_grad():
        mask, add = variant(aggregation="mask"), variant(aggregation="sum")
        assert torch.equal(mask(images, NAMES), add(images, NAMES))
        soft, add = variant(aggregation="mask", split="token_level"), variant(aggregation="sum", split="token_level")
        assert not torch.allclose(soft(images, NAMES), add(images, NAMES))


def test_without_refinement_the_split_changes_nothing() -> None:
    no_hrm = {"pixel": False, "category": False, "semantic": False}
    images, few, many = TestDiSa.images(), variant(k=1, **no_hrm), variant(k=30, **no_hrm)
    with torch.no_grad():
        assert torch.equal(few(images, NAMES), many(images, NAMES))


def test_only_the_semantic_prototype_lets_classes_meet() -> None:
    images = TestDiSa.images().double()
    with torch.no_grad():
        apart, joint = variant(semantic=False).double(), variant().double()
        torch.testing.assert_close(apart(images, NAMES[:3]), apart(images, NAMES)[:, :3], rtol=0, atol=1e-12)
        assert (joint(images, NAMES[:3]) - joint(images, NAMES)[:, :3]).abs().max() > 1e-6


def test_a_shared_branch_has_half_the_refinement() -> None:
    apart, shared = variant(), variant(share_branches=True)
    count = [sum(p.numel() for p in m.segmenter.refinements.parameters()) for m in (apart, shared)]
    assert count[0] == 2 * count[1]


@pytest.mark.parametrize(
    "change",
    [
        {"k": 37},
        {"k": -1},
        {"window": 4},
        {"heads": 3},
        {"sdm_head_dim": 24},
        {"sdm_layers": 0, "saliency_layer": "mean"},
        {"guide_blocks": (0,)},
        {"saliency_layer": 3},
        {"saliency_mass": 1.5},
        {"saliency": "gradcamm"},
        {"split": "sdm "},
    ],
)
def test_options_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        variant(**change)


def test_an_unknown_choice_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean gradcam"):
        DisaOptions(saliency="gradcamm")  # type: ignore[arg-type]


def test_a_ratio_keeps_the_paper_s_share_of_any_map() -> None:
    options = DisaOptions(k_policy="ratio")
    assert [options.tokens(n) for n in (576, 64, 36, 49)] == [96, 11, 6, 8]
    assert DisaOptions(k=1000, k_policy="ratio").tokens(36) == 36


def test_however_many_classes_no_tensor_is_larger_than_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 20_000)
    method, names = variant(), [f"thing {i}" for i in range(200)]
    method.clip.text(names, method.options.template)  # cached: the text tower is not what is watched
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes.append(result.untyped_storage().nbytes())
            return result

    with torch.no_grad(), Watch():
        logits = method(TestDiSa.images(4), names)
    assert max(sizes) == logits.untyped_storage().nbytes()


@pytest.mark.parametrize("policy", ["fixed", "adaptive"])
def test_the_segmenter_is_the_paper_s_equations_in_a_row(policy: str) -> None:
    method = variant(k_policy=policy).double()
    segmenter = method.segmenter
    with torch.no_grad():  # so that the two branches differ, and their gates too
        for parameter in segmenter.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    cost, features = torch.randn(2, 1, 5, 6, 6).double(), torch.randn(2, 32, 6, 6).double()
    mask = most_salient(torch.rand(2, 5, 36), SMALL["k"])
    guides = [torch.randn(2, c, s, s).double() for c, s in zip(SMALL["decoder_guidance"], (12, 24), strict=True)]
    guidance = segmenter.guide(features, guides)
    front, back = segmenter.refinements
    c = segmenter.embedding(cost)
    own = mask.unsqueeze(3).double()
    refined_f = own * front.pixels(own * c, mask, guidance.branches[0])  # C'_f of C_f = M C
    refined_b = (1 - own) * back.pixels((1 - own) * c, ~mask, guidance.branches[1])
    gate_f = front.gate(front.prototypes(refined_f, mask)).unsqueeze(2)  # Eq. 3
    gate_b = back.gate(back.prototypes(refined_b, ~mask)).unsqueeze(2)  # Eq. 4
    joined = own * (refined_f * gate_f) + (1 - own) * (refined_b * gate_b)
    expected = segmenter.decoder(segmenter.aggregation(joined, guidance.aggregation), guidance.decoder)
    torch.testing.assert_close(segmenter(cost, mask, guidance), expected, rtol=0, atol=1e-10)
