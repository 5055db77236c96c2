"""What runs are made from: prepared data and CLIP towers. Knows what is missing, and makes what can be made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from repro.benchmarks.downloads import DOWNLOADS
from repro.benchmarks.spec import BENCHMARKS, TRAIN_SETS, Benchmark
from repro.clip.spec import TowerSpec
from repro.errors import DataError, UsageError, WeightsError
from repro.experiments import aligned, backbone
from repro.experiments.profiles import Profile, TowerPlan
from repro.experiments.store import RunStore
from repro.files import write_json
from repro.hashing import digest, source_digest

SCENE_CODE = tuple(f"repro.data.mini.{m}" for m in ("catalogue", "looks", "patterns", "scenes", "settings", "shapes"))
SYNTH_CODE = (*SCENE_CODE, "repro.data.mini.synth", "repro.data.mini.writers", "repro.benchmarks.prepare")
TOWER_CODE = (
    *SCENE_CODE,
    "repro.data.mini.captions",
    *(f"repro.clip.{m}" for m in ("tiny", "tiny_data", "tiny_model", "tiny_optim")),
)
# Names of repro.clip.tiny, repeated because that module imports torch.
TINY_WEIGHTS, TINY_SCORES = "open_clip_pytorch_model.bin", "scores.json"
READY = "ready.json"
CHECKPOINT = "checkpoint"
"""Kind and key of a tower that comes with the weights of an imported checkpoint (repro.experiments.imported)."""
CONTACT_SHEET = "contact_sheet.png"


@dataclasses.dataclass(frozen=True)
class Missing:
    """Something a cell waits for, and the command or page that provides it."""

    what: str
    mend: str


def all_sets() -> dict[str, Benchmark]:
    """The six benchmarks and the training set by id."""
    return {**BENCHMARKS, **TRAIN_SETS}


class Assets:
    """The data and towers of one profile below one runs folder."""

    def __init__(self, profile: Profile, runs_root: Path, data_root: Path | None) -> None:
        if profile.synthetic and data_root is not None:
            raise UsageError(
                f"profile {profile.name} draws its own data; --data-root has no place in it",
                found=f"--data-root {data_root}",
                mend="leave --data-root out, or choose --profile paper",
            )
        self.profile, self.store, self._data_root = profile, RunStore(runs_root), data_root
        self._keys: dict[str, str] = {}

    def under(self, profile: Profile) -> Assets:
        """The same folders under another profile."""
        return Assets(profile, self.store.root, None if profile.synthetic else self._data_root)

    # -- data ---------------------------------------------------------------------------------------------------
    @property
    def data_root(self) -> Path | None:
        """The folder all sets lie under, or None where the user must still name it."""
        if self.profile.synthetic:
            return self.store.cache / "data" / f"{self.profile.name}-{self.data_key('')}"
        return self._data_root

    def data_key(self, set_id: str) -> str:
        """What identifies the images and labels of a set: the recipe of generated data, else file names and sizes."""
        if set_id not in self._keys:
            self._keys[set_id] = self._data_key(set_id)
        return self._keys[set_id]

    def _data_key(self, set_id: str) -> str:
        if self.profile.synthetic:
            return digest([dict(self.profile.data), source_digest(SYNTH_CODE)], 10)
        if self._data_root is None or self.missing_data(all_sets()[set_id]):
            return "absent"
        from repro.benchmarks.fingerprint import fingerprint

        return fingerprint(set_id, self._data_root)

    def missing_data(self, benchmark: Benchmark) -> list[Missing]:
        """What must still be downloaded or prepared before ``benchmark`` can be used (empty for generated data)."""
        if self.profile.synthetic:
            return []
        page = DOWNLOADS[benchmark.id]
        if self._data_root is None:
            return [Missing(f"{benchmark.id}: no data root named", "--data-root DIR")]
        from repro.benchmarks.layout import prepared_pairs

        try:
            prepared_pairs(benchmark, self._data_root)
        except DataError as error:
            source = self._data_root / page.folder
            if not source.is_dir():
                return [Missing(f"{benchmark.id}: {source} is absent", page.instructions)]
            return [Missing(f"{benchmark.id}: {error.message}", error.mend or f"repro data prepare {benchmark.id}")]
        return []

    def ensure_data(self, progress: Callable[[str], None] | None = None) -> Path:
        """The data root, generated and prepared first where the profile draws its own data."""
        root = self.data_root
        if root is None:
            raise UsageError(
                f"profile {self.profile.name} needs real data",
                expected="--data-root DIR",
                found="no --data-root",
                mend=f"repro run table1 --profile {self.profile.name} --data-root DIR --dry-run lists what is needed",
            )
        if not self.profile.synthetic or (root / READY).is_file():
            return root
        self.store.check_space(200)
        with self.store.lock(str(root.relative_to(self.store.root)), wait=True):
            if (root / READY).is_file():  # made by the process this one waited for
                return root
            draw_miniature(root, self.profile.data["seed"], self.profile.data.get("sizes", {}), progress)
            write_json(root / READY, {"key": self.data_key(""), "data": dict(self.profile.data)})
        return root

    def ensure_panoptic(self, log: Callable[[str], None] | None = None) -> Path:
        """The data root with its panoptic sets, which are drawn too where the profile draws its own data."""
        root = self.ensure_data(log)
        if self.profile.synthetic:
            from repro.data.mini.panoptic import synth_panoptic
            from repro.data.mini.synth import MiniSizes
            from repro.experiments.progress import count_progress

            sizes = MiniSizes(**self.profile.data.get("sizes", {}))
            with (
                self.store.lock(str(root.relative_to(self.store.root)), wait=True),
                count_progress("drawing the panoptic sets", "picture") as update,
            ):
                synth_panoptic(root, self.profile.data["seed"], sizes, update)
        return root

    # -- towers -------------------------------------------------------------------------------------------------
    def tower_key(self, tower: str) -> dict[str, Any]:
        """What identifies a tower's weights: the recipe it is trained by, else the model and the weights file."""
        plan = self.profile.towers[tower]
        facts = {"spec": dataclasses.asdict(plan.spec), "kind": plan.kind}
        if plan.kind == "tiny":
            return {**facts, "recipe": self._recipe(plan)}
        if plan.kind == aligned.KIND:
            return {**facts, "alignment": aligned.address(self, tower)}
        if plan.kind == backbone.KIND:
            return {**facts, **backbone.identity(plan)}
        if plan.kind == CHECKPOINT:
            return {**facts, "weights": plan.recipe["source"]}
        if plan.kind == "open_clip":
            from repro.clip.weights import weights_digest

            try:
                return {**facts, "weights": weights_digest(plan.spec)}
            except WeightsError:
                return {**facts, "weights": "absent"}
        return facts

    def tower_folder(self, tower: str) -> Path:
        """Where a tower that the profile trains itself is kept; how it is read out (the spec) does not matter."""
        plan = self.profile.towers[tower]
        if plan.kind == aligned.KIND:
            return aligned.folder(self, tower)
        if plan.kind == backbone.KIND:
            return Path(backbone.built_spec(plan, self.store.cache).model)
        return self.store.cache / "clip" / f"tiny-{self._recipe(plan)}"

    @staticmethod
    def _recipe(plan: TowerPlan) -> str:
        return digest([dict(plan.recipe), source_digest(TOWER_CODE)])

    def tower_spec(self, tower: str) -> TowerSpec:
        """The tower to build; for a self-trained one its folder and weights are filled in."""
        plan = self.profile.towers[tower]
        if plan.kind == aligned.KIND:
            return aligned.spec(self, tower)
        if plan.kind == backbone.KIND:
            return backbone.built_spec(plan, self.store.cache)
        if plan.kind != "tiny":
            return plan.spec
        return dataclasses.replace(plan.spec, model=str(self.tower_folder(tower)), weights=TINY_WEIGHTS)

    def architecture(self, tower: str) -> TowerSpec:
        """The tower without weights: for counts, before anything is trained or fetched."""
        plan = self.profile.towers[tower]
        if plan.kind == aligned.KIND:
            base = self.architecture(aligned.read_recipe(self.profile, tower).base)
            return dataclasses.replace(plan.spec, model=base.model, weights=None)
        spec = backbone.architecture(plan) if plan.kind == backbone.KIND else plan.spec
        return dataclasses.replace(spec, weights=None)

    def tower_ready(self, tower: str) -> bool:
        """Whether the tower needs no training (any more)."""
        kind = self.profile.towers[tower].kind
        if kind == aligned.KIND:
            return aligned.ready(self, tower)
        if kind == backbone.KIND:
            return backbone.ready(self.profile.towers[tower], self.store.cache)
        return kind != "tiny" or (self.tower_folder(tower) / TINY_SCORES).is_file()

    def tower_chain(self, tower: str) -> list[str]:
        """The tower and before it those it is trained from."""
        if self.profile.towers[tower].kind != aligned.KIND:
            return [tower]
        recipe = aligned.read_recipe(self.profile, tower)
        return [recipe.base, recipe.powerful, tower]

    def missing_tower(self, tower: str) -> list[Missing]:
        """What must still be downloaded before ``tower`` can be built."""
        plan = self.profile.towers[tower]
        if plan.kind == aligned.KIND:
            if aligned.ready(self, tower):
                return []
            parts = self.tower_chain(tower)[:-1]
            return [m for part in parts for m in self.missing_tower(part)] + self.missing_data(
                all_sets()[aligned.IMAGES]
            )
        if plan.kind != "open_clip":
            return []
        from repro.clip.weights import weights_digest

        try:
            weights_digest(plan.spec)
        except WeightsError as error:
            return [Missing(f"{plan.title} weights: {error.message}", error.mend or "repro doctor")]
        return []

    def ensure_tower(self, tower: str) -> TowerSpec:
        """A tower spec that can be built now, trained first where the profile trains its own."""
        plan = self.profile.towers[tower]
        if plan.kind == aligned.KIND:
            if not self.tower_ready(tower):
                self.store.check_space(2000)
                aligned.train(self, tower)
        elif plan.kind == backbone.KIND:
            if not self.tower_ready(tower):
                backbone.ensure(plan, self.store.cache)
        elif not self.tower_ready(tower):
            from repro.clip.tiny import TinyClipRecipe, train_tiny_clip
            from repro.experiments.progress import tower_progress

            folder = self.tower_folder(tower)
            self.store.check_space(300)
            entry = str(folder.relative_to(self.store.root))
            with self.store.lock(entry, wait=True), tower_progress(plan.title) as progress:
                train_tiny_clip(folder, TinyClipRecipe(**plan.recipe), progress)
        return self.tower_spec(tower)


def draw_miniature(
    root: Path, seed: int, sizes: Mapping[str, Any], log: Callable[[str], None] | None = None, *, prepared: bool = True
) -> None:
    """Draw the miniature below ``root`` with its contact sheet and, with ``prepared``, convert its labels."""
    from repro.benchmarks.prepare import prepare
    from repro.data.mini.contact_sheet import contact_sheet
    from repro.data.mini.panoptic import synth_panoptic
    from repro.data.mini.synth import SETS, MiniSizes, draw_scene, synth
    from repro.experiments.progress import count_progress

    mini = MiniSizes(**sizes)
    with count_progress("drawing the miniature", "picture") as update:
        synth(root, seed=seed, sizes=mini, progress=update)
    with count_progress("drawing the panoptic sets", "picture") as update:
        synth_panoptic(root, seed, mini, update)
    samples = [(name, i) for name in SETS for i in range(min(8, getattr(mini, name)))]
    contact_sheet([draw_scene(seed, name, i, mini) for name, i in samples], root / CONTACT_SHEET, seed=seed)
    if log:
        log(f"drew the miniature; to look at it: {root / CONTACT_SHEET}")
    if prepared:
        for set_id in all_sets():
            summary = prepare(set_id, root)
            if log:
                log(f"prepared {set_id}: {summary.images} images")
