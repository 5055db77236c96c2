"""Training data: the one augmentation pipeline, the sample stream, and (in ``mini``) the procedural miniature."""
