"""What figures are drawn from: a trained run's prediction and diagnostic maps for chosen images and classes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.benchmarks import Benchmark
from repro.datasets.vocabulary import first_synonym
from repro.errors import RunError, WeightsError, check_known, command, unknown_name
from repro.runs.plan import Run

if TYPE_CHECKING:
    from repro.datasets.layout import Pair
    from repro.evaluation.predict import ClassList
    from repro.methods.interface import Method


@dataclasses.dataclass(frozen=True)
class ImageData:
    """One image as one run sees it. ``classes`` are the indices (n) that ``maps`` are of."""

    key: str
    image: NDArray[np.uint8]
    """(H, W, 3), RGB."""
    label: NDArray[Any] | None
    """Class indices (H, W) and the benchmark's ignore label; None for a picture that nobody has labelled."""
    prediction: NDArray[np.int64]
    """Class indices (H, W)."""
    classes: tuple[int, ...]
    maps: dict[str, NDArray[np.float32]]
    """``attention``, ``saliency``, ``foreground``, ``correlation`` as offered: (n, h, w) over the whole image."""


def load_trained(run: Run, run_id: str, device: str) -> Method:
    """Load the method of ``run`` with the weights kept under ``run_id``; WeightsError where it is not trained yet."""
    from repro.clip.tower import build_tower
    from repro.methods.weights import load_weights

    weights = run.assets.store.weights(run_id)
    if not run.assets.tower_ready(run.row.tower) or (run.train and not weights.is_file()):
        raise WeightsError(
            f"{run.row.title} on {run.tower.title} is not trained in this store",
            expected=weights,
            found="no finished training",
            mend="name another store with --runs, or make it: "
            + command("repro", "run", "TABLE", "--profile", run.profile.name, *run.assets.named_folders),
        )
    method = run.entry.create(build_tower(run.assets.tower_spec(run.row.tower)), run.options)
    if run.train:
        load_weights(method, weights, run.entry.name)
    return method.to(device).eval()


def choose_pairs(pairs: Sequence[Pair], keys: Sequence[str] | None, count: int) -> list[Pair]:
    """Choose the pairs called ``keys``, or ``count`` of them evenly spread; UsageError for an unknown key."""
    if not keys:
        steps = np.linspace(0, len(pairs) - 1, min(count, len(pairs)))
        return [pairs[i] for i in dict.fromkeys(steps.round().astype(int).tolist())]
    by_key = {p.key: p for p in pairs}
    for key in keys:
        if key not in by_key:
            raise unknown_name("image", key, list(by_key)[:50], mend="name images as they lie in the set, no ending")
    return [by_key[key] for key in keys]


def class_titles(benchmark: Benchmark) -> list[str]:
    """Return the first synonym of each evaluated class."""
    return [first_synonym(name) for name in benchmark.class_names()]


def choose_classes(
    label: NDArray[Any], benchmark: Benchmark, names: Sequence[str] | None, count: int
) -> tuple[int, ...]:
    """Choose the indices of the classes called ``names``, or of the ``count`` that cover most of ``label``.

    A folded background is not one of them: it is many prompts and has no map of its own.
    """
    known = class_titles(benchmark)[: benchmark.background_index]
    if names:
        check_known(f"class of {benchmark.id}", names, known, mend=command("repro", "describe", benchmark.id))
        return tuple(known.index(name) for name in names)
    values, pixels = np.unique(label[label < len(known)], return_counts=True)
    return tuple(int(v) for v in values[np.argsort(-pixels, kind="stable")][:count])


def words_of(benchmark: Benchmark, own: Sequence[str]) -> ClassList:
    """Return the classes of ``benchmark`` by their first synonyms, and those of ``own`` that are not among them.

    A picture of one's own is segmented with these: of a single class nothing could be told apart. Raises UsageError as
    :meth:`repro.evaluation.predict.ClassList.of_names`.
    """
    from repro.evaluation.predict import ClassList

    names, prompts, fold = class_titles(benchmark), list(benchmark.prompt_names()), benchmark.background_index
    known = {name.casefold() for name in names}
    new = [name for name in ClassList.of_names(own).names if name.casefold() not in known]
    at = len(names) if fold is None else fold
    moved = None if fold is None else fold + len(new)
    return ClassList(tuple(names[:at] + new + names[at:]), tuple(prompts[:at] + new + prompts[at:]), moved)


def predict_classes(run: Run, method: Method, benchmark: Benchmark, image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Predict classes (H, W) of ``image`` (H, W, 3) by the profile's sliding windows, the background folded."""
    prompts = method.prompts(benchmark.prompt_names(), benchmark.background_index)
    return _predicted(run, method, prompts, benchmark.background_index, image)


def image_data(
    run: Run, method: Method, benchmark: Benchmark, pair: Pair, classes: Sequence[str] | None, count: int
) -> ImageData:
    """Predict by the profile's sliding windows, and take the diagnostic maps of the view that shows the whole image."""
    from repro.datasets.images import read_label, stored_image

    image, label = stored_image(pair.image), read_label(pair.label)
    prediction = predict_classes(run, method, benchmark, image)
    chosen = choose_classes(label, benchmark, classes, count)
    if not chosen:  # nothing is labelled, or background alone
        chosen = choose_classes(prediction, benchmark, None, count) or (0,)
    prompts = method.prompts(benchmark.prompt_names(), benchmark.background_index)
    return ImageData(pair.key, image, label, prediction, chosen, _maps(run, method, prompts, image, chosen))


def places_of(names: Sequence[str], classes: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of ``classes``, which are among ``names`` but for case and white space (:func:`words_of`)."""
    places = {name.casefold(): index for index, name in enumerate(names)}
    return tuple(places[" ".join(name.split()).casefold()] for name in classes)


def keyed(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield each picture with a key of its own: its stem, numbered where folders share one."""
    times = Counter[str]()
    for path in paths:
        times[path.stem] += 1
        yield path.stem if times[path.stem] == 1 else f"{path.stem}-{times[path.stem]}", path


def photo_data(run: Run, method: Method, words: ClassList, key: str, path: Path, classes: Sequence[str]) -> ImageData:
    """Do the same with a picture of one's own: ``classes`` are among the names of ``words`` (:func:`words_of`).

    Raises DataError for a file that is no picture.
    """
    from repro.evaluation.predict import read_photo

    image = read_photo(path)
    prompts = method.prompts(words.prompts, words.background_index)
    prediction = _predicted(run, method, prompts, words.background_index, image)
    chosen = places_of(words.names, classes)
    return ImageData(key, image, None, prediction, chosen, _maps(run, method, prompts, image, chosen))


def _predicted(
    run: Run, method: Method, prompts: Sequence[str], fold: int | None, image: NDArray[np.uint8]
) -> NDArray[np.int64]:
    from repro.evaluation.infer import SlidingWindow

    prediction = SlidingWindow(run.profile.protocol).predict(method, image, prompts)
    return prediction if fold is None else np.minimum(prediction, fold)


def _maps(
    run: Run, method: Method, prompts: Sequence[str], image: NDArray[np.uint8], chosen: Sequence[int]
) -> dict[str, NDArray[np.float32]]:
    """Take the maps of the ``chosen`` prompts from the view of the whole image."""
    from repro.evaluation.maps import whole_view

    device = next(method.parameters()).device
    maps = {}
    for name, tensor in method.diagnostics(whole_view(run.profile.protocol, image, device), prompts).items():
        if tensor.ndim != 4 or tensor.shape[:2] != (1, len(prompts)):
            raise RunError(
                f"the map {name!r} that {run.entry.name} offers for figures has another shape",
                expected=f"(1, {len(prompts)}, h, w)",
                found=tuple(tensor.shape),
                mend="repro.methods.interface.Method.diagnostics says what is asked for",
            )
        maps[name] = tensor[0, list(chosen)].float().cpu().numpy()
    return maps
