"""Zero-shot dense CLIP: the class whose text is nearest to the feature of a place. Nothing is trained."""

from baselines.clip.options import ClipOptions
from repro.methods import MethodEntry

METHOD = MethodEntry(
    name="clip",
    title="CLIP (zero-shot)",
    paper="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, "
    "arXiv:2103.00020; dense features as in Zhou et al., Extract Free Dense Labels from CLIP, ECCV 2022, "
    "arXiv:2112.01071",
    options=ClipOptions,
    build="baselines.clip.model:DenseClip",
    trainable=False,
)
