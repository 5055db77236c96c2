"""Multiply-adds are counted as fvcore does, and as the papers' tables print them."""

from __future__ import annotations

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from repro.clip.spec import TowerSpec
from repro.cost.estimate import count_inference
from repro.cost.flops import MultiplyAdds
from repro.datasets.protocol import Protocol
from repro.methods import get_method

CLASSES = [f"class {i}" for i in range(150)]
LARGE = TowerSpec("ViT-L-14-336-quickgelu", None, 336)
BASE = TowerSpec("ViT-B-16-quickgelu", None, 384)


class Small(nn.Module):
    """One of everything fvcore has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.group = nn.GroupNorm(2, 4)
        self.linear = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        x = F.interpolate(self.group(self.up(self.conv(x))), scale_factor=2, mode="bilinear")
        x = self.norm(self.linear(x.flatten(2).transpose(1, 2)))
        return x @ x.transpose(1, 2) @ x


def counted(module, *inputs):
    with torch.no_grad(), MultiplyAdds(module) as count:
        module(*inputs)
    return count


def test_every_rule_agrees_with_fvcore():
    analysis = pytest.importorskip("fvcore.nn").FlopCountAnalysis
    module, x = Small().eval(), torch.zeros(2, 3, 6, 6)
    reference = analysis(module, (x,)).unsupported_ops_warnings(False)
    assert counted(module, x).total == reference.total()


def test_the_count_is_the_same_without_numbers():
    x = torch.zeros(2, 3, 6, 6)
    assert counted(Small().to("meta"), x.to("meta")).total == counted(Small(), x).total


def test_parts_are_named_and_add_up():
    module = Small()
    count = counted(module, torch.zeros(1, 3, 6, 6))
    assert set(count.by_part) == {"conv", "up", "group", "linear", "norm", "other"}
    assert count.by_part["conv"] == 36 * 8 * 27
    assert count.by_part["up"] == 36 * 8 * 4 * 4


def test_fused_attention_is_two_matrix_products():
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v)

    count = counted(Attention(), torch.zeros(2, 4, 5, 8), torch.zeros(2, 4, 7, 8), torch.zeros(2, 4, 7, 3))
    assert count.total == 2 * 4 * 5 * 7 * (8 + 3)


def test_counting_leaves_the_module_as_it_was():
    module = Small()
    before = dict(module.__dict__)
    counted(module, torch.zeros(1, 3, 6, 6))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert set(module.__dict__) == set(before)


@cache
def cost(name, spec, classes=150):
    entry = get_method(name)
    return count_inference(entry, spec, entry.make_options(), Protocol(), CLASSES[:classes])


def test_catseg_large_is_what_table_2_prints():
    found = cost("catseg", LARGE)
    assert round(found.parameters / 1e6, 1) == 433.7
    assert round(found.gflops, 1) == 2121.1


def test_the_parts_of_catseg_are_those_measured_on_the_released_code():
    # docs/specs/catseg.md: CLIP 882.0; Swin 462.8, class attention 329.1, decoder 428.0 and small projections together.
    found = cost("catseg", LARGE).parts
    assert found["clip"] == pytest.approx(882.0, abs=0.1)
    assert found["aggregator"] == pytest.approx(462.8 + 329.1 + 428.0, rel=0.01)


def test_catseg_base_is_within_a_thousandth_of_the_released_code():
    assert cost("catseg", BASE).gflops == pytest.approx(1487.6, rel=5e-4)


def test_what_runs_is_less_than_the_published_form_with_attention_left_out():
    found = cost("catseg", BASE)
    attention = 5 * 11 * 2 * 577**2 * 768 / 1e9  # of five views through eleven whole blocks
    assert found.executed_gflops - attention < 0.85 * found.gflops


def test_class_slots_are_padded_however_few_classes_there_are():
    ten, all_ = (cost("catseg", BASE, n).gflops for n in (10, 150))
    assert ten < all_
    slots = 5 * 576 * 256 * 2 * (82944 + 64 + 12 * 128) / 1e9
    assert ten > slots  # 256 slots in both layers, whatever the number of classes
