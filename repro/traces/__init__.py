"""What the code computes: numbers of tiny fixed work through the very functions that do the real one.

A *trace* is a few hundred numbers under names of parts (``augmentation``, ``losses``, ``weights`` ..). Two states of
the code whose traces agree to :data:`repro.sources.trace.TOLERANCE` compute the same as far as the work goes that was
asked for: same method and options, a tower of the same family, grid and depth, same schedule and protocol, in float64
where the code allows it. The gate on numbers (``repro check --numeric``) takes the same traces in
:func:`repro.traces.watching.portable`. Nothing here knows a method or an alignment by name.
"""
