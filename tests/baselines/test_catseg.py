from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from catseg_official import from_official, to_official
from torch import nn

import repro.layers.tokens
from baselines.catseg import METHOD
from baselines.catseg.model import CatSeg
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import UsageError, WeightsError
from repro.layers.blocks import equal_parts
from repro.methods.weights import load_weights, save_weights
from repro.testing.methods import NAMES, MethodTester

SMALL = {
    "hidden": 16,
    "layers": 2,
    "heads": 2,
    "window": 3,
    "pad_len": 12,
    "appearance_guidance": 12,
    "text_guidance": 10,
    "decoder_dims": (12, 8),
    "decoder_guidance": (16, 8),
    "decoder_guidance_proj": (6, 4),
    "guide_blocks": (0, 0),
}


class TestCatSeg(MethodTester):
    entry = METHOD
    options = SMALL
    zero_gradient = ("visual.transformer.resblocks.1.attn.q_proj_weight", "attn.k.bias")

    @pytest.mark.long
    def test_traced_method_gives_the_same_logits(self, method: CatSeg) -> None:
        super().test_traced_method_gives_the_same_logits(method)  # half a minute; compiling it, a minute, does it too

    @pytest.mark.long
    def test_compiled_method_gives_the_same_logits(self, method: CatSeg) -> None:
        super().test_compiled_method_gives_the_same_logits(method)  # test_speedups.py compiles a small one

    def test_gradients_reach_what_trains_and_nothing_else(self, method: CatSeg) -> None:
        # A key bias shifts all attention logits of a query alike: its exact gradient is zero, rounding leaves a rest.
        method.train()
        loss = method.loss(self.images(), torch.randint(0, len(NAMES), (2, 60, 72)), NAMES)["loss_bce"]
        loss.backward()
        grouped = {id(p) for g in method.param_groups(1.0, 0.1) for p in g["params"]}
        for name, parameter in method.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad == (id(parameter) in grouped), name
            if parameter.grad is None:
                continue
            if name.endswith("visual.transformer.resblocks.1.attn.q_proj_weight"):
                assert (parameter.grad == 0).all()
            elif "swin" not in name or not name.endswith("attn.k.bias"):
                assert parameter.grad.abs().max() > 0, name

    def test_only_query_and_value_weights_of_both_towers_train(self, method: CatSeg) -> None:
        trained = {n for n, p in method.clip.model.named_parameters() if p.requires_grad}
        blocks = [f"visual.transformer.resblocks.{i}" for i in range(2)] + ["transformer.resblocks.0"]
        assert trained == {f"{b}.attn.{p}_proj_weight" for b in blocks for p in "qv"}

    def test_parameter_groups_follow_the_recipe(self, method: CatSeg) -> None:
        groups = {g["name"]: g for g in method.param_groups(2e-4, 1e-4)}
        assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
            "new": (2e-4, 1e-4),
            "new_norms": (2e-4, 0.0),
            "clip": (pytest.approx(2e-6), 1e-4),
        }
        norms = [m for m in method.aggregator.modules() if isinstance(m, (nn.LayerNorm, nn.GroupNorm))]
        assert {id(p) for p in groups["new_norms"]["params"]} == {id(p) for m in norms for p in m.parameters()}

    def test_frozen_clip_is_an_option(self) -> None:
        method = METHOD.create(build_tower(self.spec), METHOD.make_options({**SMALL, "clip_trains": "nothing"}))
        assert not any(p.requires_grad for p in method.clip.parameters())
        assert [g["name"] for g in method.param_groups(1.0, 0.1)] == ["new", "new_norms"]

    def test_pruned_classes_get_the_fixed_logit_and_the_others_the_best_cosines(self, method: CatSeg) -> None:
        names = [f"thing {i}" for i in range(20)]
        images = self.images(2, 64, 96)  # needs no padding
        with torch.no_grad():
            logits = method(images, names)
            features = F.normalize(method.clip.dense(images).map, dim=1)
            cosine = torch.einsum("bchw,nc->bnhw", features, method.clip.text(names, method.options.templates[0]))
        pruned = (logits == -100).flatten(2).all(dim=2)
        best = cosine.amax(dim=(2, 3))
        assert pruned.sum(dim=1).tolist() == [8, 8]
        for image in range(2):
            assert best[image][~pruned[image]].min() >= best[image][pruned[image]].max()

    def test_pruning_equals_segmenting_the_kept_classes_alone(self, method: CatSeg) -> None:
        names = [f"thing {i}" for i in range(20)]
        image = self.images(1)
        with torch.no_grad():
            logits = method(image, names)
            kept = [i for i in range(20) if not (logits[0, i] == -100).all()]
            self.close(logits[:, kept], method(image, [names[i] for i in kept]))

    def test_chunks_change_nothing(self, method: CatSeg, monkeypatch: pytest.MonkeyPatch) -> None:
        images = self.images()
        with torch.no_grad():
            whole = method(images, NAMES)
            monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 1000)
            self.close(method(images, NAMES), whole)

    def test_several_templates_become_channels_of_the_cost_volume(self) -> None:
        options = {**SMALL, "templates": ("a photo of a {}", "a drawing of a {}")}
        method = METHOD.create(build_tower(self.spec), METHOD.make_options(options)).eval()
        assert method.aggregator.embedding.conv.in_channels == 2
        with torch.no_grad():
            assert method(self.images(), NAMES).isfinite().all()

    def test_without_pruning_every_class_is_segmented(self, method: CatSeg) -> None:
        names = [f"thing {i}" for i in range(20)]
        other = METHOD.create(method.clip, METHOD.make_options({**SMALL, "pruning": "off"})).eval()
        other.load_state_dict(method.state_dict())
        images = self.images(1, 64, 96)
        with torch.no_grad():
            assert not (other(images, names) == -100).any()
            self.close(other(images, names[:5]), method(images, names[:5]))

    def test_only_the_first_synonym_is_prompted_unless_all_are_averaged(self, method: CatSeg) -> None:
        images, listed, first = self.images(1), ["wall, fence", "sky", "dog, hound, puppy"], ["wall", "sky", "dog"]
        other = METHOD.create(method.clip, METHOD.make_options({**SMALL, "synonyms": "mean"})).eval()
        other.load_state_dict(method.state_dict())
        with torch.no_grad():
            assert torch.equal(method(images, listed), method(images, first))
            assert torch.equal(other(images, first), method(images, first))
            assert not torch.allclose(other(images, listed), method(images, first))
            words = [method.clip.text(name.split(", "), method.options.templates[0]).mean(dim=0) for name in listed]
            torch.testing.assert_close(other._text(listed)[:, 0], F.normalize(torch.stack(words), dim=-1))

    @pytest.mark.parametrize(
        ("change", "training"),
        [
            ({"padding": "masked"}, False),
            ({"class_residual": "single"}, False),
            ({"test_pooling": (2, 2)}, False),
            ({"pool_align_corners": False}, True),
            ({"pad_len": 0}, False),
            ({"size_divisibility": 1}, False),
        ],
    )
    def test_each_switch_changes_the_result_and_keeps_the_weights(
        self, method: CatSeg, change: dict[str, object], training: bool
    ) -> None:
        other = METHOD.create(method.clip, METHOD.make_options({**SMALL, **change})).train(training)
        other.load_state_dict(method.state_dict(), strict="pad_len" not in change)
        images = self.images()
        with torch.no_grad():
            assert not torch.allclose(other(images, NAMES), method.train(training)(images, NAMES), atol=1e-4)

    def test_without_text_guidance_it_is_as_if_that_were_zero(self, method: CatSeg, tmp_path: Path) -> None:
        other = METHOD.create(method.clip, METHOD.make_options({**SMALL, "text_guidance": 0})).eval()
        own, dim = other.state_dict(), SMALL["hidden"]
        given = {k: v for k, v in method.state_dict().items() if not k.startswith("aggregator.text.")}
        assert given.keys() == own.keys()
        other.load_state_dict({k: v[..., : own[k].shape[-1]] if own[k].dim() else v for k, v in given.items()})
        with torch.no_grad():
            method.aggregator.text.weight.zero_()
            method.aggregator.text.bias.zero_()
            for layer in method.aggregator.layers:
                layer.classes.attention.padding_guidance.zero_()
            assert own["aggregator.layers.0.classes.attention.attention.q.weight"].shape == (dim, dim)
            images = self.images()
            for train in (False, True):
                self.close(other.train(train)(images, NAMES), method.train(train)(images, NAMES))
        self.test_a_divided_batch_has_the_gradients_of_the_whole(other)
        save_weights(other, tmp_path / "w.pth", "catseg")
        with pytest.raises(WeightsError, match=r"aggregator\.text\.bias"):
            load_weights(method, tmp_path / "w.pth", "catseg")

    def test_with_the_softmax_loss_classes_compete_in_training_and_at_test(
        self, method: CatSeg, tmp_path: Path
    ) -> None:
        other = METHOD.create(method.clip, METHOD.make_options({**SMALL, "seg_loss": "ce"})).eval()
        other.load_state_dict(method.state_dict())
        images, labels = self.images(), torch.randint(0, len(NAMES), (2, 60, 72))
        labels[0, 10:] = 255
        with torch.no_grad():
            logits = F.interpolate(method(images, NAMES), size=(60, 72), mode="bilinear", align_corners=False)
            values = other.loss(images, labels, NAMES)
            total = other.scores(images, NAMES).sum(dim=1)
        assert values.keys() == {"loss_ce"}
        torch.testing.assert_close(values["loss_ce"], F.cross_entropy(logits, labels, ignore_index=255))
        torch.testing.assert_close(total, torch.ones_like(total))
        self.test_a_divided_batch_has_the_gradients_of_the_whole(other)
        save_weights(other, tmp_path / "w.pth", "catseg")
        with pytest.raises(WeightsError, match="other options"):
            load_weights(method, tmp_path / "w.pth", "catseg")

    @pytest.mark.parametrize(
        "change", [{"ignore_in_loss": "exclude"}, {"masked_attention": -100.0}, {"size_divisibility": 0}]
    )
    def test_values_that_are_none_are_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            METHOD.make_options(change)

    @pytest.mark.parametrize("change", [{"window": 4}, {"heads": 3}, {"pooling": (7, 2)}, {"guide_blocks": (0,)}])
    def test_sizes_that_do_not_fit_the_tower_are_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            METHOD.create(build_tower(self.spec), METHOD.make_options({**SMALL, **change}))

    def test_official_names_go_both_ways_bit_by_bit(self, method: CatSeg) -> None:
        official = to_official(method)
        other = self.make(seed=5)
        from_official(other, official)
        assert all(
            torch.equal(a, b) for a, b in zip(method.state_dict().values(), other.state_dict().values(), strict=True)
        )
        assert len(official) == len(method.state_dict()) + 2  # the shift masks of two layers


def test_guides_are_a_third_and_two_thirds_of_the_way() -> None:
    assert equal_parts(12, 2) == (3, 7)
    assert equal_parts(24, 2) == (7, 15)
    assert equal_parts(3, 2) == (0, 1)


def test_a_map_no_larger_than_a_window_is_one_window() -> None:
    tower = build_tower(TowerSpec(model="tiny", weights=None, resolution=48))
    method = METHOD.create(tower, METHOD.make_options({**SMALL, "window": 12}))
    assert all(layer.swin.block_2.mask is None for layer in method.aggregator.layers)
    assert method(torch.rand(1, 3, 48, 48), NAMES).shape == (1, len(NAMES), 24, 24)
