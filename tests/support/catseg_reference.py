"""CAT-Seg spelled out: the released network as docs/specs/catseg.md describes it, to compare tests and timings with.

Nothing of the project is imported. Weights are read by their official names from a mapping, everything that the
released code repeats or pads is repeated and padded in memory, and every intermediate tensor can be kept under the
name and in the layout of the recordings (tests/golden/README.md). Slow on purpose; differentiable, in any float type.

Letters: B images, T classes, P prompts, H W the dense map, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

MEAN, STD = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.3231630)
PREDICTOR = "sem_seg_head.predictor."
CLIP, AGGREGATOR = PREDICTOR + "clip_model.", PREDICTOR + "transformer."


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the weights' own shapes do not tell; the defaults are the released ViT-B/16."""

    resolution: int = 384
    """Side in pixels images are resized to."""
    vision_heads: int = 12
    text_heads: int = 8
    guide_blocks: tuple[int, int] = (3, 7)
    heads: int = 4
    window: int = 12
    pooling: tuple[int, int] = (1, 1)
    """(2, 2) in training."""
    pad_len: int = 256
    divisibility: int = 32
    """Images given whole are padded to multiples of this, in pixels."""


VIT_B, VIT_L = Shape(), Shape(resolution=336, vision_heads=16, text_heads=12, guide_blocks=(7, 15))


class CatSegReference:
    """The network over ``state`` (official names). ``trace`` collects intermediate tensors when it is a dictionary."""

    def __init__(
        self,
        state: Mapping[str, Tensor],
        shape: Shape = VIT_B,
        mean: Sequence[float] | Tensor = MEAN,
        std: Sequence[float] | Tensor = STD,
    ) -> None:
        self.state, self.shape = state, shape
        like = state["upsample1.weight"]
        self.mean, self.std = (
            torch.as_tensor(values, dtype=torch.float32, device=like.device).view(3, 1, 1).to(like.dtype)
            for values in (mean, std)
        )
        self.trace: dict[str, Tensor] | None = None

    def __call__(self, images: Tensor, tokens: Tensor, pad: bool = True) -> Tensor:
        """Logits (B, T, 4 H, 4 W) of RGB ``images`` (B, 3, h, w) in 0..255 and token ids ``tokens`` (T, P, length).

        Images are padded to multiples of ``divisibility``, unless they are views of a sliding window.
        """
        images = (images - self.mean) / self.std
        if pad:
            height, width = images.shape[-2:]
            step = self.shape.divisibility
            images = F.pad(images, (0, -width % step, 0, -height % step))
        side = self.shape.resolution
        images = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
        dense, guides = self.encode_image(images)
        grid = round((dense.shape[1] - 1) ** 0.5)
        features = rearrange(dense[:, 1:], "B (H W) C -> B C H W", H=grid)
        maps = [
            self.keep(
                f"upsample{i}",
                F.conv_transpose2d(
                    rearrange(guide[1:], "(H W) B C -> B C H W", H=grid),
                    self.state[f"upsample{i}.weight"],
                    self.state[f"upsample{i}.bias"],
                    stride=2**i,
                ),
            )
            for i, guide in enumerate(guides, start=1)
        ]
        text = self.keep("text", self.encode_text(tokens))
        return self.keep("logits", self.aggregate(features, repeat(text, "T P C -> B T P C", B=len(images)), maps))

    def loss(self, images: Tensor, labels: Tensor, tokens: Tensor) -> Tensor:
        """Mean binary cross-entropy against one-hot ``labels`` (B, h, w); 255 is all zeros."""
        logits = self(images, tokens)
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        logits = logits.permute(0, 2, 3, 1)
        targets = torch.zeros_like(logits)
        labelled = labels != 255
        targets[labelled] = F.one_hot(labels[labelled], logits.shape[-1]).to(targets.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets)

    def whole_image(self, image: Tensor, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Probabilities (T, *size) of one image (3, h, w) given whole."""
        scores = self(image[None], tokens).sigmoid()
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)[0]

    def sliding_window(
        self, image: Tensor, tokens: Tensor, size: tuple[int, int], kernel: int = 384, canvas: int = 640
    ) -> Tensor:
        """Probabilities (T, *size) of one image (3, h, w), already resized by the test pipeline, from all its views."""
        stride = int(kernel * (1 - 0.333))
        whole = F.interpolate(image[None], size=(canvas, canvas), mode="bilinear", align_corners=False)
        views = rearrange(F.unfold(whole, kernel, stride=stride), "1 (C H W) V -> V C H W", C=3, H=kernel)
        small = F.interpolate(image[None], size=(kernel, kernel), mode="bilinear", align_corners=False)
        logits = self(torch.cat([views, small]), tokens, pad=False)
        scores = F.interpolate(logits, size=(kernel, kernel), mode="bilinear", align_corners=False).sigmoid()
        last = F.interpolate(scores[-1:], size=(canvas, canvas), mode="bilinear", align_corners=False)
        ones = F.unfold(torch.ones_like(whole[:, :1]), kernel, stride=stride)
        parts = rearrange(scores[:-1], "V T H W -> 1 (T H W) V")
        folded = F.fold(parts, canvas, kernel, stride=stride) / F.fold(ones, canvas, kernel, stride=stride)
        return F.interpolate((folded + last) / 2, size=size, mode="bilinear", align_corners=False)[0]

    # CLIP

    def encode_image(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (B, 1 + H W, C) of all tokens, class token first, and the guide blocks' outputs (1 + H W, B, C)."""
        visual = CLIP + "visual."
        weight = self.state[visual + "conv1.weight"]
        x = self.keep("clip.conv1", F.conv2d(images, weight, stride=weight.shape[-1]))
        grid = x.shape[-1]
        x = rearrange(x, "B C H W -> B (H W) C")
        x = torch.cat([repeat(self.state[visual + "class_embedding"], "C -> B 1 C", B=len(x)), x], dim=1)
        position = self.state[visual + "positional_embedding"]
        if len(position) != x.shape[1]:
            side = round((len(position) - 1) ** 0.5)
            places = rearrange(position[1:], "(H W) C -> 1 C H W", H=side)
            places = F.interpolate(places, size=(grid, grid), mode="bicubic", align_corners=False)
            position = torch.cat([position[:1], rearrange(places, "1 C H W -> (H W) C")])
        x = self.keep("clip.ln_pre", self.layer_norm(x + position, visual + "ln_pre"))
        x = rearrange(x, "B L C -> L B C")
        depth = self.count(visual + "transformer.resblocks.{}.ln_1.weight")
        guides = []
        for index in range(depth - 1):
            x = self.clip_block(x, f"{visual}transformer.resblocks.{index}.", self.shape.vision_heads)
            if index in self.shape.guide_blocks:
                guides.append(self.keep(f"clip.resblock{index}", x))
        x = self.dense_block(x, f"{visual}transformer.resblocks.{depth - 1}.")
        x = self.layer_norm(rearrange(x, "L B C -> B L C"), visual + "ln_post")
        return self.keep("clip.dense", x @ self.state[visual + "proj"]), guides

    def encode_text(self, tokens: Tensor) -> Tensor:
        """L2-normalised features (T, P, C) of token ids (T, P, length); the released length is 77."""
        classes = len(tokens)
        tokens = tokens.flatten(0, 1)
        position = self.state[CLIP + "positional_embedding"][: tokens.shape[-1]]
        x = self.state[CLIP + "token_embedding.weight"][tokens] + position
        x = rearrange(x, "T L C -> L T C")
        for index in range(self.count(CLIP + "transformer.resblocks.{}.ln_1.weight")):
            x = self.clip_block(x, f"{CLIP}transformer.resblocks.{index}.", self.shape.text_heads, causal=True)
        x = self.layer_norm(rearrange(x, "L T C -> T L C"), CLIP + "ln_final")
        x = x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ self.state[CLIP + "text_projection"]
        x = x / x.norm(dim=-1, keepdim=True)
        return rearrange(x, "(T P) C -> T P C", T=classes)

    def clip_block(self, x: Tensor, name: str, heads: int, causal: bool = False) -> Tensor:
        """A pre-norm transformer block with QuickGELU over (L, B, C)."""
        y = self.layer_norm(x, name + "ln_1")
        biases = self.state[name + "attn.in_proj_bias"].chunk(3)
        q, k, v = (
            rearrange(F.linear(y, self.state[f"{name}attn.{p}_proj_weight"], bias), "L B (h d) -> B h L d", h=heads)
            for p, bias in zip("qkv", biases, strict=True)
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        mixed = rearrange(scores.softmax(dim=-1) @ v, "B h L d -> L B (h d)")
        x = x + self.linear(mixed, name + "attn.out_proj")
        return x + self.clip_mlp(self.layer_norm(x, name + "ln_2"), name)

    def dense_block(self, x: Tensor, name: str) -> Tensor:
        """The last block for dense features: queries and keys are projected and dropped, the class token is added."""
        weights = [self.state[f"{name}attn.{p}_proj_weight"] for p in "qkv"]
        y = F.linear(self.layer_norm(x, name + "ln_1"), torch.cat(weights), self.state[name + "attn.in_proj_bias"])
        value = [self.linear(part, name + "attn.out_proj") for part in y.chunk(3, dim=-1)][2]
        x = value + x[:1]
        return x + self.clip_mlp(self.layer_norm(x, name + "ln_2"), name)

    def clip_mlp(self, x: Tensor, name: str) -> Tensor:
        """Linear, QuickGELU, linear."""
        x = self.linear(x, name + "mlp.c_fc")
        return self.linear(x * torch.sigmoid(1.702 * x), name + "mlp.c_proj")

    # aggregation

    def aggregate(self, features: Tensor, text: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Logits (B, T, h, w) of ``features`` (B, C, H, W), ``text`` (B, T, P, C) and ``guides``, smallest first."""
        normalised, text = F.normalize(features, dim=1), F.normalize(text, dim=-1)
        cost = self.keep("correlation", torch.einsum("bchw,btpc->bpthw", normalised, text))
        best = self.keep("corr_max", cost.amax(dim=(1, 3, 4)))
        classes, chosen = text.shape[1], None
        if 0 < self.shape.pad_len < classes:
            chosen = best.topk(self.shape.pad_len, dim=1, sorted=False).indices
            text = torch.stack([own[index] for own, index in zip(text, chosen, strict=True)])
            cost = torch.einsum("bchw,btpc->bpthw", normalised, text)
        batch = len(cost)
        x = F.conv2d(
            rearrange(cost, "B P T H W -> (B T) P H W"),
            self.state[AGGREGATOR + "conv1.weight"],
            self.state[AGGREGATOR + "conv1.bias"],
            padding=3,
        )
        x = rearrange(self.keep("corr_embed", x), "(B T) C H W -> B C T H W", B=batch)
        appearance = self.keep("guidance_projection", self.project(features, "guidance_projection.0"))
        mean = text.mean(dim=2)
        mean = mean / mean.norm(dim=-1, keepdim=True)
        words = self.linear(mean, AGGREGATOR + "text_guidance_projection.0").relu()
        self.keep("text_guidance_projection", words)
        projected = [
            self.keep(f"decoder_guidance_projection.{i}", self.project(g, f"decoder_guidance_projection.{i}.0"))
            for i, g in enumerate(guides)
        ]
        for index in range(self.count(AGGREGATOR + "layers.{}.attention.norm1.weight")):
            layer = f"layers.{index}."
            x = self.keep(layer + "swin", self.swin_pair(x, appearance, layer))
            x = self.keep(layer + "class", self.class_attention(x, words, f"{AGGREGATOR}{layer}attention."))
        y = rearrange(x, "B C T H W -> (B T) C H W")
        for i, guide in enumerate(projected, start=1):
            y = self.keep(f"decoder{i}", self.up(y, guide, f"{AGGREGATOR}decoder{i}."))
        y = F.conv2d(y, self.state[AGGREGATOR + "head.weight"], self.state[AGGREGATOR + "head.bias"], padding=1)
        logits = rearrange(y, "(B T) 1 H W -> B T H W", B=batch)
        if chosen is None:
            return logits
        full = torch.full((batch, classes, *logits.shape[2:]), -100.0, dtype=logits.dtype, device=logits.device)
        index = repeat(chosen, "B T -> B T H W", H=logits.shape[2], W=logits.shape[3])
        return full.scatter(1, index, logits)

    def swin_pair(self, x: Tensor, appearance: Tensor, layer: str) -> Tensor:
        """Plain, then shifted windows over (B, C, T, H, W); the guidance (B, G, H, W) is repeated for every class."""
        batch, _, classes, height, width = x.shape
        name = f"{AGGREGATOR}{layer}swin_block."
        x = rearrange(x, "B C T H W -> (B T) H W C")
        guidance = repeat(appearance, "B G H W -> (B T) H W G", T=classes)
        guidance = self.layer_norm(guidance, name + "guidance_norm")
        window = min(self.shape.window, height, width)
        x = self.swin_block(x, guidance, name + "block_1.", window, 0)
        self.keep(layer + "swin.block_1", rearrange(x, "B H W C -> B (H W) C"))
        x = self.swin_block(x, guidance, name + "block_2.", window, window // 2 if window < min(height, width) else 0)
        return rearrange(x, "(B T) H W C -> B C T H W", B=batch)

    def swin_block(self, x: Tensor, guidance: Tensor, name: str, window: int, shift: int) -> Tensor:
        """One Swin block over (B, H, W, C) with guidance (B, H, W, G) in queries and keys."""
        height, width, channels = x.shape[1:]
        y = torch.cat([self.layer_norm(x, name + "norm1"), guidance], dim=-1)
        cut = {"h": height // window, "w": width // window}
        y = rearrange(y.roll((-shift, -shift), (1, 2)), "B (h H) (w W) C -> B (h w) (H W) C", **cut)
        q, k, v = (
            rearrange(self.linear(part, f"{name}attn.{p}"), "B n L (h d) -> B n h L d", h=self.shape.heads)
            for p, part in (("q", y), ("k", y), ("v", y[..., :channels]))
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if shift:
            region = torch.zeros(height, width, dtype=torch.long, device=x.device)
            bands = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
            for i, rows in enumerate(bands):
                for j, columns in enumerate(bands):
                    region[rows, columns] = 3 * i + j
            region = rearrange(region, "(h H) (w W) -> (h w) 1 (H W)", **cut)
            scores = scores - 100.0 * (region[..., None] != region[..., None, :]).to(scores.dtype)
        mixed = rearrange(scores.softmax(dim=-1) @ v, "B n h L d -> B n L (h d)")
        mixed = rearrange(self.linear(mixed, name + "attn.proj"), "B (h w) (H W) C -> B (h H) (w W) C", H=window, **cut)
        x = x + mixed.roll((shift, shift), (1, 2))
        hidden = F.gelu(self.linear(self.layer_norm(x, name + "norm2"), name + "mlp.fc1"))
        return x + self.linear(hidden, name + "mlp.fc2")

    def class_attention(self, x: Tensor, words: Tensor, name: str) -> Tensor:
        """Linear attention over the classes of (B, C, T, H, W) with text guidance (B, T, G), padded to ``pad_len``."""
        batch, _, classes, height, width = x.shape
        pooled = F.avg_pool2d(rearrange(x, "B C T H W -> (B T) C H W"), self.shape.pooling)
        h, w = pooled.shape[-2:]
        y = rearrange(pooled, "(B T) C h w -> (B h w) T C", B=batch)
        missing = self.shape.pad_len - classes
        if missing > 0:
            padding = repeat(self.state[name + "padding_tokens"], "1 1 C -> N n C", N=len(y), n=missing)
            y = torch.cat([y, padding], dim=1)
            padding = repeat(self.state[name + "padding_guidance"], "1 1 G -> B n G", B=batch, n=missing)
            words = torch.cat([words, padding], dim=1)
        words = repeat(words, "B T G -> (B h w) T G", h=h, w=w)
        normed = self.layer_norm(y, name + "norm1")
        both = torch.cat([normed, words], dim=-1)
        q, k, v = (
            rearrange(self.linear(part, f"{name}attention.{p}"), "N T (h d) -> N T h d", h=self.shape.heads)
            for p, part in (("q", both), ("k", both), ("v", normed))
        )
        q, k, length = F.elu(q) + 1, F.elu(k) + 1, v.shape[1]
        summed = torch.einsum("nshd,nshv->nhdv", k, v / length)
        scale = 1 / (torch.einsum("nlhd,nhd->nlh", q, k.sum(dim=1)) + 1e-6)
        mixed = torch.einsum("nlhd,nhdv,nlh->nlhv", q, summed, scale) * length
        y = y + rearrange(mixed, "N T h d -> N T (h d)")
        y = y + self.linear(self.linear(self.layer_norm(y, name + "norm2"), name + "MLP.0").relu(), name + "MLP.2")
        y = rearrange(y, "(B h w) T C -> (B T) C h w", h=h, w=w)
        y = F.interpolate(y, size=(height, width), mode="bilinear", align_corners=True)
        return x + rearrange(y, "(B T) C H W -> B C T H W", B=batch)[:, :, :classes]

    def up(self, x: Tensor, guidance: Tensor, name: str) -> Tensor:
        """Twice the size, guidance repeated for every class and concatenated, two convolutions."""
        x = F.conv_transpose2d(x, self.state[name + "up.weight"], self.state[name + "up.bias"], stride=2)
        x = torch.cat([x, repeat(guidance, "B C H W -> (B T) C H W", T=len(x) // len(guidance))], dim=1)
        for convolution, norm in ((0, 1), (3, 4)):
            x = F.conv2d(x, self.state[f"{name}conv.double_conv.{convolution}.weight"], padding=1)
            weight, bias = (self.state[f"{name}conv.double_conv.{norm}.{leaf}"] for leaf in ("weight", "bias"))
            x = F.group_norm(x, len(weight) // 16, weight, bias).relu()
        return x

    # small things

    def project(self, x: Tensor, name: str) -> Tensor:
        """3x3 convolution and ReLU."""
        weight, bias = self.state[f"{AGGREGATOR}{name}.weight"], self.state[f"{AGGREGATOR}{name}.bias"]
        return F.conv2d(x, weight, bias, padding=1).relu()

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.state[name + ".weight"], self.state[name + ".bias"])

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[name + ".weight"], self.state[name + ".bias"])

    def count(self, pattern: str) -> int:
        """How many numbered entries there are."""
        number = 0
        while pattern.format(number) in self.state:
            number += 1
        return number

    def keep(self, name: str, tensor: Tensor) -> Tensor:
        if self.trace is not None:
            self.trace[name] = tensor.detach()
        return tensor
