"""Prior-guided regional alignment (LoGoSeg, Eqs. 1 to 7).

B images, N classes, P prompts, C channels of the common space, K = r x r regions, D channels of guidance.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.logoseg.options import LoGoSegOptions


def object_prior(features: Tensor, text: Tensor) -> Tensor:
    """Compute Eq. 1: p (B, N), mean over places of the cosine of ``features`` (B, C, H, W) and a class's mean prompt.

    ``text`` is (N, P, C). The mean is taken over the normalised features first: it is linear.
    """
    places = F.normalize(features, dim=1).mean(dim=(2, 3))
    return places @ F.normalize(text.mean(dim=1), dim=-1).T


def region_members(height: int, width: int, regions: int) -> Tensor:
    """Return which places (K, H W) each region holds: 0 or 1, cut as adaptive average pooling cuts.

    Regions do not overlap where ``regions`` divides both sides; elsewhere neighbours share a row or column of places.
    """

    def cut(side: int) -> Tensor:
        index, place = torch.arange(regions)[:, None], torch.arange(side)[None]
        begin, end = index * side // regions, -(-(index + 1) * side // regions)
        return ((begin <= place) & (place < end)).float()

    return torch.einsum("ih,jw->ijhw", cut(height), cut(width)).reshape(regions**2, height * width)


class ObjectPrior(nn.Module):
    """Class weights w = 1 + lambda (p - 1) and weighted text centres (Eqs. 1 and 2)."""

    def __init__(self, options: LoGoSegOptions) -> None:
        super().__init__()
        learnable = options.prior == "learnable"
        self.strength = nn.Parameter(torch.ones(())) if learnable else None
        self.fixed = 1.0 if isinstance(options.prior, str) else float(options.prior)
        self.positive = options.negative_prior == "zero"

    def forward(self, features: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, C, H, W) and text (N, P, C) to weights (B, N) and centres (B, N, C)."""
        strength = self.fixed if self.strength is None else self.strength
        weights = 1 + strength * (object_prior(features, text) - 1)
        if self.positive:
            weights = weights.clamp(min=0)
        return weights, weights.unsqueeze(-1) * text.mean(dim=1)


class RegionalAlignment(nn.Module):
    """Guidance G (B, D, H, W) from what regions look like and which classes they resemble (Eqs. 3 to 7)."""

    members: Tensor

    def __init__(self, options: LoGoSegOptions, embed_dim: int, grid: int) -> None:
        super().__init__()
        self.by_prior = options.prior_in_similarity
        self.class_projection = nn.Linear(2 * embed_dim, options.hidden)
        self.text_guidance = nn.Linear(options.hidden, options.hidden, bias=False)
        self.token_score = nn.Sequential(
            nn.Linear(embed_dim, options.hidden), nn.GELU(), nn.Linear(options.hidden, 1, bias=False)
        )
        self.image_guidance = nn.Linear(embed_dim, options.hidden)
        self.register_buffer("members", region_members(grid, grid, options.regions), persistent=False)

    def similarity(self, regions: Tensor, text: Tensor, weights: Tensor) -> Tensor:
        """Compute Eq. 3: A (B, K, N), cosines of ``regions`` (B, K, C) and the centres of ``text`` (N, P, C).

        A centre is a class's mean prompt times its weight (B, N): of the weight, the cosine sees the sign alone.
        """
        cosine = F.normalize(regions, dim=-1) @ F.normalize(text.mean(dim=1), dim=-1).T
        scale = weights if self.by_prior else weights.sign()
        return cosine * scale.unsqueeze(1)

    def class_embedding(self, regions: Tensor, similarity: Tensor, centres: Tensor, tau: Tensor | float) -> Tensor:
        """Compute Eqs. 4 to 6: g_region (B, N, D) from regions (B, K, C), A (B, K, N) and text centres (B, N, C)."""
        looks = (tau * similarity).softmax(dim=1).transpose(1, 2) @ regions
        return self.class_projection(torch.cat([looks, centres], dim=-1))

    def region_embedding(self, tokens: Tensor) -> Tensor:
        """Return g_image (B, K, D): in each region, the mean of ``tokens`` (B, H W, C) weighted by softmax of scores.

        A score has no bias: a softmax would not see it.
        """
        scores = self.token_score(tokens).transpose(1, 2).masked_fill(self.members == 0, -torch.inf)
        return self.image_guidance(scores.softmax(dim=-1) @ tokens)

    def integrate(self, image: Tensor, similarity: Tensor, classes: Tensor, beta: Tensor | float) -> Tensor:
        """Compute Eq. 7: G (B, K, D) from g_image (B, K, D), A (B, K, N) and g_region (B, N, D).

        The two exponentials of the norms are one sigmoid of their difference, which cannot overflow.
        """
        text = self.text_guidance((beta * similarity).softmax(dim=-1) @ classes)
        alpha = (image.norm(dim=-1, keepdim=True) - text.norm(dim=-1, keepdim=True)).sigmoid()
        return alpha * image + (1 - alpha) * text

    def forward(
        self,
        features: Tensor,
        text: Tensor,
        weights: Tensor,
        centres: Tensor,
        tau: Tensor | float,
        beta: Tensor | float,
    ) -> Tensor:
        """Return G (B, D, H, W) of features (B, C, H, W), text (N, P, C), weights (B, N) and text centres (B, N, C).

        A place that two regions share gets the mean of their guidance.
        """
        tokens = features.flatten(2).transpose(1, 2)
        members = self.members.to(tokens.dtype)
        regions = members / members.sum(dim=1, keepdim=True) @ tokens
        similarity = self.similarity(regions, text, weights)
        classes = self.class_embedding(regions, similarity, centres, tau)
        guidance = self.integrate(self.region_embedding(tokens), similarity, classes, beta)
        spread = (members / members.sum(dim=0)).T @ guidance
        return spread.transpose(1, 2).unflatten(2, features.shape[2:])
