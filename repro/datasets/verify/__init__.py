"""Whether a prepared set is what it should be."""
