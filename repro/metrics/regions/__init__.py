"""Regions of images: their features on a dense map, the text they are compared with, and how well the two agree."""
