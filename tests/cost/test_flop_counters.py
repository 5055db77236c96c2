"""Two counters, and ours, against closed forms: to 0.1 % and better."""

from __future__ import annotations

import copy

import pytest
import torch
from flop_counters import fvcore_multiply_adds, torch_multiply_adds
from torch import nn

from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.cost.estimate import build_on_meta
from repro.cost.flops import MultiplyAdds
from repro.cost.timing import drawn_text
from repro.methods import get_method

WIDTH, TOKENS, PLACES, DEPTH = 768, 197, 196, 12
BLOCK = 12 * TOKENS * WIDTH**2 + 2 * TOKENS**2 * WIDTH
"""Of a transformer block: q, k, v, projection, MLP of four times the width; the two products of attention."""
VIT_B = DEPTH * BLOCK + PLACES * WIDTH * 3 * 16**2 + WIDTH * 512
"""ViT-B/16 at 224 pixels, 17.56e9: blocks, patch embedding, projection of the class token."""
NORMS = 5 * WIDTH * ((2 * DEPTH + 1) * TOKENS + 1)
"""What fvcore adds for ln_pre, two norms a block, and ln_post of the class token."""


@pytest.fixture(scope="module")
def visual():
    with torch.device("meta"):
        return build_tower(TowerSpec("ViT-B-16-quickgelu", None, 224)).model.visual.eval()


def image():
    return torch.empty(1, 3, 224, 224, device="meta")


def test_the_closed_form_is_the_figure_everybody_prints():
    assert round(VIT_B / 1e9, 2) == 17.56


def test_torch_counts_a_vision_transformer_as_its_closed_form(visual):
    with torch.no_grad():
        assert torch_multiply_adds(visual, image()) == pytest.approx(VIT_B, rel=1e-3)


def test_fvcore_counts_a_vision_transformer_as_its_closed_form(visual):
    pytest.importorskip("fvcore")
    real = copy.deepcopy(visual).to_empty(device="cpu")  # its tracer cannot do without numbers
    for tensor in real.state_dict().values():
        tensor.zero_()
    with torch.no_grad():
        assert fvcore_multiply_adds(real, torch.zeros(1, 3, 224, 224)) == pytest.approx(VIT_B + NORMS, rel=1e-3)


def test_our_count_is_the_closed_form_too(visual):
    with torch.no_grad(), MultiplyAdds(visual) as count:
        visual(image())
    assert count.total == pytest.approx(VIT_B + NORMS, rel=1e-3)


def test_counters_agree_where_the_fast_path_of_attention_hides_all_of_it():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    x = torch.zeros(1, 10, 16)
    expected = 10 * (4 * 16**2 + 2 * 16 * 32) + 2 * 10**2 * 16
    with torch.no_grad():
        assert torch_multiply_adds(layer.to("meta"), x.to("meta")) == expected
    assert torch.backends.mha.get_fastpath_enabled()


METHODS = {
    "catseg": {"hidden": 16, "heads": 2, "window": 3, "size_divisibility": 1},
    "disa": {"hidden": 16, "heads": 2, "window": 3, "sdm_head_dim": 16, "k_policy": "ratio"},
    "logoseg": {"hidden": 16, "regions": 3, "heads": 2, "correlation": 16},
    "synseg": {"width": 16, "heads": 2, "mlp_width": 32, "film_hidden": 16},
}
DECODER = {
    "decoder_dims": (16, 16), "decoder_guidance": (16, 16), "decoder_guidance_proj": (8, 8), "guide_blocks": (0, 0)
}  # fmt: skip


NAMES = ("sky", "dog", "grass")


def options_of(name):
    return get_method(name).make_options(METHODS[name] | (DECODER if name != "synseg" else {}))


@pytest.mark.parametrize("name", ["catseg", "logoseg"])
def test_fvcore_counts_a_whole_method_as_we_do(name, monkeypatch):
    # Not DiSa, which TorchScript cannot trace, nor SynSeg, of whose tower a trace leaves out what nobody reads.
    pytest.importorskip("fvcore")
    monkeypatch.setattr("repro.layers.window_attention.FEW", 0)  # traces do not see into a function with its gradient
    method = get_method(name).create(build_tower(TowerSpec("tiny", None, 48)), options_of(name)).eval()
    images = torch.zeros(1, 3, 48, 48)
    with drawn_text(method):  # gradients are recorded: without them layers work in chunks
        by_fvcore = fvcore_multiply_adds(method, images, NAMES)
        with MultiplyAdds(method, cached_text=False) as count:
            method(images, NAMES)
    assert by_fvcore == pytest.approx(count.total, rel=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_torch_counts_the_products_of_a_whole_method_as_we_do(name, monkeypatch):
    monkeypatch.setattr("repro.cost.flops.ELEMENTWISE", {})  # torch counts neither norms nor resizing
    method = build_on_meta(get_method(name), TowerSpec("tiny", None, 48), options_of(name)).eval()
    images = torch.empty(1, 3, 48, 48, device="meta")
    with drawn_text(method):
        by_torch = torch_multiply_adds(method, images, NAMES)
        with MultiplyAdds(method, cached_text=False) as count:
            method(images, NAMES)
    assert by_torch == pytest.approx(count.total, rel=1e-3)
