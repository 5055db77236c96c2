"""The training of the miniature's own CLIP."""
