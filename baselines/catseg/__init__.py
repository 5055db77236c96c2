"""CAT-Seg: cost aggregation for open-vocabulary semantic segmentation (Cho et al., CVPR 2024)."""

from baselines.catseg.options import CatSegOptions
from baselines.catseg.released import RELEASED
from repro.methods import MethodEntry

METHOD = MethodEntry(
    name="catseg",
    title="CAT-Seg",
    paper="Cho et al., CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic Segmentation, "
    "CVPR 2024, arXiv:2303.11797",
    options=CatSegOptions,
    build="baselines.catseg.model:CatSeg",
    official="baselines.catseg.checkpoint:OFFICIAL",
    released=RELEASED,
)
