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


def test_film_begins_near_the_identity() -> None:
    gamma, beta = Film(64, 64, 64)(F.normalize(torch.randn(50, 64), dim=-1))
    assert (gamma.mean() - 1).abs() < 0.2
    assert beta.mean().abs() < 0.2


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


@pytest.mark.parametrize("reading", ["mapped", "clipped"])
def test_the_whole_loss(reading: str) -> None:
    tower = build_tower(TowerSpec(model="tiny", weights=None, resolution=24))
    method = METHOD.create(tower, METHOD.make_options({**SMALL, "similarity": reading, "sep_weight": 2.0}))
    assert isinstance(method, SynSeg)
    shaken(method)
    images = 255 * torch.rand(3, 3, 24, 24, dtype=torch.float64)
    labels = torch.tensor([[[0, 1, 3]], [[2, 255, 2]], [[255, 255, 255]]])
    found = method.loss(images, labels, NAMES)
    text = method.clip.text(NAMES, method.options.template)
    tokens = [g.flatten(2).transpose(1, 2) for g in method.clip.dense(images, method.blocks).guides]
    reduced = [r(t) for r, t in zip(method.decoder.reduces, tokens, strict=True)]
    gamma, beta = method.film(text)

    def s(u: Tensor, v: Tensor) -> Tensor:
        return cosine(u, v).clamp(0.005, 0.995) if reading == "clipped" else 0.005 + 0.99 * (cosine(u, v) + 1) / 2

    expected = dict.fromkeys(("align", "cont", "back", "sep"), torch.zeros((), dtype=torch.float64))
    for image, classes in enumerate([[0, 1, 3], [2], []]):
        f, b = {}, {}
        for c in classes:
            conditional = gamma[c] * reduced[0][image] + beta[c]
            a = torch.sigmoid(printed_map(method.decoder, conditional, [r[image] for r in reduced[1:]], (3, 3)))
            v = method.projector(conditional.T.reshape(1, D, 3, 3))[0]
            share = {(y, x): a[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].mean() for y in range(3) for x in range(3)}
            f[c] = sum(w * v[:, y, x] for (y, x), w in share.items()) / (sum(share.values()) + 1e-6)
            b[c] = sum((1 - w) * v[:, y, x] for (y, x), w in share.items()) / (
                sum(1 - w for w in share.values()) + 1e-6
            )
        n = len(classes)
        for c in classes:
            expected["align"] = expected["align"] - s(f[c], text[c]).log() / n / 3
            if cosine(f[c], b[c]) > 0.1:
                expected["cont"] = expected["cont"] - (1 - s(f[c], b[c])).log() / n / 3
        for j in classes:
            for k in classes:
                if j != k:
                    expected["back"] = expected["back"] - s(b[j], b[k]).log() / (n * (n - 1)) / 3
                    expected["sep"] = expected["sep"] - 2 * (1 - s(f[j], f[k])).log() / (n * (n - 1)) / 3
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
    options = {**SMALL, "decoder_weights": str(tmp_path / "rd64.pth"), "decoder_sha256": digest[:12]}
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
    options = {**SMALL, "decoder_weights": str(path), "decoder_sha256": "0" * 16 if fault == "digest" else digest}
    words = {"absent": "no decoder weights", "digest": "not the file", "short": "does not fit", "shape": "does not fit"}
    with pytest.raises(WeightsError, match=words[fault]):
        METHOD.create(tower, METHOD.make_options(options))
