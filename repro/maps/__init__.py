"""How well the maps a method offers beside its prediction (saliency, cosine) find the pixels of a class."""
