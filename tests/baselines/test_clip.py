from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from baselines.clip import METHOD
from repro.methods.interface import Method
from repro.testing.methods import NAMES, MethodTester


class TestClip(MethodTester):
    entry = METHOD

    def test_logits_are_scaled_cosines(self, method: Method) -> None:
        images = self.images()
        with torch.no_grad():
            features = F.normalize(method.clip.dense(images).map, dim=1)
            text = method.clip.text(NAMES, "A photo of a {} in the scene")
            expected = method.clip.model.logit_scale.exp() * torch.einsum("bchw,nc->bnhw", features, text)
            torch.testing.assert_close(method(images, NAMES), expected, rtol=1e-5, atol=1e-5)

    def test_temperature_replaces_the_towers_scale(self, method: Method) -> None:
        images = self.images()
        own = METHOD.create(method.clip, METHOD.make_options({"temperature": 0.5}))
        with torch.no_grad():
            scale = method.clip.model.logit_scale.exp()
            torch.testing.assert_close(own(images, NAMES) * 0.5 * scale, method(images, NAMES), rtol=1e-5, atol=1e-5)

    def test_there_is_no_loss(self, method: Method) -> None:
        with pytest.raises(NotImplementedError):
            method.loss(self.images(), torch.zeros(2, 60, 72, dtype=torch.long), NAMES)
