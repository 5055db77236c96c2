"""Where the curve of a training goes beside its files: mmengine's visualization back-ends, by their short names."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import ResourceError, command, unknown_name

if TYPE_CHECKING:
    from mmengine.visualization.vis_backend import BaseVisBackend

NAMES = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbVisBackend", "mlflow": "MLflowVisBackend"}
"""Short name, which is that of the package it needs, to mmengine's class."""
DEFAULT = "tensorboard"
"""What is used where none is named and its package is there."""
NONE = "none"
PROJECT = "repro"
"""What a project or an experiment is called where the service's own variable of the environment names none."""


def check_boards(names: Sequence[str]) -> tuple[str, ...]:
    """Return ``names`` without "none"; UsageError for an unknown one."""
    for name in names:
        if name not in {*NAMES, NONE}:
            raise unknown_name("back-end", name, [*NAMES, NONE], mend=command("--vis-backends", DEFAULT))
    return tuple(dict.fromkeys(name for name in names if name != NONE))


class Boards:
    """The open back-ends of one training, ``names`` (None: TensorBoard, where it is installed).

    ``folder`` is that of the run, whose name is the run's there, too. A resumed training goes on in the same curve of
    TensorBoard and the same run of Weights & Biases; in MLflow it begins a new one of that name. Raises ResourceError
    where a package is absent or a service refuses, before any step.
    """

    def __init__(self, names: Sequence[str] | None, folder: Path, done: int, log: logging.Logger) -> None:
        self.open: dict[str, BaseVisBackend] = {}
        for name in (DEFAULT,) if names is None else names:
            try:
                self.open[name] = _open(name, folder, done)
            except ImportError as error:
                if names is None:
                    log.info("tensorboard is not installed: no event files (pip install tensorboard)")
                    continue
                self.close()
                raise ResourceError(
                    f"back-end {name} needs a package that is not installed",
                    expected=name,
                    found=str(error),
                    mend=command("pip", "install", name),
                ) from error
            except Exception as error:
                self.close()
                raise ResourceError(
                    f"back-end {name} cannot be opened",
                    found=f"{type(error).__name__}: {error}",
                    mend="correct its settings, or train without it: " + command("--vis-backends", NONE),
                ) from error

    def write(self, values: Mapping[str, float], iteration: int) -> None:
        """Send the values of one iteration by name."""
        for name, backend in self.open.items():
            if name == "wandb":  # mmengine drops the step there, and counts calls instead
                backend.experiment.log({**values, "iteration": iteration}, step=iteration)
            else:
                backend.add_scalars(dict(values), step=iteration)

    def close(self) -> None:
        """Finish what is open."""
        for name, backend in self.open.items():
            # mmengine's own close asks MLflow's for a configuration that was never given, and W&B's for what is gone.
            ends = {"wandb": "finish", "mlflow": "end_run"}
            getattr(backend.experiment, ends[name])() if name in ends else backend.close()
        self.open = {}


def _open(name: str, folder: Path, done: int) -> BaseVisBackend:
    from mmengine.visualization import vis_backend

    backend = getattr(vis_backend, NAMES[name])(**_words(name, folder))
    if name == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        backend._tensorboard = SummaryWriter(str(folder / name), purge_step=done + 1)  # later steps will come again
    else:
        backend._init_env()
    backend._env_initialized = True  # mmengine would open it at the first value: too late for an error
    return backend


def _words(name: str, folder: Path) -> dict[str, Any]:
    """Return what mmengine's class is made with."""
    place, run = str(folder / name), folder.name
    if name == "wandb":
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        return {"save_dir": place, "init_kwargs": {"project": project, "name": run, "id": run, "resume": "allow"}}
    if name == "mlflow":
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        store = (folder / name).resolve()
        store.mkdir(exist_ok=True)
        uri = (
            os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store / 'mlflow.db'}"
        )  # no more files since MLflow 3
        return {
            "save_dir": place,
            "exp_name": experiment,
            "run_name": run,
            "tracking_uri": uri,
            "artifact_location": store.as_uri(),
        }
    return {"save_dir": place}
