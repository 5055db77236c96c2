"""Models aligned region by region, as sources of backbones: their dense features keep each token's own residual."""

from __future__ import annotations

from repro.methods.backbones import BackboneSource

DENSEVLM = BackboneSource("densevlm", "DenseVLM", dense_residual="token")
CLIPSELF = BackboneSource("clipself", "CLIPSelf", dense_residual="token")
