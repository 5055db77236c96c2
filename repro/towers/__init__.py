"""Kinds of CLIP towers: where a tower's weights come from, one module per kind (:mod:`repro.towers.kind`)."""
