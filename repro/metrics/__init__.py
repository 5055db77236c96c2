"""Integer confusion counts and what is derived from them."""
