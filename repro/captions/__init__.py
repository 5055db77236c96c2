"""Image-level labels from captions: noun phrases, filtered as in SynSeg (arXiv:2508.06115). See docs/captions.md."""

from repro.captions.convert import convert
from repro.captions.labels import LabelledImage, iterate_labels, load_labels, load_vocabulary

__all__ = ["LabelledImage", "convert", "iterate_labels", "load_labels", "load_vocabulary"]
