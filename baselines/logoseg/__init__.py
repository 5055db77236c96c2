"""LoGoSeg: local and global features for open-vocabulary semantic segmentation (Chen et al., AAAI 2026)."""

from baselines.logoseg.options import LoGoSegOptions
from repro.methods import MethodEntry

METHOD = MethodEntry(
    name="logoseg",
    title="LoGoSeg",
    paper="Chen et al., LoGoSeg: Integrating Local and Global Features for Open-Vocabulary Semantic Segmentation, "
    "AAAI 2026, arXiv:2602.05578",
    options=LoGoSegOptions,
    build="baselines.logoseg.model:LoGoSeg",
)
