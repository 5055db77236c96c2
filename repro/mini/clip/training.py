"""A tiny CLIP trained on the miniature, in open_clip's own model classes and checkpoint format.

The image tower pools over its patch tokens, so that the contrastive loss aligns what dense prediction reads. Captions
name things before stuff (:mod:`repro.mini.captions`): the model has the foreground bias of its large relatives.
Most steps see small parts of pictures: four times the pairs for the time, at the patch scale of whole ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from repro.errors import WeightsError
from repro.files import read_json, write_atomic, write_json
from repro.hashing import digest
from repro.mends import make_again
from repro.mini.clip.data import Batch, PairStream
from repro.mini.clip.model import MEAN, STD, build, training_loss
from repro.mini.clip.optim import Optimisers, rate
from repro.mini.clip.scores import score
from repro.preemption import deferred
from repro.training.loop import Checkpoints, Progress, Task, Told, run

CONFIG, WEIGHTS, SCORES, PARTIAL = "open_clip_config.json", "open_clip_pytorch_model.bin", "scores.json", "training.pt"


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of training: ``batch`` pairs a step on images of ``side`` pixels.

    ``crops_first`` to ``crops_last`` is the share of single-concept crops, the others are windows of scenes, ``zoom``
    (fractions of the scene's height, for images of the model's full size), ``windows`` of each scene.
    A share ``listed`` of the captions list all that is there. The others name the concept of a crop, and of a window
    the things, with probability ``stuff_named`` stuff beside them. ``patch_weight``, ``word_weight``, ``list_weight``
    and ``region_weight`` weigh the losses of single patches (:func:`repro.mini.clip.model.training_loss`).
    ``keep`` is the share of an image's patches that is looked at (as in FLIP, Li et al. 2023): more pairs for the time.
    """

    steps: int
    batch: int
    side: int
    crops_first: float = 1.0
    crops_last: float = 0.5
    crop_scale: tuple[float, float] = (0.5, 1.1)
    grain: tuple[float, float] = (0.8, 2.6)
    zoom: tuple[float, float] = (0.35, 1.0)
    windows: int = 4
    stuff_named: float = 0.25
    listed: float = 0.0
    patch_weight: float = 0.3
    word_weight: float = 0.0
    list_weight: float = 0.0
    region_weight: float = 0.0
    keep: float = 1.0


@dataclasses.dataclass(frozen=True)
class TinyClipRecipe:
    """Everything that decides the weights, with the number of threads. Lengths are pixels, shares are fractions.

    ``lr`` drives AdamW, ``matrix_lr`` Muon, ``token_lr`` the word embedding. ``phases`` may be given as mappings, as a
    configuration file has them.
    """

    seed: int = 0
    phases: tuple[Phase, ...] = (
        Phase(460, 128, 32, 1.0, 0.8, crop_scale=(0.6, 1.3)),
        Phase(270, 64, 64, 0.8, 0.8, crop_scale=(0.5, 1.08), grain=(0.8, 2.2)),
    )
    lr: float = 2e-3
    matrix_lr: float = 0.006
    token_lr: float = 4e-3
    warmup: int = 50
    weight_decay: float = 0.05
    width: int = 128
    layers: int = 3
    head_width: int = 32
    embed_dim: int = 96
    image_size: int = 64
    patch_size: int = 8
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 4
    context_length: int = 24
    scene_scale: float = 1.75
    threads: int = 2
    workers: int = 1
    checkpoint_every: int = 100
    score_crops: int = 6
    score_scenes: int = 200

    def __post_init__(self) -> None:
        phases = (Phase(**p) if isinstance(p, Mapping) else p for p in self.phases)
        object.__setattr__(self, "phases", tuple(phases))

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[Phase, float]:
        """Return the phase of a step and the fraction of that phase that is done; IndexError beyond the last."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step / phase.steps
            step -= phase.steps
        raise IndexError("step lies beyond the last phase")

    def config(self) -> dict[str, Any]:
        """Return the contents of ``open_clip_config.json``."""
        return {
            "model_cfg": {
                "embed_dim": self.embed_dim,
                "vision_cfg": {
                    "image_size": self.image_size,
                    "layers": self.layers,
                    "width": self.width,
                    "head_width": self.head_width,
                    "patch_size": self.patch_size,
                    "pool_type": "avg",
                },
                "text_cfg": {
                    "context_length": self.context_length,
                    "vocab_size": 49408,
                    "width": self.text_width,
                    "heads": self.text_heads,
                    "layers": self.text_layers,
                },
            },
            "preprocess_cfg": {
                "mean": list(MEAN),
                "std": list(STD),
                "interpolation": "bilinear",
                "resize_mode": "squash",
            },
        }

    def address(self) -> str:
        """Return a digest of everything above: another one means other weights."""
        return digest(dataclasses.asdict(self))


TEST_RECIPE = TinyClipRecipe(
    phases=(
        Phase(4, 8, 16, windows=2),
        Phase(2, 6, 32, 0.5, 0.5, windows=2, listed=0.5, word_weight=1.0, list_weight=1.0, region_weight=0.5, keep=0.5),
    ),
    width=32,
    layers=3,
    head_width=16,
    embed_dim=16,
    image_size=32,
    text_width=16,
    text_layers=1,
    text_heads=2,
    warmup=2,
    threads=1,
    workers=0,
    checkpoint_every=2,
    score_crops=1,
    score_scenes=4,
)
"""Seconds, and knows nothing: for tests of the plumbing."""


def train_tiny_clip(folder: Path, recipe: TinyClipRecipe, progress: Progress | None = None) -> Path:
    """Train a tiny CLIP into ``folder`` and return the folder; at once where it is finished already.

    The folder then holds open_clip's configuration and weights (``open_clip.create_model("local-dir:<folder>")``
    builds it) and scores.json, which is written last: it is there only when all is. A run that was ended goes on from
    its last checkpoint and ends with the same weights. Raises WeightsError where the folder holds another recipe's
    work, ResourceError where it cannot be written.
    """
    folder = Path(folder)
    if (folder / SCORES).is_file():
        _same_recipe(read_json(folder / SCORES).get("recipe"), recipe, folder)
        return folder
    with _threads(recipe.threads), deferred():
        training = _TinyTraining(recipe)
        checkpoints = Checkpoints(folder / PARTIAL, recipe.address(), recipe.checkpoint_every, "cache")
        watching = [Told(progress, recipe.steps)] if progress else []
        seconds = run(training, checkpoints, watching, seed=recipe.seed)
        weights = {name: value.contiguous() for name, value in training.model.state_dict().items()}
        write_json(folder / CONFIG, recipe.config())
        write_atomic(folder / WEIGHTS, lambda stream: torch.save(weights, stream))
        facts = {
            "recipe": recipe.address(),
            "seconds": round(seconds, 1),
            "steps": recipe.steps,
            "pairs": sum(phase.steps * phase.batch for phase in recipe.phases),
            "threads": recipe.threads,
            "torch": torch.__version__,
            "machine": platform.processor() or platform.machine(),
        }
        write_json(folder / SCORES, {**facts, **score(training.model, recipe)})
    (folder / PARTIAL).unlink(missing_ok=True)
    return folder


class _TinyTraining(Task[Batch]):
    """The contrastive training as the loop takes it."""

    def __init__(self, recipe: TinyClipRecipe) -> None:
        self.recipe, self.total, self.model = recipe, recipe.steps, build(recipe)
        self.model.train()
        rates = (recipe.lr, recipe.matrix_lr, recipe.token_lr)
        self.optimisers = Optimisers(self.model, *rates, recipe.weight_decay)

    def batches(self, first: int) -> Iterator[Batch]:
        workers = self.recipe.workers
        loader = DataLoader(
            PairStream(self.recipe),
            batch_size=None,
            sampler=range(first, self.total),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
        return iter(loader)

    def step(self, number: int, batch: Batch) -> dict[str, float]:
        recipe, model = self.recipe, self.model
        grid, side = recipe.image_size // recipe.patch_size, batch.images.shape[1] // recipe.patch_size
        rng = np.random.default_rng([recipe.seed, 2, number])
        y, x = rng.integers(max(1, grid - side + 1), size=2).tolist()
        phase = recipe.phase_at(number)[0]
        count = round(phase.keep * side * side)
        kept = None if count == side * side else torch.from_numpy(np.sort(rng.permutation(side * side)[:count]))
        loss = training_loss(model, batch, (y, x), kept, phase)
        model.zero_grad()
        loss.backward()
        self.optimisers.step(rate(number, self.total, recipe.warmup))
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(100)))
        return {"loss": loss.item(), "scale": model.logit_scale.exp().item()}

    def state(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimisers": self.optimisers.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimisers.load_state_dict(state["optimisers"])


def _same_recipe(found: object, recipe: TinyClipRecipe, folder: Path) -> None:
    if found != recipe.address():
        raise WeightsError(
            f"{folder} holds a tiny CLIP of another recipe",
            expected=f"recipe {recipe.address()}",
            found=f"recipe {found}",
            mend=make_again(folder, "cache"),
        )


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Run torch with ``count`` threads: their number decides the order of sums, so the last bits of the weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
