"""The alignment training, in one process or several that average their gradients; resumable.

Both models see the same framed images and boxes. Only the last blocks of the trained one's image encoder learn; what is
left in the end is its weights mixed with the original ones, as the folder of an open_clip model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from baselines.densevlm import ALIGNMENT
from baselines.densevlm.categories import load_categories
from baselines.densevlm.data import Batch, RegionSet, collate
from baselines.densevlm.distillation import feature_distillation, logit_distillation
from baselines.densevlm.loss import Alignment, decoupled_alignment, region_logits
from baselines.densevlm.measured import Measured
from baselines.densevlm.options import WITHOUT_EFFECT, DenseVLMOptions
from baselines.densevlm.teacher import Premise, label_logits, premise, refuse_weak
from baselines.densevlm.trained import RegionFeatures, make_projection, param_groups, train_last_blocks
from repro.clip.models import describe_model
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.errors import DataError, ReproError, RunError, UsageError
from repro.files import read_json, write_json
from repro.mends import make_again
from repro.methods.alignments import CONFIG, FACTS, WEIGHTS, Labels
from repro.methods.weights import save_torch
from repro.metrics.regions.prompts import VILD63, category_embeddings
from repro.mini.clip.optim import rate
from repro.preemption import deferred
from repro.training.loop import Checkpoints, Observer, Progress, Task, Told, run
from repro.training.optim import AutocastOptimWrapper
from repro.training.sampler import StreamSampler
from repro.training.train_set import start_worker

CHECKPOINT = "training.pt"
_CURVE_POINTS = 50


def align(
    base: TowerSpec,
    powerful: TowerSpec,
    options: DenseVLMOptions,
    images: Sequence[Path],
    folder: Path,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    progress: Progress | None = None,
    labels: Labels | None = None,
) -> Path:
    """Align the tower ``base`` with ``powerful`` on ``images`` and return ``folder``, which then holds the result.

    The folder is a model of :class:`TowerSpec` (``model=folder, weights=WEIGHTS``) with ``alignment.json`` written
    last; a finished one is left alone. A stopped training resumes from its last checkpoint. Text embeddings are kept in
    ``cache``. Under torch.distributed every process takes its share of the images and the first one writes.

    ``labels`` are the images' label maps where they are known. By them it is measured whether ``powerful`` names the
    regions better than ``base``; they teach only where the options say so.

    Raises DataError for no or unreadable images, RunError for a folder of another training, for a loss that is not
    finite and for a teacher that is no better than its student, UsageError for labels that should teach and are not
    there, WeightsError for towers that cannot be built.
    """
    if not images:
        raise DataError("no image to align on", mend="name a folder with images")
    images, labels = _share(images, labels, options.image_share, seed)
    fingerprint = _fingerprint(base, powerful, options, images, seed)
    if (folder / FACTS).is_file():
        found = read_json(folder / FACTS).get("fingerprint")
        if found != fingerprint:
            raise RunError(
                f"{folder} holds another alignment",
                expected=f"towers, options, images and seed of {fingerprint}",
                found=found,
                mend=make_again(folder, "cache"),
            )
        return folder
    training = _Training(base, powerful, options, images, seed, torch.device(device), cache, labels)
    checkpoints = Checkpoints(folder / CHECKPOINT, fingerprint, options.checkpoint_every, "cache")
    watching: list[Observer] = [training.measured, *([Told(progress, training.total)] if progress else [])]
    with deferred():
        seconds = round(run(training, checkpoints, watching, seed=seed), 1)
        if training.rank == 0:
            save_torch(folder / WEIGHTS, training.mixed())
            write_json(folder / CONFIG, _open_clip_config(base))
            facts = {"fingerprint": fingerprint, "seconds": seconds, "processes": training.world}
            write_json(folder / FACTS, {**facts, **training.facts(), "options": dataclasses.asdict(options)})
            (folder / CHECKPOINT).unlink(missing_ok=True)
        if training.world > 1:
            dist.barrier()
    return folder


class _Training(Task[Batch]):
    """Both towers and the optimiser, as the loop takes them."""

    def __init__(
        self,
        base: TowerSpec,
        powerful: TowerSpec,
        options: DenseVLMOptions,
        images: Sequence[Path],
        seed: int,
        device: torch.device,
        cache: Path | None,
        labels: Labels | None = None,
    ) -> None:
        together = dist.is_initialized()
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
        self.options, self.device, self.labels, self.cache = options, device, labels, cache
        a_step = options.batch_size * self.world
        self.total = options.iterations or options.epochs * (len(images) // a_step)
        if self.total < 1:
            raise DataError("fewer images than a step takes", expected=f"{a_step} or more", found=len(images))
        if options.teacher == "labels" and labels is None:
            raise UsageError(
                "the labels of the images should teach, but there are none",
                expected="the training set's images with their labels",
                mend="leave teacher='labels' out of the options",
            )
        self.images = images
        self.premise: Premise | None = None
        taught = (labels.files, len(labels.names)) if labels is not None and options.teacher == "labels" else ()
        self.data = RegionSet(images, options.image_size, options.max_split, seed, *taught)
        self.sampler = StreamSampler(len(images), self.total * a_step, seed, self.rank, self.world)
        self.tower, self.teacher = build_tower(base).to(device), build_tower(powerful).to(device)
        self.original = {name: tensor.detach().clone() for name, tensor in self.tower.open_clip_state().items()}
        self.teacher.train_only()
        train_last_blocks(self.tower, options.blocks)
        categories = load_categories(options.categories)
        things = list(categories.things)
        if options.last_thing_is_stuff:
            things[max(i for i, thing in enumerate(things) if thing)] = False
        self.things = torch.tensor(things, device=device)
        self.texts = [self._text(tower, categories.names, cache) for tower in (self.tower, self.teacher)]
        self.temperatures = [
            1 / float(t.logit_scale) if options.temperature == "tower" else options.temperature
            for t in (self.tower, self.teacher)
        ]
        self.projection = None
        if options.objective == "features":
            texts = (self.texts[0], self.texts[1]) if options.projection == "text" else None
            self.projection = make_projection(self.tower.embed_dim, self.teacher.embed_dim, seed, texts)
        features: nn.Module = RegionFeatures(self.tower, self.projection).to(device)
        if self.world > 1 and options.average_gradients:
            ids = [device.index] if device.type == "cuda" and device.index is not None else None
            features = DistributedDataParallel(features, device_ids=ids)
        self.student, self.powerful = features, RegionFeatures(self.teacher)
        optimizer = torch.optim.AdamW(param_groups(features, options.weight_decay), lr=options.lr)
        self.optim = AutocastOptimWrapper(optimizer, options.amp if device.type == "cuda" else "off", device, 0)
        self.sums, self.curve = torch.zeros(3, dtype=torch.float64), list[dict[str, float]]()
        self.measured = Measured(device)

    def _text(self, tower: ClipTower, names: Sequence[str], cache: Path | None) -> Tensor:
        text = category_embeddings(tower, names, cache, self.options.templates or VILD63)
        return F.normalize(text, dim=-1) if self.options.unit_text else text

    def begin(self, first: int) -> None:
        """Measure, once, whether the teacher has something to teach where labels tell; RunError where it has not."""
        o, labels = self.options, self.labels
        if labels is None or o.teacher == "labels" or self.premise is not None:
            return
        texts = [F.normalize(self._text(t, labels.names, self.cache), dim=-1) for t in (self.teacher, self.tower)]
        retrieval = (self.texts[1], self.temperatures[1])
        data = RegionSet(self.images, o.image_size, o.max_split, self.data.seed, labels.files, len(labels.names))
        towers = (self.powerful, RegionFeatures(self.tower))
        self.premise = premise(towers, texts, data, retrieval, o.threshold)
        if not o.accept_weak_teacher:
            refuse_weak(self.premise)

    def batches(self, first: int) -> Iterator[Batch | ReproError]:
        self.sampler.start = first * self.options.batch_size * self.world
        return iter(self._loader())

    def step(self, number: int, batch: Batch) -> dict[str, float]:
        rates = rate(number, self.total, self.options.warmup_iterations)
        for group in self.optim.optimizer.param_groups:
            group["lr"] = self.options.lr * rates
        with self.optim.optim_context(self.student):
            outcome = self.loss(batch.to(self.device))
        value = float(outcome.loss.detach())
        if not math.isfinite(value):
            raise RunError(f"the alignment diverged at step {number + 1}", found=value, mend="lower lr")
        self.optim.update_params(outcome.loss)
        self._note(number + 1, value, outcome)
        return {"loss": value}

    def loss(self, batch: Batch) -> Alignment:
        """Return the loss of one batch of this process."""
        images, o = batch.images.float(), self.options
        with torch.no_grad():
            wanted = self.powerful(images, batch.boxes) if batch.shares is None else None
        own = self.student(images, batch.boxes)
        with torch.autocast(self.device.type, enabled=False):
            if wanted is not None and o.objective == "features":
                return feature_distillation(own, wanted, batch.valid, reduction=o.reduction)
            named, valid = self._named(wanted, batch)
            logits = region_logits(own, self.texts[0], self.temperatures[0])
            if o.objective == "logits":
                return logit_distillation(logits, named, valid, things=self.things, reduction=o.reduction)
            return decoupled_alignment(
                logits,
                named,
                valid,
                thing_classes=o.thing_classes,
                stuff_classes=o.stuff_classes,
                reduction=o.reduction,
                things=self.things,
                threshold=o.threshold,
            )

    def _named(self, wanted: Tensor | None, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the teacher's logits (B, R, N) of the regions, and which regions (B, R) it has any for."""
        if batch.shares is not None:
            return label_logits(batch.shares), batch.valid & (batch.shares.amax(dim=-1) > 0)
        assert wanted is not None
        return region_logits(wanted, self.texts[1], self.temperatures[1]), batch.valid

    def _loader(self) -> DataLoader[Any]:
        return DataLoader(
            self.data,
            batch_size=self.options.batch_size,
            sampler=self.sampler,
            num_workers=self.options.workers,
            collate_fn=collate,
            drop_last=True,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=start_worker if self.options.workers else None,
        )

    def _note(self, done: int, loss: float, outcome: Alignment) -> None:
        """Add to the curve: means of the loss and of the regions a batch keeps, about fifty points in all."""
        self.sums += torch.tensor([loss, float(outcome.thing), float(outcome.stuff)], dtype=torch.float64)
        every = max(1, self.total // _CURVE_POINTS)
        if done % every == 0:
            loss, things, stuff = (self.sums / every).tolist()
            regions = {"thing_regions": things, "stuff_regions": stuff}
            if self.projection is not None:  # no category is retrieved
                regions = {"regions": things + stuff}
            self.curve.append({"step": done, "loss": loss, **regions})
            self.sums.zero_()

    def mixed(self) -> dict[str, Tensor]:
        """Return the trained weights mixed with the original ones, under open_clip's names, on the CPU."""
        trained = self.tower.open_clip_state()
        return {
            name: (before.lerp(trained[name], self.options.mixing) if before.is_floating_point() else before).cpu()
            for name, before in self.original.items()
        }

    def facts(self) -> dict[str, Any]:
        """Return facts about the finished training, as plain data."""
        trained = sum(p.numel() for p in self.tower.parameters() if p.requires_grad)
        facts = {"steps": self.total, "trained_parameters": trained, "torch": torch.__version__, "curve": self.curve}
        epochs = self.total * self.options.batch_size * self.world / len(self.images)
        facts["cost"] = {"images": len(self.images), **self.measured.facts(epochs)}
        return {**facts, "premise": self._premise_facts()}

    def _premise_facts(self) -> dict[str, Any] | None:
        return None if self.premise is None else dataclasses.asdict(self.premise)

    def state(self) -> dict[str, Any]:
        """Return the un-mixed weights and everything else a later process needs to continue."""
        return {
            "trained": {n: p.detach().cpu() for n, p in self.tower.named_parameters() if p.requires_grad},
            "optimizer": self.optim.state_dict(),
            **({} if self.projection is None else {"projection": self.projection.state_dict()}),
            "sums": self.sums,
            "curve": self.curve,
            "premise": self._premise_facts(),
            "measured": self.measured.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.tower.load_state_dict(state["trained"], strict=False)
        self.optim.load_state_dict(state["optimizer"])
        self.sums, self.curve = state["sums"], list(state["curve"])
        self.premise = Premise(**state["premise"]) if state.get("premise") else None
        if self.projection is not None:
            self.projection.load_state_dict(state["projection"])
        self.measured.restore(state.get("measured", {}))


def _share(
    images: Sequence[Path], labels: Labels | None, share: float, seed: int
) -> tuple[Sequence[Path], Labels | None]:
    """Return a random ``share`` of the images, at least one, in their order; a smaller share is part of a larger."""
    if share == 1:
        return images, labels
    count = max(1, round(share * len(images)))
    kept = sorted(np.random.default_rng((seed, 0)).permutation(len(images))[:count].tolist())
    if labels is not None:
        labels = dataclasses.replace(labels, files=tuple(labels.files[i] for i in kept))
    return [images[i] for i in kept], labels


def _open_clip_config(base: TowerSpec) -> dict[str, Any]:
    described = describe_model(base)
    normalisation = {"mean": list(described.mean), "std": list(described.std)}
    return {"model_cfg": described.config, "preprocess_cfg": normalisation}


def _fingerprint(
    base: TowerSpec, powerful: TowerSpec, options: DenseVLMOptions, images: Sequence[Path], seed: int
) -> str:
    """Return twelve hex digits over what decides the outcome, the contents of weights and images aside."""
    kept = {k: v for k, v in ALIGNMENT.values(options).items() if k not in WITHOUT_EFFECT}
    specs = [{**dataclasses.asdict(s), "model": os.path.basename(s.model)} for s in (base, powerful)]  # noqa: PTH119
    payload = json.dumps([specs, kept, [image.name for image in images], seed], sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()[:12]
