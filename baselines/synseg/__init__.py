"""SynSeg: feature synergy and multi-category contrastive learning from image-level labels (arXiv:2508.06115)."""

from baselines.synseg.options import SynSegOptions
from repro.methods import MethodEntry

METHOD = MethodEntry(
    name="synseg",
    title="SynSeg-style MCCL",
    paper="Zhang et al., SynSeg: Feature Synergy for Multi-Category Contrastive Learning in End-to-End "
    "Open-Vocabulary Semantic Segmentation, arXiv:2508.06115",
    options=SynSegOptions,
    build="baselines.synseg.build:build",
)
