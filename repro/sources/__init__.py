"""What the code says: the definitions that decide a number, found by following names from where the work begins.

A *root* is ``"package.module:name"``. From it every function, class and constant of the project is followed that is
named on the way (:mod:`repro.sources.graph`), each read without what cannot change a number
(:mod:`repro.sources.normal`): imports, names of modules, comments, docstrings, annotations, layout, messages of
errors, lines of a log, and what a private name is called. The digest of all of them is the *source digest*.

A source digest only says that something was rewritten; a trace (:mod:`repro.traces`) whether a number changed.
"""

from repro.sources.digests import Sources, sources

__all__ = ["Sources", "sources"]
