"""CLIP towers behind one interface: dense features, text features, weights; the tiny CLIP of the miniature."""
