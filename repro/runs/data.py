"""The data of one profile below one runs folder: drawn, or found where the user named it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from repro.configuration.profiles import Profile
from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS, Benchmark, all_sets
from repro.datasets.data_set import OWN, DataSet
from repro.errors import UsageError, command, unknown_name
from repro.files import write_json
from repro.hashing import digest
from repro.mends import Missing, same_folders
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.code import Code
from repro.runs.addresses.judging import miniature_subject
from repro.runs.addresses.past import data_of_past, renamed
from repro.runs.addresses.places import Place, settle
from repro.runs.store import RunStore

if TYPE_CHECKING:
    from repro.datasets.layout import Pair
    from repro.mini.synth import MiniSizes

READY = "ready.json"


def set_ids(words: Sequence[str], data_root: Path) -> list[str]:
    """Return the ids of the data sets called ``words`` in any case; UsageError for an unknown one.

    None, or ``all``, stands for the papers' sets and what is trained on, whether or not they are there, and every other
    set whose images lie below ``data_root``.
    """
    known = all_sets()
    if list(words) in ([], ["all"]):
        there = [k for k, d in known.items() if (data_root / d.folder / d.split().source_images).is_dir()]
        return list(dict.fromkeys([*BENCHMARKS, *TRAIN_SETS, *there]))
    by_case = {k.casefold(): k for k in known}
    for word in words:
        if word.casefold() not in by_case:
            raise unknown_name("data set", word, known)
    return [by_case[w.casefold()] for w in words]


class Data:
    """The data of one profile below one runs folder; :class:`repro.runs.assets.Assets` adds its towers."""

    def __init__(self, profile: Profile, runs_root: Path, data_root: Path | None) -> None:
        if profile.synthetic and data_root is not None:
            raise UsageError(
                f"profile {profile.name} draws its own data; --data-root has no place in it",
                found=command("--data-root", data_root),
                mend="leave --data-root out, or choose --profile paper",
            )
        self.profile, self.store, self._data_root = profile, RunStore(runs_root), data_root
        self.code = Code(self.store.cache / "code")
        self._keys: dict[str, str] = {}
        self._fit: set[str] = set()
        self._places: dict[str, Place] = {}

    def under(self, profile: Profile) -> Self:
        """Return the same folders under another profile."""
        return type(self)(profile, self.store.root, None if profile.synthetic else self._data_root)

    @property
    def cache(self) -> Path:
        """The folder of what runs share."""
        return self.store.cache

    @property
    def named_folders(self) -> tuple[object, ...]:
        """The run store and the data the user named, as words of a command."""
        return same_folders(self.store.root, self._data_root)

    @property
    def data_root(self) -> Path | None:
        """The folder all sets lie under, or None where the user must still name it."""
        place = self.data_place
        return self._data_root if place is None else place.path

    @property
    def data_place(self) -> Place | None:
        """Where the drawn data lie or will lie; None in a profile that draws none."""
        if not self.profile.synthetic:
            return None
        if "data" not in self._places:
            base = self.store.cache / "data" / f"{self.profile.name}-{self.data_key('')}"
            subject = miniature_subject(self.profile.data)
            self._places["data"] = settle(
                base,
                lambda path: any((path / name).is_file() for name in (CODE, READY, ".miniature")),
                lambda path: self.code.judge(path / CODE, subject, {}),
                [*renamed(base), *data_of_past(base.parent, dict(self.profile.data))],
            )
        return self._places["data"]

    def data_key(self, set_id: str) -> str:
        """Return what identifies a set: the recipe of generated data, else the content of all its files.

        Files are read when it is first needed, with a bar, and remembered in the cache.
        """
        if set_id not in self._keys:
            self._keys[set_id] = self._data_key(set_id)
        return self._keys[set_id]

    def _data_key(self, set_id: str) -> str:
        known = all_sets().get(set_id)
        if known is not None and known.content is not None:
            return known.content
        if known is not None and known.root is not None:
            from repro.runs.external import source_content

            return "absent" if self.missing_data(known) else source_content(known, self.store.cache)
        if self.profile.synthetic:
            data = dict(self.profile.data)
            if known is None or not known.drawn:
                return digest(data, 10)
            from repro.mini.synth import SETS, own_key

            if known.drawn == OWN:
                return digest([data, own_key(known, data["seed"], self._sizes)], 10)
            # A picture depends on its number and not on how many others there are: what was trained stays
            # valid where a benchmark has more pictures.
            own = {k: v for k, v in data.get("sizes", {}).items() if k not in SETS or k == known.drawn}
            return digest({**data, "sizes": own}, 10)
        if self._data_root is None or self.missing_data(all_sets()[set_id]):
            return "absent"
        from repro.runs.external import named_content

        return named_content(set_id, self._data_root, self.store.cache)

    def content_key(self, set_id: str) -> str:
        """Return what a finished evaluation of a set is known by besides its images' names; "" for drawn data."""
        drawn = self.profile.synthetic and all_sets()[set_id].root is None
        return "" if drawn else self.data_key(set_id)

    def missing_data(self, benchmark: Benchmark) -> list[Missing]:
        """Return what must still be downloaded or prepared before ``benchmark`` can be used
        (empty for generated data).
        """
        if benchmark.content is not None:
            return []
        if benchmark.root is not None:
            from repro.runs.external import sources_unfit

            needs = [] if benchmark.id in self._fit else sources_unfit(benchmark)
            self._fit |= set() if needs else {benchmark.id}
            return needs
        if self.profile.synthetic:
            return []
        if self._data_root is None:
            return [Missing(f"{benchmark.id}: no data root named", "--data-root DIR")]
        from repro.runs.external import unfit

        error = None if benchmark.id in self._fit else unfit(benchmark, self._data_root, self.store.cache)
        if error is not None:
            source = self._data_root / benchmark.folder
            if not source.is_dir():
                return [Missing(f"{benchmark.id}: {source} is absent", benchmark.instructions)]
            mend = error.mend or command("repro", "data", "prepare", benchmark.id, "--data-root", self._data_root)
            return [Missing(f"{benchmark.id}: {error.message}", mend)]
        self._fit.add(benchmark.id)  # to look at the sources of 118,287 images takes seconds
        return []

    def compare(self, benchmark: Benchmark) -> None:
        """Raise DataError for labels that do not remember their sources and are not what the rule makes of them."""
        own = benchmark.root is not None or benchmark.content is not None
        if not self.profile.synthetic and self._data_root is not None and not own:
            from repro.runs.external import compare_unaccounted

            compare_unaccounted(benchmark, self._data_root, self.store.cache)

    def ensure_data(self, progress: Callable[[str], None] | None = None) -> Path:
        """Return the data root, generated and prepared first where the profile draws its own data."""
        root = self.data_root
        if root is None:
            raise UsageError(
                f"profile {self.profile.name} needs real data",
                expected="--data-root DIR",
                found="no --data-root",
                mend="this lists what is needed: "
                + command("repro", "run", "table1", "--profile", self.profile.name, "--data-root", "DIR", "--dry-run"),
            )
        if not self.profile.synthetic or (root / READY).is_file():
            return root
        self.store.check_space(200)
        with self.store.lock(str(root.relative_to(self.store.root)), wait=True):
            if (root / READY).is_file():  # made by the process this one waited for
                return root
            from repro.mini.draw import draw_miniature
            from repro.runs.progress import count_progress

            write_json(root / CODE, self.code.record(miniature_subject(self.profile.data), {}))
            data = self.profile.data
            draw_miniature(root, data["seed"], data.get("sizes", {}), progress, progress=count_progress)
            write_json(root / READY, {"key": self.data_key(""), "data": dict(data)})
        return root

    def ensure_set(
        self, benchmark: Benchmark, log: Callable[[str], None] | None = None, split: str | None = None
    ) -> Path:
        """Return the data root, in which ``benchmark`` is prepared where the profile draws its own data.

        A set of the user's own has a root of its own, and where it is not prepared there, that of a view in the cache.
        The miniature is prepared for the papers' sets when it is drawn, and for any other set when that is asked for.
        """
        if benchmark.root is not None:
            from repro.runs.external import open_data

            return open_data(benchmark, benchmark.root, self.store.cache, split)[1]
        root = self.ensure_data(log)
        if self.profile.synthetic and benchmark.id not in {**BENCHMARKS, **TRAIN_SETS}:
            from repro.datasets.prepare.prepare import prepare
            from repro.mini.synth import synth_set
            from repro.runs.progress import count_progress

            with self.store.lock(str(root.relative_to(self.store.root)), wait=True):
                if benchmark.drawn == OWN:
                    with count_progress(f"drawing {benchmark.id}", "picture") as update:
                        synth_set(root, benchmark, self.profile.data["seed"], self._sizes, update)
                prepare(benchmark.id, root)
        return root

    @property
    def _sizes(self) -> MiniSizes:
        from repro.mini.synth import MiniSizes

        return MiniSizes(**self.profile.data.get("sizes", {}))

    def ensure_drawn(self, log: Callable[[str], None] | None = None) -> None:
        """Draw the miniature where the profile draws its own data."""
        if self.profile.synthetic:
            self.ensure_data(log)

    def ensure_pairs(
        self, data_set: DataSet, split: str | None = None, log: Callable[[str], None] | None = None
    ) -> list[Pair]:
        """Return the images and labels of a part (None: the set's own), made first where they can be."""
        from repro.datasets.layout import prepared_pairs

        return prepared_pairs(data_set, self.ensure_set(data_set, log, split), split)

    def ensure_panoptic(self, log: Callable[[str], None] | None = None) -> Path:
        """Return the data root with its panoptic sets, which are drawn too where the profile draws its own data."""
        root = self.ensure_data(log)
        if self.profile.synthetic:
            from repro.mini.panoptic import synth_panoptic
            from repro.runs.progress import count_progress

            with (
                self.store.lock(str(root.relative_to(self.store.root)), wait=True),
                count_progress("drawing the panoptic sets", "picture") as update,
            ):
                synth_panoptic(root, self.profile.data["seed"], self._sizes, update)
        return root

    def remember(self, key: str, find: Callable[[], Place]) -> Place:
        """Return the place called ``key``, looked for once: what is made in this process goes where it was to go."""
        if key not in self._places:
            self._places[key] = find()
        return self._places[key]
