"""Faster passes give the method's numbers, within the rounding each is known for, and say where they cannot run."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pytest
import torch
from fake_method import make_method

from repro.datasets.protocol import Protocol
from repro.errors import ResourceError, UsageError
from repro.evaluation.infer import SlidingWindow
from repro.methods.speedups import SpedUp, Speedups, float32_products, speed_up

CLASSES = ["sky", "dog", "grass"]


@pytest.fixture(scope="module")
def images():
    return 255 * torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def method():
    return make_method().eval()


def logits(method, images):
    with torch.no_grad():
        return method(images, CLASSES)


def test_nothing_asked_for_is_the_method_itself(method):
    assert speed_up(method, Speedups(), "cpu") is method
    assert Speedups().facts() == {}
    assert Speedups().label() == "float32"


@pytest.mark.parametrize(("amp", "digits"), [("bf16", 8), ("fp16", 11)])
def test_mixed_precision_differs_by_its_rounding_and_not_more(method, images, amp, digits):
    expected = logits(method, images)
    found = logits(speed_up(method, Speedups(amp=amp), "cpu"), images)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=8 * 2.0**-digits * float(expected.abs().max()))


def test_channels_last_gives_the_same_logits_from_weights_in_that_layout(method, images):
    expected = logits(method, images)
    fast = speed_up(copy.deepcopy(method), Speedups(channels_last=True), "cpu")
    torch.testing.assert_close(logits(fast, images), expected, rtol=1e-5, atol=1e-5)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in fast.parameters() if p.ndim == 4)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="needs a C++ compiler")
def test_compiled_passes_give_the_same_logits(method, images):
    found = logits(speed_up(method, Speedups(compile=True), "cpu"), images)
    torch.testing.assert_close(found, logits(method, images), rtol=1e-5, atol=1e-5)


def test_compilation_is_asked_of_torch_once_for_fixed_shapes(method, images, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda run, **options: asked.append(options) or run)
    monkeypatch.setattr("repro.methods.speedups._can_compile", lambda on_gpu: True)
    fast = speed_up(method, Speedups(compile=True), "cpu")
    assert torch.equal(logits(fast, images), logits(method, images))
    assert asked == [{"dynamic": False}]


def test_its_state_tells_it_from_the_plain_method(method):
    plain, half, full = (
        {name: tuple(t.flatten().tolist()) for name, t in m.state_dict().items()}
        for m in (method, SpedUp(method, Speedups(amp="bf16")), SpedUp(method, Speedups(amp="fp16")))
    )
    assert half != full
    assert {f"method.{name}" for name in plain} == set(half) - {"speedups_label"}


def test_a_prediction_runs_through_the_sliding_window(method):
    window = SlidingWindow(Protocol(short_side=20, max_long_side=80, canvas=20, window=12))
    image = np.random.default_rng(0).integers(0, 256, (20, 25, 3), dtype=np.uint8)
    found = window.predict(speed_up(method, Speedups(amp="bf16"), "cpu"), image, CLASSES)
    assert (found == window.predict(method, image, CLASSES)).mean() > 0.9


@pytest.mark.parametrize("speedups", [Speedups(graphs=True), Speedups(tf32=True)])
def test_what_needs_a_gpu_says_so_on_a_cpu(method, speedups):
    with pytest.raises(ResourceError, match="a GPU") as error:
        speed_up(method, speedups, "cpu")
    assert "--device cuda" in str(error.value)


def test_compiling_without_a_compiler_says_what_to_install(method, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ResourceError, match=r"C\+\+ compiler"):
        speed_up(method, Speedups(compile=True), "cpu")


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="precision"):
        Speedups(amp="int8")


def test_float32_products_are_exact_inside_and_as_before_outside():
    before = torch.backends.cudnn.allow_tf32
    with float32_products(tf32=False):
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_pass_gives_the_same_logits_and_hands_out_its_own_copy(method, images):
    method, images = method.cuda(), images.cuda()
    fast = speed_up(method, Speedups(graphs=True), "cuda")
    first = logits(fast, images)
    expected = logits(method, images)
    logits(fast, 255 - images)
    torch.testing.assert_close(first, expected)
