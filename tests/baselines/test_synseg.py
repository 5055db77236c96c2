from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import repro.layers.tokens
from baselines.synseg import METHOD
from baselines.synseg.model import SynSeg, default_blocks
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.protocol import Protocol
from repro.errors import UsageError, WeightsError
from repro.evaluation.infer import SlidingWindow
from repro.layers.mccl import image_labels
from repro.methods.weights import load_weights, save_weights
from repro.testing.methods import NAMES, MethodTester

SMALL = {"width": 16, "heads": 2, "mlp_width": 32, "film_hidden": 16}
SMALL |= {f"{term}_weight": 1.0 for term in ("align", "cont", "back", "sep")}
LABELS = torch.tensor([0, 0, 1, 4, 255, 4])
PAIRS = ("aten.nonzero at repro.layers.mccl:pairs_of",) * 2
"""The classes that are in an image and those drawn from the others: how many are decoded follows from the labels."""


class TestSynSeg(MethodTester):
    entry = METHOD
    options = SMALL
    loss_waits = PAIRS

    def build(self, spec: TowerSpec | None = None, **changes: object) -> SynSeg:
        torch.manual_seed(1)
        method = METHOD.create(build_tower(spec or self.spec), METHOD.make_options({**SMALL, **changes}))
        assert isinstance(method, SynSeg)
        return method.eval()

    @staticmethod
    def labels() -> torch.Tensor:
        return LABELS[torch.randint(0, len(LABELS), (2, 60, 72))]

    def gradients(self, method: SynSeg, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        method.zero_grad()
        values = method.loss(images, labels, NAMES)
        torch.stack(list(values.values())).sum().backward()
        return {**values, **{n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}}

    def test_masks_cannot_reach_the_loss(self, method: SynSeg) -> None:
        # Other masks of the same sets of classes, moved and resized: the same bits in every loss and gradient.
        method.train()
        images, labels = self.images(), self.labels()
        expected = self.gradients(method, images, labels)
        moved = labels.flatten(1)[:, torch.randperm(60 * 72)].view_as(labels)
        first = image_labels(labels, len(NAMES))
        corner = torch.full((2, 7, 9), 255)
        for image, row in enumerate(first):
            corner[image].view(-1)[: int(row.sum())] = row.nonzero().flatten()
        for other in (moved, corner):
            assert torch.equal(image_labels(other, len(NAMES)), first)
            found = self.gradients(method, images, other)
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[name], value) for name, value in expected.items())

    def test_another_set_of_classes_gives_another_loss(self, method: SynSeg) -> None:
        images, labels = self.images(), self.labels()
        expected = method.loss(images, labels, NAMES)
        labels[0, 0, 0] = 3
        found = method.loss(images, labels, NAMES)
        assert all(found[f"loss_{name}"] != expected[f"loss_{name}"] for name in ("align", "present", "absent"))

    def test_a_class_of_no_image_changes_nothing(self, method: SynSeg) -> None:
        images, labels = self.images(), self.labels()
        found, expected = method.loss(images, labels, [*NAMES, "kite"]), method.loss(images, labels, NAMES)
        for name in expected.keys() - {"loss_absent"}:
            self.close(found[name].detach(), expected[name].detach())
        assert found["loss_absent"] != expected["loss_absent"]

    def test_absent_classes_are_drawn_by_the_image_alone(self) -> None:
        method, labels = self.build(absent_classes=1), self.labels()
        images = self.images()
        whole = method.loss(images, labels, NAMES)["loss_absent"]
        parts = [method.loss(images[i : i + 1], labels[i : i + 1], NAMES)["loss_absent"] for i in range(2)]
        self.close(torch.stack(parts).mean().detach(), whole.detach())

    def test_absent_classes_can_be_left_alone(self) -> None:
        values = self.build(absent_classes=0).loss(self.images(), self.labels(), NAMES)
        assert "loss_absent" not in values

    def test_a_crop_without_any_label_trains_without_nan(self, method: SynSeg) -> None:
        values = method.loss(self.images(), torch.full((2, 60, 72), 255), NAMES)
        torch.stack(list(values.values())).sum().backward()
        assert all(value == 0 for value in values.values())
        assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())

    def test_clip_is_frozen_and_everything_else_trains(self, method: SynSeg) -> None:
        assert all(p.requires_grad != n.startswith("clip.") for n, p in method.named_parameters())
        groups = {g["name"]: g for g in method.param_groups(1e-4, 1e-2)}
        assert {n: (g["lr"], g["weight_decay"]) for n, g in groups.items()} == {
            "new": (1e-4, 1e-2),
            "new_norms": (1e-4, 0.0),
        }
        assert len(groups["new_norms"]["params"]) == 4 * len(method.blocks)

    @pytest.mark.parametrize("removed", ["align", "cont", "back", "sep", "present", "absent"])
    def test_each_loss_can_be_removed_and_the_rest_still_trains_the_map(self, removed: str) -> None:
        method = self.build(**{f"{removed}_weight": 0.0})
        found = self.gradients(method, self.images(), self.labels())
        assert {n for n in found if n.startswith("loss_")} == {
            f"loss_{n}" for n in ("align", "cont", "back", "sep", "present", "absent") if n != removed
        }
        assert found["decoder.head.weight"].abs().sum() > 0

    def test_both_readings_of_the_similarity_train(self) -> None:
        images, labels = self.images(), self.labels()
        mapped, clipped = (self.build(similarity=s).loss(images, labels, NAMES) for s in ("mapped", "clipped"))
        assert all((mapped[name] != clipped[name]) == (name not in ("loss_present", "loss_absent")) for name in mapped)

    def test_classes_do_not_see_each_other(self, method: SynSeg) -> None:
        images = self.images()
        with torch.no_grad():
            self.close(method(images, NAMES[:3]), method(images, NAMES)[:, :3])

    def test_chunks_change_nothing(self, method: SynSeg, monkeypatch: pytest.MonkeyPatch) -> None:
        images = self.images()
        with torch.no_grad():
            whole = method(images, NAMES)
            monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 1000)
            self.close(method(images, NAMES), whole)

    def test_maps_have_the_input_grid(self, method: SynSeg) -> None:
        with torch.no_grad():
            assert method(self.images(), NAMES).shape == (2, len(NAMES), 48, 48)
        maps = method.diagnostics(self.images(), NAMES)
        assert {k: tuple(v.shape) for k, v in maps.items()} == {"saliency": (2, len(NAMES), 48, 48)}

    @pytest.mark.parametrize("threshold", [0.1, 0.5, 0.6])
    def test_a_pixel_whose_best_activation_is_below_the_threshold_is_background(self, threshold: float) -> None:
        method = self.build(background_threshold=threshold)
        names = ["dog", "cat", "bus"]
        with torch.no_grad():  # spread the activations around the threshold
            best = method(self.images(), names).amax(dim=1).median()
            method.decoder.head.bias.add_(torch.tensor(threshold).logit() - best)
        scores = method.scores(self.images(), method.prompts([*names, "grass", "sky"], 3))
        best = scores[:, :3].amax(dim=1)
        assert scores.shape[1] == 4
        assert 0 < (best < threshold).float().mean() < 1
        assert torch.equal(scores.argmax(dim=1) == 3, best < torch.tensor(threshold).logit().sigmoid())

    def test_windows_keep_the_threshold_rule(self) -> None:
        method = self.build(background_threshold=0.5)
        image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), dtype=np.uint8)
        window = SlidingWindow(Protocol(80, 320, 80, 48))
        scores = window.scores(method, image, ["dog", "cat", "background"])
        torch.testing.assert_close(scores[2], torch.full_like(scores[2], 0.5))

    def test_only_vocabularies_with_a_background_get_one(self, method: SynSeg) -> None:
        voc, folded = get_benchmark("PAS-20"), get_benchmark("PAS-20b")
        assert method.prompts(voc.prompt_names(), voc.background_index) == voc.prompt_names()
        assert method.prompts(folded.prompt_names(), 20) == (*voc.prompt_names(), "background")
        words = self.build(background_threshold=None)
        assert words.prompts(folded.prompt_names(), 20) == folded.prompt_names()
        with torch.no_grad():
            assert words(self.images(), ["dog", "background"])[:, 1].std() > 0

    def test_the_printed_views_are_the_quarters_and_the_whole(self, method: SynSeg) -> None:
        protocol = load_profile("synseg").protocol
        assert (protocol.window, protocol.canvas, protocol.stride, protocol.whole_image) == (224, 448, 224, True)
        small = Protocol(96, 384, 96, 48, protocol.overlap)
        image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
        found = SlidingWindow(small).scores(method, image, NAMES)
        pixels = torch.from_numpy(image).permute(2, 0, 1).float()
        quarters = [pixels[:, y : y + 48, x : x + 48] for y in (0, 48) for x in (0, 48)]
        whole = F.interpolate(pixels[None], (48, 48), mode="bilinear")[0]
        maps = method.scores(torch.stack([*quarters, whole]), NAMES)
        expected = F.interpolate(maps[4:], (96, 96), mode="bilinear")[0] / 2
        for view, (y, x) in enumerate((y, x) for y in (0, 48) for x in (0, 48)):
            expected[:, y : y + 48, x : x + 48] += maps[view] / 2
        self.close(found, expected)

    def test_weights_trained_with_another_prompt_are_refused(self, method: SynSeg, tmp_path: Path) -> None:
        save_weights(method, tmp_path / "w.pth", "synseg")
        load_weights(self.make(seed=3), tmp_path / "w.pth", "synseg")
        with pytest.raises(WeightsError, match="other options"):
            load_weights(self.build(template="{}"), tmp_path / "w.pth", "synseg")

    @pytest.mark.parametrize(
        "change",
        [
            {"template": "a photo"},
            {"blocks": ()},
            {"width": 15},
            {"background_threshold": 1.0},
            {"decoder_weights": "clipseg.pth"},
            {"decoder_sha256": "0123456789"},
            {"decoder_weights": "clipseg.pth", "decoder_sha256": "xyz"},
        ],
        ids=str,
    )
    def test_options_that_make_no_model_are_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(UsageError, match="synseg does not fit"):
            METHOD.make_options({**SMALL, **change})

    @pytest.mark.parametrize("change", [{"similarity": "clip"}, {"align_weight": -1.0}, {"eps": 0.7}], ids=str)
    def test_losses_that_are_none_are_refused(self, change: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            self.build(**change)


class TestSynSegOnConvNext(MethodTester):
    """Stages of four sizes: all are brought to the tower's own map."""

    entry = METHOD
    options: ClassVar[dict[str, object]] = SMALL
    loss_waits = PAIRS
    on_the_usual_tower = False
    spec = TowerSpec(model="tiny-convnext", weights=None, resolution=96)


def test_blocks_are_clipseg_s_on_the_published_tower() -> None:
    assert default_blocks(12) == (3, 6, 9)
    assert default_blocks(24) == (6, 12, 18)
    assert default_blocks(3) == (0, 1, 1)
    assert default_blocks(1) == (0, 0, 0)


def test_the_published_size_is_151_million_parameters() -> None:
    with torch.device("meta"):
        tower = build_tower(TowerSpec(model="ViT-B-16-quickgelu", weights=None, resolution=224))
        method = METHOD.create(tower, METHOD.make_options())
    assert isinstance(method, SynSeg)
    assert method.blocks == (9, 6, 3)
    assert round(sum(p.numel() for p in method.parameters()) / 1e6) == 151
