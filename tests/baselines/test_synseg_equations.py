"""SynSeg's decoder, conditioning and whole loss against direct transcriptions with loops, in float64."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.synseg import METHOD
from baselines.synseg.clipseg import decoder_state
from baselines.synseg.decoder import ActivationDecoder, DecoderLayer, Film
from baselines.synseg.model import SynSeg
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.errors import WeightsError

C, D, HEADS, HIDDEN, L, PATCH = 5, 8, 2, 12, 6, 3
SMALL = {"width": D, "heads": HEADS, "mlp_width": HIDDEN, "film_hidden": 6}
NAMES = ["sky", "dog", "sea", "person"]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def shaken(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.double()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_film_is_one_scale_and_shift_a_class() -> None:
    film = shaken(Film(C, 6, D))
    text = F.normalize(torch.randn(3, C, dtype=torch.float64), dim=-1)
    gamma, beta = film(text)
    for c in range(3):
        hidden = (film.fc1.weight @ (text[c] * math.sqrt(C)) + film.fc1.bias).clamp(min=0)
        both = film.fc2.weight @ hidden + film.fc2.bias
        close(gamma[c], both[:D])
        close(beta[c], both[D:])


def test_film_begins_at_one_and_zero_and_as_much_again_for_each_class() -> None:
    gamma, beta = Film(64, 64, 64)(F.normalize(torch.randn(200, 64), dim=-1))
    assert gamma.mean().item() == pytest.approx(1, abs=0.2)
    assert beta.mean().item() == pytest.approx(0, abs=0.2)
    for values in (gamma, beta):
        assert values.std(dim=0).mean().item() == pytest.approx(1, abs=0.3)


def test_the_head_begins_without_a_pattern_within_places() -> None:
    decoder = ActivationDecoder([4], D, HEADS, HIDDEN, PATCH)
    maps = decoder.maps(torch.randn(2, 6, D), (2, 3)).view(2, 2, PATCH, 3, PATCH)
    assert maps.amax(dim=(2, 4)).sub(maps.amin(dim=(2, 4))).abs().max() < 1e-6
    assert maps.std() > 0.1


def test_activations_can_be_brought_to_a_mean_square_of_one() -> None:
    decoder = ActivationDecoder([16], D, HEADS, HIDDEN, PATCH, normalise=True)
    activation = torch.randn(1, 16, 2, 3)
    (large,), (small,) = decoder.reduce([100 * activation + 7]), decoder.reduce([activation])
    torch.testing.assert_close(large, small, rtol=1e-3, atol=1e-3)
    token = activation[0, :, 1, 2]
    unit = (token - token.mean()) / token.var(correction=0).add(1e-5).sqrt()
    torch.testing.assert_close(small[0, 5], decoder.reduces[0](unit))


def norm(x: Tensor, module: nn.LayerNorm) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + module.eps).sqrt() * module.weight + module.bias


def printed_layer(layer: DecoderLayer, x: Tensor) -> Tensor:
    """Tokens (L, D) through attention and MLP, with the norms after the residuals."""
    d = D // HEADS
    q, k, v = (layer.qkv(x)[:, i * D : (i + 1) * D] for i in range(3))
    out = torch.zeros_like(x)
    for i in range(len(x)):
        attended = torch.zeros(D, dtype=x.dtype)
        for h in range(HEADS):
            part = slice(h * d, (h + 1) * d)
            weights = torch.stack([torch.exp(q[i, part] @ k[j, part] / math.sqrt(d)) for j in range(len(x))])
            attended[part] = sum(w * v[j, part] for j, w in enumerate(weights / weights.sum()))
        y = norm(x[i] + layer.proj(attended), layer.norm1)
        out[i] = norm(y + layer.mlp.fc2(layer.mlp.fc1(y).clamp(min=0)), layer.norm2)
    return out


def printed_head(decoder: ActivationDecoder, x: Tensor, grid: tuple[int, int]) -> Tensor:
    patch = decoder.head.kernel_size[0]
    out = torch.zeros(grid[0] * patch, grid[1] * patch, dtype=x.dtype)
    for place in range(len(x)):
        top, left = patch * (place // grid[1]), patch * (place % grid[1])
        for i in range(patch):
            for j in range(patch):
                out[top + i, left + j] = x[place] @ decoder.head.weight[:, 0, i, j] + decoder.head.bias[0]
    return out


def printed_map(
    decoder: ActivationDecoder, conditional: Tensor, shallower: list[Tensor], grid: tuple[int, int]
) -> Tensor:
    x = printed_layer(decoder.layers[0], conditional)
    for layer, tokens in zip(decoder.layers[1:], shallower, strict=True):
        x = printed_layer(layer, x + tokens)
    return printed_head(decoder, x, grid)


def test_a_decoder_layer() -> None:
    layer, x = shaken(DecoderLayer(D, HEADS, HIDDEN)), torch.randn(2, L, D, dtype=torch.float64)
    for p in range(2):
        close(layer(x)[p], printed_layer(layer, x[p]))


def test_the_decoder() -> None:
    decoder = shaken(ActivationDecoder([7, 5, 4], D, HEADS, HIDDEN, PATCH))
    activations = [torch.randn(2, c, 2, 3, dtype=torch.float64) for c in (7, 5, 4)]
    reduced = decoder.reduce(activations)
    for stage, (tokens, activation) in enumerate(zip(reduced, activations, strict=True)):
        for place in range(L):
            at = activation[1, :, place // 3, place % 3]
            close(tokens[1, place], decoder.reduces[stage].weight @ at + decoder.reduces[stage].bias)
    found = decoder(reduced[0], reduced[1:], (2, 3))
    assert found.shape == (2, 2 * PATCH, 3 * PATCH)
    close(found[1], printed_map(decoder, reduced[0][1], [r[1] for r in reduced[1:]], (2, 3)))


def cosine(u: Tensor, v: Tensor) -> Tensor:
    return (u @ v) / (u.norm() * v.norm())


def printed_features(method: SynSeg, dense: Tensor, conditional: Tensor, shallower: list[Tensor]) -> Tensor:
    """V_c (C, 3, 3) of one image and class."""
    clip = dense / dense.norm(dim=0)
    if method.projector is None:
        return clip
    tokens = conditional
    if method.options.features != "conditional":
        tokens = printed_layer(method.decoder.layers[0], conditional)
        for layer, other in zip(method.decoder.layers[1:], shallower, strict=True):
            tokens = printed_layer(layer, tokens + other)
    own = method.projector(tokens.T.reshape(1, D, 3, 3))[0]
    return clip + own / own.norm(dim=0) if method.options.features == "sum" else own


def printed_place(a: Tensor, y: int, x: int) -> Tensor:
    """The mean of ``a`` (24, 24) by the weights that pixels give place (y, x) of 3 x 3 when it is resized to them."""
    unit = torch.zeros(1, 1, 3, 3, dtype=a.dtype)
    unit[0, 0, y, x] = 1
    weights = F.interpolate(unit, (24, 24), mode="bilinear", align_corners=False)[0, 0]
    return (a * weights).sum() / weights.sum()


@pytest.mark.parametrize("features", ["clip", "decoder", "sum", "conditional"])
@pytest.mark.parametrize("reading", ["mapped", "clipped"])
def test_the_whole_loss(reading: str, features: str) -> None:
    tower = build_tower(TowerSpec(model="tiny", weights=None, resolution=24))
    changes = {
        "similarity": reading,
        "features": features,
        "absent_classes": 4,
        "absent_weight": 0.5,
        "present_weight": 2.0,
    }
    weights = {"align_weight": 1.0, "cont_weight": 1.0, "back_weight": 1.0, "sep_weight": 2.0}
    method = METHOD.create(tower, METHOD.make_options({**SMALL, **changes, **weights}))
    assert isinstance(method, SynSeg)
    shaken(method)
    images = 255 * torch.rand(3, 3, 24, 24, dtype=torch.float64)
    labels = torch.tensor([[[0, 1, 3]], [[2, 255, 2]], [[255, 255, 255]]])
    found = method.loss(images, labels, NAMES)
    text = method.clip.text(NAMES, method.options.template)
    seen = method.clip.dense(images, method.blocks)
    tokens = [F.layer_norm(g.flatten(2).transpose(1, 2), (g.shape[1],)) for g in seen.guides]
    reduced = [r(t) for r, t in zip(method.decoder.reduces, tokens, strict=True)]
    gamma, beta = method.film(text)

    def s(u: Tensor, v: Tensor) -> Tensor:
        return cosine(u, v).clamp(0.005, 0.995) if reading == "clipped" else 0.005 + 0.99 * (cosine(u, v) + 1) / 2

    expected = dict.fromkeys(
        ("align", "cont", "back", "sep", "present", "absent"), torch.zeros((), dtype=torch.float64)
    )
    for image, classes in enumerate([[0, 1, 3], [2], []]):
        f, b = {}, {}
        for c in classes:
            conditional = gamma[c] * reduced[0][image] + beta[c]
            a = torch.sigmoid(printed_map(method.decoder, conditional, [r[image] for r in reduced[1:]], (3, 3)))
            v = printed_features(method, seen.map[image], conditional, [r[image] for r in reduced[1:]])
            share = {(y, x): printed_place(a, y, x) for y in range(3) for x in range(3)}
            f[c] = sum(w * v[:, y, x] for (y, x), w in share.items()) / (sum(share.values()) + 1e-6)
            b[c] = sum((1 - w) * v[:, y, x] for (y, x), w in share.items()) / (
                sum(1 - w for w in share.values()) + 1e-6
            )
        n = len(classes)
        for c in classes:
            conditional = gamma[c] * reduced[0][image] + beta[c]
            logits = printed_map(method.decoder, conditional, [r[image] for r in reduced[1:]], (3, 3))
            evidence = logits.exp().mean().log()
            expected["present"] = expected["present"] - 2 * evidence.sigmoid().log() / n / 3
            expected["align"] = expected["align"] - s(f[c], text[c]).log() / n / 3
            if cosine(f[c], b[c]) > 0.1:
                expected["cont"] = expected["cont"] - (1 - s(f[c], b[c])).log() / n / 3
        for j in classes:
            for k in classes:
                if j != k:
                    expected["back"] = expected["back"] - s(b[j], b[k]).log() / (n * (n - 1)) / 3
                    expected["sep"] = expected["sep"] - 2 * (1 - s(f[j], f[k])).log() / (n * (n - 1)) / 3
        absent = [c for c in range(4) if classes and c not in classes]
        for c in absent:
            conditional = gamma[c] * reduced[0][image] + beta[c]
            logits = printed_map(method.decoder, conditional, [r[image] for r in reduced[1:]], (3, 3))
            expected["absent"] = expected["absent"] - 0.5 * (1 - logits.sigmoid()).log().mean() / len(absent) / 3
    assert expected["cont"] > 0
    for name, value in expected.items():
        close(found[f"loss_{name}"], value)


def clipseg_state(kind: str, channels: int, stages: int, patch: int) -> dict[str, Tensor]:
    """Random weights of CLIPSeg's decoder under the names of its authors or of the transformers library."""
    names = {
        "authors": ("", "blocks", "trans_conv", "linear", ("linear1", "linear2", "norm1", "norm2")),
        "transformers": (
            "decoder.",
            "layers",
            "transposed_convolution",
            "",
            ("mlp.fc1", "mlp.fc2", "layer_norm1", "layer_norm2"),
        ),
    }[kind]
    prefix, blocks, head, _, parts = names
    state: dict[str, Tensor] = {f"{prefix}film_mul.weight": torch.randn(D, C), "clip.logit_scale": torch.zeros(())}
    for i in range(stages):
        state[f"{prefix}reduces.{i}.weight"] = torch.randn(D, channels)
        state[f"{prefix}reduces.{i}.bias"] = torch.randn(D)
        block = f"{prefix}{blocks}.{i}."
        if kind == "authors":
            state[block + "self_attn.in_proj_weight"] = torch.randn(3 * D, D)
            state[block + "self_attn.in_proj_bias"] = torch.randn(3 * D)
        else:
            for p in "qkv":
                state[f"{block}self_attn.{p}_proj.weight"] = torch.randn(D, D)
                state[f"{block}self_attn.{p}_proj.bias"] = torch.randn(D)
        state[block + "self_attn.out_proj.weight"] = torch.randn(D, D)
        state[block + "self_attn.out_proj.bias"] = torch.randn(D)
        shapes = ((HIDDEN, D), (D, HIDDEN), (D,), (D,))
        for part, shape in zip(parts, shapes, strict=True):
            state[f"{block}{part}.weight"], state[f"{block}{part}.bias"] = torch.randn(shape), torch.randn(shape[0])
    state[f"{prefix}{head}.weight"], state[f"{prefix}{head}.bias"] = torch.randn(D, 1, patch, patch), torch.randn(1)
    return state


def test_the_decoder_is_clipseg_s() -> None:
    # torch's own post-norm layers, as CLIPSeg's authors use them, filled from the same file.
    state = clipseg_state("authors", 4, 3, PATCH)
    decoder = ActivationDecoder([4] * 3, D, HEADS, HIDDEN, PATCH).eval()
    decoder.load_state_dict(decoder_state(state))
    reference = nn.ModuleDict(
        {
            "reduces": nn.ModuleList(nn.Linear(4, D) for _ in range(3)),
            "blocks": nn.ModuleList(nn.TransformerEncoderLayer(D, HEADS, HIDDEN) for _ in range(3)),
            "trans_conv": nn.ConvTranspose2d(D, 1, PATCH, PATCH),
        }
    ).eval()
    reference.load_state_dict({n: t for n, t in state.items() if not n.startswith(("film", "clip"))})
    activations = [torch.randn(2, 4, 2, 3) for _ in range(3)]
    a = None
    for activation, reduce, block in zip(activations, reference["reduces"], reference["blocks"], strict=True):
        tokens = reduce(activation.flatten(2).permute(2, 0, 1))
        a = block(tokens if a is None else tokens + a)
    assert a is not None
    expected = reference["trans_conv"](a.permute(1, 2, 0).reshape(2, D, 2, 3)).squeeze(1)
    reduced = decoder.reduce(activations)
    torch.testing.assert_close(decoder(reduced[0], reduced[1:], (2, 3)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["authors", "transformers"])
def test_training_can_start_from_a_file_of_clipseg_s_weights(kind: str, tmp_path: Path) -> None:
    tower = build_tower(TowerSpec(model="tiny", weights=None, resolution=24))
    state = clipseg_state(kind, tower.width, 3, 8)
    torch.save(state, tmp_path / "rd64.pth")
    digest = hashlib.sha256((tmp_path / "rd64.pth").read_bytes()).hexdigest()
    options = {
        **SMALL,
        "decoder_weights": str(tmp_path / "rd64.pth"),
        "decoder_sha256": digest[:12],
        "normalise": False,
    }
    method = METHOD.create(tower, METHOD.make_options(options))
    assert isinstance(method, SynSeg)
    found = decoder_state(state)
    assert found.keys() == method.decoder.state_dict().keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in method.decoder.state_dict().items())
    if kind == "transformers":
        joint = torch.cat([state[f"decoder.layers.2.self_attn.{p}_proj.weight"] for p in "qkv"])
        assert torch.equal(method.decoder.layers[2].qkv.weight, joint)


@pytest.mark.parametrize("fault", ["absent", "digest", "short", "shape"])
def test_a_file_that_does_not_fit_is_refused_with_a_reason(fault: str, tmp_path: Path) -> None:
    tower, path = build_tower(TowerSpec(model="tiny", weights=None, resolution=24)), tmp_path / "rd64.pth"
    state = clipseg_state("authors", tower.width, 3, 8)
    if fault == "short":
        del state["blocks.1.self_attn.in_proj_weight"]
    if fault == "shape":
        state["trans_conv.weight"] = torch.randn(D, 1, 16, 16)
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if fault == "absent":
        path.unlink()
    wanted = "0" * 16 if fault == "digest" else digest
    options = {**SMALL, "decoder_weights": str(path), "decoder_sha256": wanted, "normalise": False}
    words = {"absent": "no decoder weights", "digest": "not the file", "short": "does not fit", "shape": "does not fit"}
    with pytest.raises(WeightsError, match=words[fault]):
        METHOD.create(tower, METHOD.make_options(options))
