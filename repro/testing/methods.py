"""Checks that every method must pass."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import UsageError
from repro.methods import MethodEntry
from repro.methods.interface import Method
from repro.testing.device_path import DevicePath
from repro.training.activations import checkpoint_activations
from repro.training.step import loss_share

NAMES = ("sky", "tall grass", "dog", "airplane", "traffic light", "sea", "person")


class MethodTester(DevicePath):
    """Checks of a method: subclass as ``class TestX(MethodTester)`` with ``entry`` and small ``options``.

    ``spec`` is the tower it is built on. Add what only that method promises.
    """

    __test__ = False
    entry: ClassVar[MethodEntry]
    options: ClassVar[dict[str, Any]] = {}
    spec: ClassVar[TowerSpec] = TowerSpec(model="tiny", weights=None, resolution=48)
    zero_gradient: ClassVar[tuple[str, ...]] = ()
    """Endings of names of parameters that train in name only: their gradient is present and zero."""
    tolerance: ClassVar[float] = 1e-5
    on_the_usual_tower: ClassVar[bool] = True
    """False for a method's second tester: capturing the same modules again would take minutes."""

    def __init_subclass__(cls) -> None:
        cls.__test__ = True

    @pytest.fixture(autouse=True)
    def _seeded(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield

    @pytest.fixture
    def method(self) -> Method:
        """Return the method on its tower, for inference."""
        return self.make(seed=1).eval()

    def make(self, seed: int) -> Method:
        """Build the method with random weights."""
        torch.manual_seed(seed)
        method = self.entry.create(build_tower(self.spec), self.entry.make_options(self.options))
        with torch.no_grad():  # nothing may rest on parameters that happen to start at zero
            for parameter in method.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.02 * torch.randn_like(parameter))
        return method

    @staticmethod
    def images(count: int = 2, height: int = 60, width: int = 72) -> Tensor:
        """Draw images (B, 3, H, W), 0..255."""
        return 255 * torch.rand(count, 3, height, width)

    def close(self, a: Tensor, b: Tensor) -> None:
        """Check that logits are equal but for rounding."""
        torch.testing.assert_close(a, b, rtol=0, atol=self.tolerance * max(1.0, float(b.abs().max())))

    def test_logits_have_one_finite_map_a_class(self, method: Method) -> None:
        """Check the shape (B, N, h, w) of logits, and that they are finite and not constant."""
        with torch.no_grad():
            logits = method(self.images(), NAMES)
        assert logits.shape[:2] == (2, len(NAMES))
        assert logits.ndim == 4
        assert logits.isfinite().all()
        assert logits.std() > 0

    def test_an_odd_value_of_an_option_is_refused_or_works(self) -> None:
        """Check that zero, an odd number or a word for any option gives UsageError or a method that works."""
        for name in (field.name for field in dataclasses.fields(self.entry.options)):
            for value in (0, 3, "abc", (1,)):
                print(f"{name}={value!r}")  # pytest shows it where another error ends the test
                with contextlib.suppress(UsageError), torch.no_grad():
                    options = self.entry.make_options({**self.options, name: value})
                    self.entry.create(build_tower(self.spec), options).eval()(self.images(1), NAMES)

    def test_scores_lie_between_zero_and_one(self, method: Method) -> None:
        """Check that scores can be averaged over windows; of a softmax that they sum to one."""
        scores = method.scores(self.images(), NAMES)
        assert 0 <= scores.min() < scores.max() <= 1
        if method.activation == "softmax":
            torch.testing.assert_close(scores.sum(dim=1), torch.ones_like(scores[:, 0]))

    def test_an_image_gets_the_same_logits_alone_and_in_a_batch(self, method: Method) -> None:
        """Check that images of a batch do not meet."""
        images = self.images(3)
        with torch.no_grad():
            together = method(images, NAMES)
            alone = torch.cat([method(image[None], NAMES) for image in images])
        self.close(together, alone)

    def test_permuting_the_classes_permutes_the_logits(self, method: Method) -> None:
        """Check that the order of the vocabulary decides nothing."""
        order = torch.randperm(len(NAMES))
        images = self.images()
        with torch.no_grad():
            self.close(method(images, [NAMES[i] for i in order]), method(images, NAMES)[:, order])

    def test_recording_gradients_does_not_change_the_logits(self, method: Method) -> None:
        """Check that training and inference compute the same."""
        images = self.images()
        with torch.no_grad():
            quiet = method(images, NAMES)
        self.close(method(images, NAMES).detach(), quiet)

    def test_evaluation_is_deterministic(self, method: Method) -> None:
        """Check that the same images give the same bits."""
        images = self.images()
        with torch.no_grad():
            assert torch.equal(method(images, NAMES), method(images, NAMES))

    def test_gradients_reach_what_trains_and_nothing_else(self, method: Method) -> None:
        """Check that exactly the parameters of the groups get a gradient."""
        if not self.entry.trainable:
            assert not [n for n, p in method.named_parameters() if p.requires_grad]
            return
        method.train()
        labels = torch.randint(0, len(NAMES), (2, 60, 72))
        total_loss(method, self.images(), labels).backward()
        grouped = {id(p) for g in method.param_groups(1.0, 0.1) for p in g["params"]}
        for name, parameter in method.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad == (id(parameter) in grouped), name
            if parameter.grad is not None:
                moved = bool(parameter.grad.abs().sum() > 0)
                assert moved != name.endswith(self.zero_gradient or ("\0",)), name

    def part_gradients(self, method: Method, images: Tensor, labels: Tensor, whole: Tensor) -> dict[str, Tensor]:
        """Return the gradients of a part of a batch, whose labels are ``whole``, as a divided training takes it."""
        method.zero_grad()
        torch.manual_seed(0)
        values = method.loss(images, labels, NAMES)
        terms = [v * loss_share(method, k, labels, whole) for k, v in values.items() if k.startswith("loss")]
        torch.stack(terms).sum().backward()
        return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}

    def test_a_divided_batch_has_the_gradients_of_the_whole(self, method: Method) -> None:
        """Check it also where images differ in their numbers of labelled pixels (Method.loss_over)."""
        if not self.entry.trainable:
            pytest.skip("nothing trains")
        images, labels = self.images(), torch.randint(0, len(NAMES), (2, 60, 72))
        labels[0, 10:] = 255
        whole = self.part_gradients(method, images, labels, labels)
        first, second = (self.part_gradients(method, images[i : i + 1], labels[i : i + 1], labels) for i in (0, 1))
        for name, gradient in whole.items():
            parts = first.get(name, torch.zeros(())) + second.get(name, torch.zeros(()))
            assert (parts - gradient).abs().max() <= 1e-3 * gradient.abs().max() + 1e-7, name

    def test_activations_computed_again_give_the_same_gradients(self, method: Method) -> None:
        """Check that blocks are found whose activations can be computed twice instead of kept."""
        if not self.entry.trainable:
            pytest.skip("nothing trains")
        method.train()
        images, labels = self.images(), torch.randint(0, len(NAMES), (2, 60, 72))
        kept = self.part_gradients(method, images, labels, labels)
        assert checkpoint_activations(method) >= 2
        again = self.part_gradients(method, images, labels, labels)
        assert kept.keys() == again.keys()
        assert all(torch.allclose(kept[n], again[n], rtol=1e-4, atol=1e-7) for n in kept)

    def test_parameter_groups_hold_each_parameter_once(self, method: Method) -> None:
        """Check the groups that the optimiser gets."""
        groups = method.param_groups(1.0, 0.1)
        members = [id(p) for g in groups for p in g["params"]]
        assert len(members) == len(set(members))
        assert all({"params", "lr", "weight_decay", "name"} <= g.keys() for g in groups)

    def test_a_training_step_lowers_the_loss_on_its_batch(self, method: Method) -> None:
        """Check that four steps lower the loss."""
        if not self.entry.trainable:
            pytest.skip("nothing trains")
        method.train()
        images, labels = self.images(), torch.randint(0, 3, (2, 60, 72))
        optimiser = torch.optim.AdamW(method.param_groups(2e-3, 1e-4))
        losses = []
        for _ in range(4):
            optimiser.zero_grad()
            loss = total_loss(method, images, labels)
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]

    def test_a_saved_state_gives_the_same_logits_in_a_fresh_instance(self, method: Method, tmp_path: Any) -> None:
        """Check that all that decides the logits is in the state."""
        images = self.images()
        torch.save(method.state_dict(), tmp_path / "weights.pth")
        other = self.make(seed=2).eval()
        with torch.no_grad():
            expected = method(images, NAMES)
            if self.entry.trainable:
                assert not torch.equal(other(images, NAMES), expected)
            other.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
            assert torch.equal(other(images, NAMES), expected)

    def test_loading_weights_forgets_cached_text(self, method: Method) -> None:
        """Check that text features follow the weights."""
        images = self.images(1)
        other = copy.deepcopy(method)
        with torch.no_grad():
            for parameter in clip_of(other).model.transformer.parameters():
                parameter.mul_(1.5)
            before = method(images, NAMES)
            method.load_state_dict(other.state_dict())
            after = method(images, NAMES)
        assert not torch.equal(before, after)
        with torch.no_grad():
            assert torch.equal(after, other(images, NAMES))

    def test_inference_mode_leaves_nothing_that_training_cannot_use(self, method: Method) -> None:
        """Check that cached tensors can be used by autograd."""
        with torch.inference_mode():
            method(self.images(), NAMES)
        if self.entry.trainable:
            clip_of(method).train_only()  # so that training reads the cached text
            total_loss(method, self.images(), torch.zeros(2, 60, 72, dtype=torch.long)).backward()

    def test_bf16_autocast_stays_near_float32(self, method: Method) -> None:
        """Check that mixed precision changes logits a little, and does so."""
        images = self.images()
        with torch.no_grad():
            exact = method(images, NAMES)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rough = method(images, NAMES).float()
        error = (rough - exact).square().mean().sqrt() / exact.std()
        assert 0 < error < 0.15

    @pytest.mark.slow
    def test_traced_method_gives_the_same_logits(self, method: Method) -> None:
        """Check that torch.compile captures the method."""
        if not self.on_the_usual_tower:
            pytest.skip("captured on the usual tower")
        images = self.images()
        with torch.no_grad():
            expected = method(images, NAMES)
            self.close(torch.compile(method, backend="aot_eager")(images, NAMES), expected)

    @pytest.mark.slow
    def test_compiled_method_gives_the_same_logits(self, method: Method) -> None:
        """Check that the compiled method computes the same."""
        if not self.entry.trainable:
            pytest.skip("compiling the tower is covered by the methods that train")
        if not self.on_the_usual_tower:
            pytest.skip("compiled on the usual tower")
        if shutil.which("c++") is None and shutil.which("g++") is None:
            pytest.skip("torch.compile needs a C++ compiler on a CPU")
        images = self.images()
        with torch.no_grad():
            expected = method(images, NAMES)
            self.close(torch.compile(method)(images, NAMES), expected)

    def test_no_class_is_refused(self, method: Method) -> None:
        """Check the ValueError for an empty vocabulary."""
        with pytest.raises(ValueError, match="no class"):
            method(self.images(), [])

    def test_texts_are_what_the_text_encoder_reads(self, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check that Method.texts says what is read."""
        names = (*NAMES, "wall-brick, wall")
        read: set[str] = set()
        original = clip_of(method).text

        def text(classes: Any, template: str) -> Tensor:
            read.update(template.replace("{}", name) for name in classes)
            return original(classes, template)

        monkeypatch.setattr(clip_of(method), "text", text)
        with torch.no_grad():
            method(self.images(1), names)
        assert read == {text for own in method.texts(names) for text in own}
        assert len(method.texts(names)) == len(names)

    def test_one_class_works(self, method: Method) -> None:
        """Check a vocabulary of one."""
        with torch.no_grad():
            assert method(self.images(), ["dog"]).shape[1] == 1

    def test_a_thousand_classes_work(self, method: Method) -> None:
        """Check a vocabulary of a thousand."""
        names = [f"thing {i}" for i in range(1000)]
        with torch.no_grad():
            logits = method(self.images(), names)
        assert logits.shape[:2] == (2, 1000)
        assert logits.isfinite().all()


def total_loss(method: Method, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the losses that are minimised."""
    values = method.loss(images, labels, NAMES)
    return torch.stack([v for k, v in values.items() if k.startswith("loss")]).sum()


def clip_of(method: Method) -> Any:
    """Return the CLIP tower of a method, which all keep as ``clip``."""
    return method.get_submodule("clip")
