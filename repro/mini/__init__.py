"""The procedural miniature: concepts with a stable look, scenes of them, captions and a contact sheet."""
