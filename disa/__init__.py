"""DiSa: saliency-aware foreground-background disentangling for open-vocabulary segmentation (arXiv:2601.20064)."""

from disa.options import DisaOptions
from repro.methods import MethodEntry

METHOD = MethodEntry(
    name="disa",
    title="DiSa",
    paper="Saliency-aware Foreground-Background Disentangled Framework for Open-Vocabulary Semantic Segmentation, "
    "arXiv:2601.20064",
    options=DisaOptions,
    build="disa.model:DiSa",
    classes="disa.kinds:class_facts",
)
