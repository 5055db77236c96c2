"""What chance could have done: bootstrap over images and seeds, paired tests, corrections (docs/statistics.md)."""
