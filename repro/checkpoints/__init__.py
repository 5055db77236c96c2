"""Checkpoints of other code: recognised by content, checked by name and shape, brought in and given back."""
