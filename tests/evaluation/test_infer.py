from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fake_method import PixelClassifier, make_method
from PIL import Image
from recordings import fill, recorded, sample
from tiny_set import NAMES

from repro.clock import StageClock
from repro.datasets.protocol import Protocol
from repro.errors import RunError, UsageError
from repro.evaluation.infer import SlidingWindow, shortest_edge_size
from repro.methods.interface import Method
from repro.testing.fake_device import TO_DEVICE, TO_HOST, fake_device, put

MINI = Protocol(short_side=160, max_long_side=640, canvas=160, window=96)
MANY = tuple(f"class {i}" for i in range(60))


class Constant(Method):
    """The same logits everywhere."""

    activation = "sigmoid"

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, images, classes):
        return self.logits[None, :, None, None].expand(len(images), -1, 24, 24)

    def loss(self, images, labels, classes):
        raise NotImplementedError


class Red(Method):
    """One class, whose logit is the view's red channel: what the window logic does to an image shows in the scores."""

    activation = "sigmoid"

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, images, classes):
        self.shapes.append(tuple(images.shape))
        return images[:, :1] / 64 - 2

    def loss(self, images, labels, classes):
        raise NotImplementedError


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def official(method, image, classes, p):
    """The published procedure written as it was published: unfold, one pass, fold over coverage, in one piece."""
    height, width = image.shape[:2]
    new_h, new_w = shortest_edge_size(height, width, p.short_side, p.max_long_side)
    resized = torch.from_numpy(np.array(Image.fromarray(image).resize((new_w, new_h), Image.Resampling.BILINEAR)))
    pixels = resized.permute(2, 0, 1)[None].float()
    canvas = F.interpolate(pixels, size=(p.canvas, p.canvas), mode="bilinear", align_corners=False)
    fold = {"kernel_size": p.window, "stride": p.stride}
    windows = F.unfold(canvas, **fold)[0].T.reshape(-1, 3, p.window, p.window)
    whole = F.interpolate(pixels, size=(p.window, p.window), mode="bilinear", align_corners=False)
    logits = method(torch.cat([windows, whole]), classes)
    logits = F.interpolate(logits, size=(p.window, p.window), mode="bilinear", align_corners=False)
    scores = logits.sigmoid() if method.activation == "sigmoid" else logits.softmax(1)
    cover = F.fold(F.unfold(torch.ones(1, 1, p.canvas, p.canvas), **fold), (p.canvas, p.canvas), **fold)
    local = F.fold(scores[:-1].flatten(1).T[None], (p.canvas, p.canvas), **fold) / cover
    whole_map = F.interpolate(scores[-1:], size=(p.canvas, p.canvas), mode="bilinear", align_corners=False)
    fused = (local + whole_map) / 2
    return F.interpolate(fused, size=(height, width), mode="bilinear", align_corners=False)[0].detach()


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("shape", [(120, 150), (333, 170), (160, 160)])
def test_scores_and_prediction_equal_the_published_procedure(activation, shape):
    method, image = make_method(activation=activation).eval(), noise(*shape)
    expected = official(method, image, NAMES, MINI)
    window = SlidingWindow(MINI)
    torch.testing.assert_close(window.scores(method, image, NAMES), expected, atol=2e-6, rtol=0)
    two_best = expected.topk(2, dim=0).values
    clear = (two_best[0] - two_best[1] > 1e-5).numpy()
    assert clear.mean() > 0.99
    assert np.array_equal(window.predict(method, image, NAMES)[clear], expected.argmax(0).numpy()[clear])


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_working_in_chunks_of_classes_equals_one_piece(activation):
    method, image = make_method(activation=activation).eval(), noise(130, 170)
    large, small = SlidingWindow(MINI, chunk_mib=4096), SlidingWindow(MINI, chunk_mib=2)
    whole = large.scores(method, image, MANY)
    torch.testing.assert_close(small.scores(method, image, MANY), whole, atol=1e-6, rtol=0)
    if activation == "sigmoid":  # class by class the same arithmetic: also the same bits
        assert np.array_equal(small.predict(method, image, MANY), whole.argmax(0).numpy())


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_batches_of_views_equal_all_views_at_once(batch):
    method, image = make_method().eval(), noise(130, 170)
    together = SlidingWindow(MINI).scores(method, image, NAMES)
    torch.testing.assert_close(
        SlidingWindow(MINI, view_batch=batch).scores(method, image, NAMES), together, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("batch", [0, 3])
def test_images_that_run_together_get_the_logits_they_get_alone(batch):
    method, window = make_method().eval(), SlidingWindow(MINI, view_batch=batch)
    pictures = [window.resize(noise(130, 170)), window.resize(noise(97, 300, seed=1))]
    together = window.logits(method, pictures, NAMES)
    for picture, logits in zip(pictures, together, strict=True):
        (alone,) = SlidingWindow(MINI).logits(method, [picture], NAMES)
        torch.testing.assert_close(logits, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_logits_are_left_as_they_are_also_where_they_need_no_resizing(activation):
    class Plain(Red):
        def forward(self, images, classes):
            return torch.cat([images[:, :1] / 64 - 2, images[:, 1:2] / 64], dim=1)

    Plain.activation = activation
    window = SlidingWindow(MINI)
    (logits,) = window.logits(Plain(), [window.resize(noise(160, 160))], ("a", "b"))
    before = logits.clone()
    first = window.labels(Plain(), logits, (160, 160))
    assert torch.equal(logits, before)
    assert np.array_equal(window.labels(Plain(), logits, (160, 160)), first)


@pytest.mark.parametrize(("classes", "last", "kind"), [(255, None, "uint8"), (256, None, "uint16"), (300, 7, "uint8")])
def test_labels_are_the_arg_max_in_few_bytes_with_the_last_classes_as_one(classes, last, kind):
    method, image = make_method().eval(), noise(50, 60)
    names, window = tuple(f"class {i}" for i in range(classes)), SlidingWindow(MINI)
    (logits,) = window.logits(method, [window.resize(image)], names)
    labels = window.labels(method, logits, (50, 60), last)
    expected = np.minimum(window.scores(method, image, names).argmax(0).numpy(), classes if last is None else last)
    assert labels.dtype == kind
    assert (labels == expected).mean() > 0.999  # softmax in chunks rounds differently


def test_constant_scores_come_out_unchanged():
    method = Constant([0.5, -2.0, 1.25])
    scores = SlidingWindow(MINI).scores(method, noise(97, 211), ("a", "b", "c"))
    assert scores.shape == (3, 97, 211)
    expected = torch.tensor([0.5, -2.0, 1.25]).sigmoid()[:, None, None].expand_as(scores)
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=0)


def test_of_equal_scores_the_first_class_wins_also_across_chunks():
    method = Constant([0.0, 1.0] + [1.0] * 38)
    prediction = SlidingWindow(MINI, chunk_mib=1).predict(method, noise(60, 70), MANY[:40])
    assert (prediction == 1).all()


def test_an_image_of_the_size_of_the_canvas_is_seen_pixel_by_pixel():
    p = Protocol(short_side=160, canvas=160, window=96, whole_image=False)
    image = noise(160, 160)
    scores = SlidingWindow(p).scores(Red(), image, ("red",))
    expected = (torch.from_numpy(image[..., 0].astype(np.float32)) / 64 - 2).sigmoid()
    torch.testing.assert_close(scores[0], expected, atol=1e-6, rtol=0)


def test_views_of_the_published_protocol_are_four_windows_and_the_whole():
    window = SlidingWindow(Protocol())
    assert window.corners == [(0, 0), (0, 256), (256, 0), (256, 256)]
    method = Red()
    window.predict(method, noise(30, 40), ("red",))
    assert method.shapes == [(5, 3, 384, 384)]


def test_the_whole_image_view_is_made_from_the_resized_image_not_from_the_canvas():
    image = noise(160, 400)
    window = SlidingWindow(MINI)
    resized = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(resized, size=(96, 96), mode="bilinear", align_corners=False)[0]
    assert torch.equal(window.views(window.resize(image))[-1], expected)


@pytest.mark.parametrize("protocol", [Protocol(canvas=300), Protocol(overlap=0.9999)], ids=["too small", "still"])
def test_windows_that_do_not_cover_the_canvas_are_a_usage_error(protocol):
    assert protocol.views > 0  # a plan counts them before
    with pytest.raises(UsageError, match="do not cover"):
        SlidingWindow(protocol)


def test_the_last_window_ends_with_the_canvas_where_strides_do_not():
    protocol = Protocol(short_side=106, max_long_side=424, canvas=106, window=64, overlap=0.5, whole_image=False)
    assert protocol.starts == (0, 32, 42)
    assert Protocol().starts == (0, 256)
    assert (protocol.views, Protocol().views) == (9, 5)
    image = noise(106, 106)
    scores = SlidingWindow(protocol).scores(Red(), image, ("red",))[0]
    expected = torch.from_numpy(image[..., 0] / 64.0 - 2).sigmoid()  # every window sees a pixel as it is
    torch.testing.assert_close(scores.double(), expected, atol=2e-6, rtol=0)


def test_nan_from_the_method_is_a_run_error_not_class_zero():
    with pytest.raises(RunError, match="NaN"):
        SlidingWindow(MINI).predict(Constant([1.0, math.nan]), noise(20, 20), ("a", "b"))


def test_inference_needs_no_gradient_and_leaves_the_cached_text_trainable():
    method = make_method().eval()
    assert not SlidingWindow(MINI).scores(method, noise(50, 50), NAMES).requires_grad


@pytest.mark.parametrize(
    ("size", "expected"),
    [((375, 500), (640, 853)), ((500, 375), (853, 640)), ((512, 683), (640, 854)), ((100, 1000), (256, 2560))],
)
def test_sizes_are_rounded_as_detectron2_does(size, expected):
    assert shortest_edge_size(*size, 640, 2560) == expected


@pytest.mark.parametrize(("size", "expected"), [((1, 6000), (1, 2560)), ((6000, 1), (2560, 1)), ((1, 5120), (1, 2560))])
def test_a_side_that_would_vanish_keeps_one_pixel(size, expected):
    assert shortest_edge_size(*size, 640, 2560) == expected
    assert SlidingWindow(Protocol()).resize(noise(*size)).shape == (*expected, 3)
    assert SlidingWindow(MINI).scores(make_method().eval(), noise(*size), NAMES).shape[-2:] == size


# The recording of the official network under name-keyed weights (tests/golden).


def test_resizing_equals_the_recorded_test_pipeline_to_the_bit():
    resized = SlidingWindow(Protocol()).resize(fill.image(505, 375, 500))
    assert np.array_equal(sample(resized, "voc20_slide", "resized_image"), recorded("voc20_slide")["resized_image"])


def test_the_five_views_give_the_recorded_patch_embeddings():
    """CLIP's first convolution is linear in the view, so any wrong view (place, order, resizing) would show."""
    window = SlidingWindow(Protocol())
    views = window.views(window.resize(fill.image(505, 375, 500)))
    mean, std = (
        torch.tensor([122.7709383, 116.7460125, 104.09373615]),
        torch.tensor([68.5005327, 66.6321579, 70.3231630]),
    )
    weight = fill.value("sem_seg_head.predictor.clip_model.visual.conv1.weight", (768, 3, 16, 16))
    patches = F.conv2d((views - mean[:, None, None]) / std[:, None, None], torch.from_numpy(weight), stride=16)
    found = sample(patches, "voc20_slide", "clip.conv1")
    np.testing.assert_allclose(found, recorded("voc20_slide")["clip.conv1"], atol=2e-4)


def test_a_classifier_without_dropout_is_deterministic():
    method, image = PixelClassifier(dropout=0.9).eval(), noise(60, 60)
    one, two = (SlidingWindow(MINI).scores(method, image, NAMES) for _ in range(2))
    assert torch.equal(one, two)


def test_a_prediction_waits_for_the_device_once_for_nan_and_once_for_its_labels():
    method = make_method()
    with fake_device(answer=True) as waits:  # all logits are finite
        put(method)
        SlidingWindow(MINI).predict(method, noise(50, 70), NAMES, StageClock())
    reads = [wait for wait in waits if wait.what != TO_DEVICE]  # pixels, and the vectors this method makes on the host
    assert [what for what, _ in reads] == ["aten._local_scalar_dense", TO_HOST]
    assert {where for _, where in reads} == {"repro.evaluation.infer:SlidingWindow.labels"}
