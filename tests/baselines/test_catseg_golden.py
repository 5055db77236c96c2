"""CAT-Seg against recordings of the official network under name-keyed weights (tests/golden, ViT-B/16)."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from catseg_official import from_official, to_official
from catseg_reference import VIT_B, VIT_L, CatSegReference
from recordings import GOLDEN, entries, fill, manifest, recorded, sample, shapes
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import repro.layers.decoder
import repro.layers.tokens
from baselines.catseg.checkpoint import official_name
from baselines.catseg.model import CatSeg
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.datasets.vocabulary import load_vocabulary

pytestmark = pytest.mark.xdist_group("memory")  # 10 GB: one at a time

TOLERANCE = 5e-5
"""Of the largest magnitude of a tensor. Reached: 1.5e-6 in CLIP, 2e-5 in the aggregator, 3e-5 in probabilities."""
TOWER_TOLERANCE = 4e-4
"""The same for gradients of the CLIP towers and their norms; see the two tests of the training step."""
PROBABILITY_TOLERANCE = 1e-4


class Golden:
    """One model filled as the official one was, and what it is compared with."""

    def __init__(self) -> None:
        # The official list, not our names, says what is filled: a wrong name of ours would be a missing entry.
        values = {n: fill.value(n, shape) for n, shape in shapes("B").items()}
        self.state = {n: torch.from_numpy(np.asarray(v)) for n, v in values.items() if v is not None}
        self.model = CatSeg(build_tower(TowerSpec(model="ViT-B-16-quickgelu", weights=None)))
        from_official(self.model, {**to_official(self.model), **self.state})

    def tokens(self, vocabulary: str) -> Tensor:
        """Recorded token ids (T, 1, length)."""
        return torch.from_numpy(recorded("tokens")[vocabulary].astype(np.int64))[:, None]

    def image(self, seed: int, height: int, width: int) -> Tensor:
        return torch.from_numpy(fill.image(seed, height, width)).permute(2, 0, 1)[None].float()

    def error(self, case: str, name: str, full: Tensor, stored: np.ndarray) -> float:
        """Largest difference over the tensor's largest magnitude, on the recorded sample."""
        found = sample(full.detach(), case, name)
        known = ~np.isnan(found)
        return float(np.abs(found - stored)[known].max() / np.abs(stored).max())


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden()


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunks, so that hooks see whole tensors."""
    monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 1 << 60)


@pytest.fixture
def seen(golden: Golden) -> Iterator[dict[str, Tensor]]:
    """Every recorded tensor of the forward pass, under its recorded name and in its recorded layout."""
    found: dict[str, Tensor] = {}
    handles: list[Any] = []

    def on(module: nn.Module, name: str, layout: Callable[[Tensor], Tensor] = lambda t: t) -> None:
        handles.append(module.register_forward_hook(lambda _m, _i, out: found.__setitem__(name, layout(out).detach())))

    def parts(module: nn.Module, name: str) -> None:  # training decodes a few classes at a time
        def keep(_module: nn.Module, _inputs: Any, out: Tensor) -> None:
            found[name] = torch.cat([found[name], out.detach()]) if name in found else out.detach()

        handles.append(module.register_forward_hook(keep))

    def maps(t: Tensor) -> Tensor:
        return t.unflatten(2, (24, 24)).permute(0, 4, 1, 2, 3)

    def with_class_token(t: Tensor) -> Tensor:  # ours never computes the class token's own feature
        return F.pad(t.flatten(2).transpose(1, 2), (0, 0, 1, 0), value=float("nan"))

    def inputs(_module: nn.Module, given: tuple[Any, ...]) -> None:
        found["clip.dense"], found["text"] = with_class_token(given[0]).detach(), given[1].detach()

    def costs(_module: nn.Module, given: tuple[Any, ...]) -> None:
        found["correlation"] = given[0].detach()
        found["corr_max"] = given[0].detach().amax(dim=(1, 3, 4))

    visual, network = golden.model.clip.model.visual, golden.model.aggregator
    on(visual.conv1, "clip.conv1")
    on(visual.ln_pre, "clip.ln_pre")
    for index in (3, 7):
        on(visual.transformer.resblocks[index], f"clip.resblock{index}", lambda t: t.transpose(0, 1))
    for index in range(2):
        on(golden.model.upsample[index], f"upsample{index + 1}")
        on(network.decoder_guidance[index], f"decoder_guidance_projection.{index}", F.relu)
        layer: Any = network.layers[index]
        on(layer.swin.block_1, f"layers.{index}.swin.block_1", lambda t: t.flatten(0, 1))  # tokens stay where they are
        on(layer.swin, f"layers.{index}.swin", maps)
        on(layer.classes, f"layers.{index}.class", maps)
        parts(network.decoder.stages[index], f"decoder{index + 1}")  # type: ignore[index]
    on(network.embedding, "corr_embed", lambda t: maps(t).transpose(1, 2).flatten(0, 1))
    on(network.appearance, "guidance_projection", F.relu)
    on(network.text, "text_guidance_projection", F.relu)
    on(network, "logits")
    handles += [network.register_forward_pre_hook(inputs), network.embedding.register_forward_pre_hook(costs)]
    yield found
    for handle in handles:
        handle.remove()


def test_the_fill_rule_gives_the_recorded_values() -> None:
    """Tells a changed stream of numpy's generator from a wrong network."""
    for size, rows in json.loads((GOLDEN / "fill_check.json").read_text()).items():
        known = shapes(size)
        for name, (crc, shape, first, total, magnitude) in rows.items():
            assert (zlib.crc32(name.encode()), list(known[name])) == (crc, shape)
            values = fill.value(name, shape)
            if values is None:
                assert name.endswith(("attn_mask", "logit_scale"))
                continue
            assert values.ravel()[:3].tolist() == first, name
            assert float(np.abs(values).sum(dtype=np.float64)) == pytest.approx(magnitude, rel=1e-9), name
            assert float(values.sum(dtype=np.float64)) == pytest.approx(total, abs=1e-9 * magnitude), name


def test_generated_inputs_are_the_recorded_ones() -> None:
    stored = recorded("inputs_check")
    assert np.array_equal(fill.image(101, 384, 384)[::8, ::8], stored["image_101"])
    assert np.array_equal(fill.image(303, 480, 640)[::8, ::8], stored["image_303"])
    assert np.array_equal(fill.label(202, 384, 384, 171)[::8, ::8], stored["label_202"])


def test_entries_shapes_and_trained_names_are_the_official_ones() -> None:
    for size, model, resolution in (("B", "ViT-B-16-quickgelu", 384), ("L", "ViT-L-14-336-quickgelu", 336)):
        method = _on_meta(model, resolution)
        rows = entries(size)
        state = to_official(method)
        assert {n: tuple(t.shape) for n, t in state.items()} == {row.name: row.shape for row in rows}
        trained = {official_name(n) for n, p in method.named_parameters() if p.requires_grad}
        assert trained == {row.name for row in rows if row.trains}
        assert {official_name(n) for n, _ in method.named_parameters()} == {
            row.name for row in rows if row.is_parameter
        }


def _on_meta(model: str, resolution: int) -> CatSeg:
    with torch.device("meta"):
        return CatSeg(build_tower(TowerSpec(model=model, weights=None, resolution=resolution)))


def test_vit_l_has_the_published_sizes_and_the_reference_its_cost() -> None:
    """433.7 M parameters; multiply-adds (G) of five views with 150 classes as counted on the official code.

    That count leaves the products of queries and keys and with values in CLIP out, and counts norms.
    """
    method = _on_meta("ViT-L-14-336-quickgelu", 336)
    assert sum(p.numel() for p in method.parameters()) / 1e6 == pytest.approx(433.7, abs=0.05)
    assert (method.clip.grid, method.clip.depth, method.clip.width, method.clip.embed_dim) == (24, 24, 1024, 768)
    assert method.guide_blocks == VIT_L.guide_blocks == (7, 15)
    towers = (method.clip.model.visual.transformer, method.clip.model.transformer)
    assert [t.resblocks[0].attn.heads for t in towers] == [VIT_L.vision_heads, VIT_L.text_heads] == [16, 12]

    counted: dict[str, float] = {}
    network = CatSegReference({n: t.to("meta") for n, t in to_official(method).items()}, VIT_L)

    def count(part: str) -> None:
        function = getattr(network, part)

        def counting(*arguments: Any) -> Any:
            with FlopCounterMode(display=False) as counter:
                result = function(*arguments)
            counted[part] = counted.get(part, 0.0) + counter.get_total_flops() / 2e9
            return result

        setattr(network, part, counting)

    for part in ("encode_image", "swin_pair", "class_attention", "up", "aggregate"):
        count(part)
    guides: list[Tensor] = [torch.zeros(5, *s, device="meta") for s in ((256, 48, 48), (128, 96, 96))]
    network.encode_image(torch.zeros(5, 3, 336, 336, device="meta"))
    network.aggregate(torch.zeros(5, 768, 24, 24, device="meta"), torch.zeros(5, 150, 1, 768, device="meta"), guides)
    products = 2 * 5 * 577**2 * 1024 * 23 / 1e9
    assert counted["encode_image"] - products == pytest.approx(882.0, rel=0.01)
    assert counted["swin_pair"] == pytest.approx(462.8, rel=0.01)
    assert counted["class_attention"] == pytest.approx(329.1, rel=0.01)
    assert counted["up"] == pytest.approx(428.0, rel=0.01)
    upsampling = 5 * 1024 * (256 * 48**2 / 4 + 128 * 96**2 / 16) * 4 / 1e9
    total = counted["encode_image"] - products + counted["aggregate"] + upsampling
    assert total == pytest.approx(2121.1, rel=0.01)


def test_prompts_have_the_recorded_tokens() -> None:
    import open_clip

    files = {"coco": "coco_stuff171", "voc20b": "voc20b_prompts"}
    for name, expected in recorded("tokens").items():
        prompts = [f"A photo of a {p} in the scene" for p in load_vocabulary(files.get(name, name)).prompts]
        tokens = open_clip.tokenize(prompts).numpy()
        width = expected.shape[1]
        assert np.array_equal(tokens[:, :width], expected)
        assert not tokens[:, width:].any()


@pytest.mark.slow
@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("compiled", [False, True])
def test_whole_image_forward_is_the_recorded_one(
    compiled: bool, golden: Golden, seen: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled, the decoder goes through its stages map by map, so that what is between is nowhere whole."""
    if not compiled:
        monkeypatch.setattr(repro.layers.decoder, "takes", lambda *_: False)
    stored = recorded("ade150_full")
    golden.model.eval()
    with torch.no_grad():
        logits = golden.model(golden.image(303, 480, 640), load_vocabulary("ade150").prompts)
    scores = F.interpolate(logits.sigmoid(), size=(480, 640), mode="bilinear", align_corners=False)[0]
    seen["sem_seg"] = scores
    errors = {n: golden.error("ade150_full", n, seen[n], stored[n]) for n in stored if n in seen}
    assert set(stored) - set(errors) == {"argmax", "clear"} | ({"decoder1", "decoder2"} if compiled else set())
    assert {n: e for n, e in errors.items() if e > TOLERANCE} == {}
    assert errors["sem_seg"] * stored["sem_seg"].max() < PROBABILITY_TOLERANCE
    clear = stored["clear"]
    assert clear.mean() > 0.7
    assert np.array_equal(scores.argmax(0).numpy()[clear], stored["argmax"][clear])


@pytest.mark.slow
def test_chunked_forward_is_the_recorded_one(golden: Golden) -> None:
    stored = recorded("ade150_full")
    golden.model.eval()
    with torch.inference_mode():
        logits = golden.model(golden.image(303, 480, 640), load_vocabulary("ade150").prompts)
    assert golden.error("ade150_full", "logits", logits.clone(), stored["logits"]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "vocabulary"), [pytest.param("ade150_full", "ade150", marks=pytest.mark.long), ("train", "coco")]
)
def test_the_reference_is_the_recorded_network(golden: Golden, case: str, vocabulary: str) -> None:
    """What test_catseg_reference.py compares with is held against the official code itself, in every tensor."""
    stored = recorded(case)
    training = case == "train"
    network = CatSegReference(golden.state, dataclasses.replace(VIT_B, pooling=(2, 2) if training else (1, 1)))
    network.trace = seen = {}
    tokens = golden.tokens(vocabulary)
    with torch.inference_mode():
        if training:
            labels = torch.from_numpy(fill.label(202, 384, 384, 171))[None]
            seen["loss"] = network.loss(golden.image(101, 384, 384), labels, tokens)[None]
        else:
            seen["sem_seg"] = network.whole_image(golden.image(303, 480, 640)[0], tokens, (480, 640))
    errors = {n: golden.error(case, n, seen[n], stored[n]) for n in stored if n in seen}
    assert len(errors) == 25
    assert {n: e for n, e in errors.items() if e > TOLERANCE} == {}


@pytest.mark.slow
@pytest.mark.usefixtures("whole")
def test_training_step_is_the_recorded_one(golden: Golden, seen: dict[str, Tensor]) -> None:
    """Forward tensors, loss, named gradients, all gradient norms, one optimiser step.

    Outside the towers every named gradient is within 5e-5 of its maximum (reached: 3.9e-5). In the towers it cannot be,
    since the recording is not: this step was also run in float64, and of the largest magnitude of each gradient

                                            recording     ours in       ours to
                                            to float64    float32       recording
        visual block 0, query weight        1.2e-4        4.6e-5        1.3e-4
        visual block 11, value weight       2.0e-4        4.2e-5        2.1e-4
        text block 0, value weight          1.9e-4        7.3e-5        2.3e-4
        six gradients outside the towers    1.0 to 3.7e-5 0.2 to 3.0e-5 1.6 to 3.9e-5

    (the second to float64). The deviations in the towers are a common factor: gradient norms of text and late visual
    blocks are all 2 to 3e-4 too small in the recording, 2 to 5e-5 too large in ours, 4 to 10e-5 too large with the
    reference in float32, so that it is the gradient of the cost volume that is ill conditioned, in the official code
    too: see the next test. In float64 network and reference agree to 1e-9 (test_catseg_reference.py).
    """
    stored = recorded("train")
    facts = json.loads((GOLDEN / "train_grads.json").read_text())
    model = golden.model.train()
    labels = torch.from_numpy(fill.label(202, 384, 384, 171))[None]
    loss = model.loss(golden.image(101, 384, 384), labels, load_vocabulary("coco_stuff171").prompts)["loss_bce"]
    loss.backward()
    assert loss.item() == pytest.approx(facts["loss"], rel=1e-6)
    errors = {n: golden.error("train", n, seen[n], stored[n]) for n in stored if n in seen}
    assert len(errors) == 24
    assert {n: e for n, e in errors.items() if e > TOLERANCE} == {}

    trained = {official_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    norms = {n: float(p.grad.norm()) for n, p in trained.items() if p.grad is not None}
    assert norms.keys() == facts["grad_norm"].keys()
    for name, norm in norms.items():
        # Key biases of softmax attention have no gradient but rounding (1e-11): the absolute term stands for them.
        assert norm == pytest.approx(facts["grad_norm"][name], rel=gradient_tolerance(name), abs=1e-10), name
    groups = model.param_groups(2e-4, 1e-4)
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999))
    before = {n: p.detach().clone() for n, p in trained.items()}
    gradients = {n: p.grad.clone() for n, p in trained.items() if p.grad is not None}
    total = torch.nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], 0.01)
    assert float(total) == pytest.approx(facts["total_grad_norm_before_clip"], rel=TOLERANCE)
    optimiser.step()
    for name in stored:
        kind, _, parameter = name.partition(":")
        if kind == "grad":
            # Gradients recorded in full are views that clipping has scaled since; strided samples are copies.
            clipped = set(manifest()["train"][name]["strides"]) == {1}
            gradient = trained[parameter].grad if clipped else gradients[parameter]
            assert gradient is not None
            assert golden.error("train", name, gradient, stored[name]) < gradient_tolerance(parameter), name
        elif kind == "step1":
            # What a float32 parameter near 1 can hold limits the difference of two of its values to about 1e-7.
            change = trained[parameter].detach() - before[parameter]
            assert np.abs(sample(change, "train", name) - stored[name]).max() < 2.5e-7, name
    with torch.no_grad():
        for name, parameter_ in trained.items():
            parameter_.copy_(before[name])
    model.zero_grad(set_to_none=True)


@pytest.mark.long
def test_tower_gradients_are_the_recorded_ones_but_for_one_number(golden: Golden) -> None:
    """With the gradient of the cost volume times one number, 1 - 2.4e-4, the same in all towers, 9e-5 are left of 3e-4.

    Under drawn weights all classes and all places have nearly the same features, so that what reaches the towers
    through the cost volume is one sum over classes and places whose terms cancel. Its rounding is what differs: between
    the recording, our network and the reference, and between numbers of threads.
    """
    stored = recorded("train")
    model = golden.model.train()
    through_cost = True

    def cut(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        cost = given[0].view_as(given[0])
        cost.register_hook(lambda grad: grad if through_cost else torch.zeros_like(grad))
        return cost, *given[1:]

    handle = model.aggregator.embedding.register_forward_pre_hook(cut)
    labels = torch.from_numpy(fill.label(202, 384, 384, 171))[None]
    loss = model.loss(golden.image(101, 384, 384), labels, load_vocabulary("coco_stuff171").prompts)["loss_bce"]
    handle.remove()
    trained = {official_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    names = [n for n in stored if n.startswith("grad:") and "clip_model" in n]
    assert len(names) == 3
    found = []
    for through_cost in (True, False):
        model.zero_grad(set_to_none=True)
        loss.backward(retain_graph=through_cost)
        gradients = [trained[n.removeprefix("grad:")].grad for n in names]
        found.append([None if g is None else g.clone() for g in gradients])
    model.zero_grad(set_to_none=True)
    missing, cost_share = [], []
    for name, whole, rest in zip(names, *found, strict=True):
        assert whole is not None
        largest = np.abs(stored[name]).max()
        missing.append((stored[name] - sample(whole, "train", name)).ravel() / largest)
        cost_share.append(sample(whole if rest is None else whole - rest, "train", name).ravel() / largest)
    missed, share = np.concatenate(missing), np.concatenate(cost_share)
    factor = float(missed @ share / (share @ share))
    assert abs(factor) < TOWER_TOLERANCE
    left = [float(np.abs(m - factor * s).max()) for m, s in zip(missing, cost_share, strict=True)]
    assert max(left) < 1.2e-4


def gradient_tolerance(name: str) -> float:
    return TOWER_TOLERANCE if "clip_model" in name else TOLERANCE
