"""DenseVLM (ICCV 2025): region features of a CLIP aligned with what a frozen, more powerful one retrieves for them."""

from __future__ import annotations

from baselines.densevlm.options import AS_RELEASED, LATER, READINGS, DenseVLMOptions
from repro.methods.alignments import AlignmentEntry

ALIGNMENT = AlignmentEntry(
    name="densevlm",
    title="DenseVLM",
    paper="Unbiased Region-Language Alignment for Open-Vocabulary Dense Prediction, ICCV 2025",
    options=DenseVLMOptions,
    train="baselines.densevlm.train:align",
    # Towers drawn at random are sure of nothing: no region would pass the threshold.
    trial={"iterations": 2, "batch_size": 2, "workers": 0, "warmup_iterations": 1, "threshold": 0.0},
    brief={"templates": ("a photo of {article} {}.",)},
    classes="baselines.densevlm.categories:category_facts",
    readings=READINGS,
    presets={"as_released": AS_RELEASED},
    later=LATER,
)
