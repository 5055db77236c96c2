"""A method with its weights, kept in memory between images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.api.prediction import ZERO_SHOT, class_list, make_predictor
from repro.api.running import load_named
from repro.console import Log, log, stdout_to_stderr
from repro.datasets.benchmarks import get_benchmark
from repro.errors import UsageError, WeightsError
from repro.hardware import choose_device
from repro.requests import UNTRAINED, RunRequest
from repro.runs.plan import Run

if TYPE_CHECKING:
    from repro.evaluation.predict import ClassList, Predictor
    from repro.methods.interface import Method


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The label map of one image."""

    labels: NDArray[Any]
    """Class indices (H, W), uint8 for up to 255 classes, else uint16."""
    classes: tuple[str, ...]
    """Names in the order of the indices; of a benchmark's class all synonyms."""

    @property
    def pixels(self) -> dict[str, int]:
        """Pixels of each class that occurs, the most frequent first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: int(counts[i]) for i in order if counts[i]}


class Model:
    """A method with its weights on a device. Made by :func:`load`.

    ``method`` is the torch module (:class:`repro.methods.interface.Method`), ``run`` what it was asked for, ``weights``
    what it was loaded with: a digest, ``untrained`` or ``zero-shot``.
    """

    def __init__(self, run: Run, method: Method, weights: str, device: str, log: Log) -> None:
        self.run, self.method, self.weights, self.device, self._log = run, method, weights, device, log
        self._predictors: dict[tuple[ClassList, bool], Predictor] = {}

    def predict(
        self, image: Path | str | NDArray[np.uint8], classes: Sequence[str] | str, *, own_names: bool | None = None
    ) -> Prediction:
        """Segment one image by the windows of the profile's protocol.

        ``image``: a file, or uint8 RGB (H, W, 3). ``classes``: names, or the id of a benchmark whose classes are meant.
        ``own_names`` False lets names be that the method reads alike. What belongs to the classes is kept for the next
        image. Raises UsageError for names that cannot be told apart, DataError for an image that cannot be read.
        """
        from repro.evaluation.predict import read_photo

        benchmark = get_benchmark(classes) if isinstance(classes, str) else None
        listed = class_list(None if isinstance(classes, str) else classes, benchmark)
        strict = benchmark is None if own_names is None else own_names
        if (listed, strict) not in self._predictors:
            made = make_predictor(self.run, self.method, listed, own_names=strict, log=self._log)
            self._predictors[listed, strict] = made
        pixels = read_photo(Path(image)) if isinstance(image, str | Path) else _checked(image)
        with stdout_to_stderr():
            return Prediction(self._predictors[listed, strict](pixels), listed.names)


def load(request: RunRequest, weights: Path | str | None = None, *, device: str = "auto", log: Log = log) -> Model:
    """Load the method of ``request`` with ``weights``: a file, "none" for untrained, None for the run's own.

    A tower that the profile trains itself is made first where it is missing. Raises WeightsError where the run is not
    trained in the store, and for a file that does not fit.
    """
    weights = request.own(weights, log)
    run = request.run(weights, data="none")
    own = run.assets.store.weights(run.id)
    if weights is None and run.train is not None:
        if not own.is_file():
            raise WeightsError(
                f"{run.entry.title} is not trained in this store",
                expected=own,
                found="no finished training",
                mend=f"name a weights file, or train: {request.command('train', run)}",
            )
        weights = own
    place = choose_device(device)
    with stdout_to_stderr():
        method, called = load_named(run, UNTRAINED if weights is None else weights, place, log)
    zero_shot = run.train is None and weights in (None, UNTRAINED)
    return Model(run, method, ZERO_SHOT if zero_shot else called, place, log)


def _checked(image: Any) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            "this is not an image",
            expected="a file, or a uint8 RGB array (H, W, 3)",
            found=f"{pixels.dtype} {pixels.shape}",
        )
    return pixels
