"""What is measured on masks beside the counts, when switched on: boundary quality and foreground bias.

A package apart from :mod:`repro.metrics`, whose source is part of every evaluation's address: a change here makes no
finished evaluation another one.
"""
