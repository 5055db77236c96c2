"""DenseVLM (ICCV 2025): region features of a CLIP aligned with what a frozen, more powerful one retrieves for them."""

from __future__ import annotations

from baselines.densevlm.options import AS_RELEASED, LATER, DenseVLMOptions
from repro.methods.alignments import AlignmentEntry

ALIGNMENT = AlignmentEntry(
    name="densevlm",
    title="DenseVLM",
    paper="Unbiased Region-Language Alignment for Open-Vocabulary Dense Prediction, ICCV 2025",
    options=DenseVLMOptions,
    train="baselines.densevlm.train:align",
    trial={"iterations": 2, "batch_size": 2, "workers": 0, "warmup_iterations": 1},
    brief={"templates": ("a photo of {article} {}.",)},
    classes="baselines.densevlm.categories:category_facts",
    presets={"as_released": AS_RELEASED},
    later=LATER,
)
