"""mmsegmentation in both directions; importing this package registers all of it there (docs/interop.md).

``custom_imports = dict(imports=["repro.interop.mmseg"])`` in a configuration does that. Registered are the segmentor
``ReproSegmentor`` around any method of ours, every data set of ours (``ReproDataset`` with its id, or ``Repro-<id>``),
the transforms ``LoadReproPair`` and ``ReproCrop``, and ``ReproOptimWrapperConstructor``. Raises ResourceError where
mmsegmentation is not installed.
"""

from repro.interop.libraries import need

need("mmseg")

from repro.interop.mmseg.data_sets import LoadReproPair, ReproCrop, ReproDataset  # noqa: E402
from repro.interop.mmseg.segmentor import ReproOptimWrapperConstructor, ReproSegmentor  # noqa: E402

__all__ = ["LoadReproPair", "ReproCrop", "ReproDataset", "ReproOptimWrapperConstructor", "ReproSegmentor"]
