"""detectron2 in both directions; importing this package registers all of it there (docs/interop.md).

Registered are every data set of ours (names as CAT-Seg's; data below ``DETECTRON2_DATASETS``, or what
:func:`use_data_root` names) and the architecture ``ReproMethod`` around any method of ours. :class:`Trainer` trains it
with our loss and tests it with their evaluator; :func:`evaluate_catalogue` evaluates a method on any data set of the
catalogue. Raises ResourceError where detectron2 is not installed.
"""

from repro.interop.libraries import need

need("detectron2")

from repro.interop.detectron2.catalogue import register, use_data_root  # noqa: E402
from repro.interop.detectron2.configuration import add_repro_config  # noqa: E402
from repro.interop.detectron2.evaluating import evaluate_catalogue  # noqa: E402
from repro.interop.detectron2.meta_arch import ReproMethod  # noqa: E402
from repro.interop.detectron2.trainer import Trainer, evaluator  # noqa: E402

register()

__all__ = ["ReproMethod", "Trainer", "add_repro_config", "evaluate_catalogue", "evaluator", "use_data_root"]
