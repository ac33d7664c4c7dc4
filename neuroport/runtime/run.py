"""The result of one training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from neuroport.errors import UnusableFolder
from neuroport.model.graph import Model
from neuroport.model.training import Experiment
from neuroport.runtime.checkpoint import BrokenCheckpoint, Checkpoint
from neuroport.runtime.folder import BEST, EXPERIMENT, FILES, LAST, METRICS, SUMMARY, checkpoint_files, held_files


@dataclass(frozen=True, eq=False)
class Run:
    """One training.

    parameters: the best on validation, by "node.parameter"; last: those of the last epoch.
    summary: what stands in summary.json; None where the training has not ended yet. history: one row per
    epoch, the lines of metrics.jsonl. folder: where it was written, if it was.
    """

    experiment: Experiment
    parameters: dict[str, np.ndarray]
    last: dict[str, np.ndarray]
    summary: dict[str, Any] | None
    history: list[dict[str, Any]]
    folder: Path | None = None

    def __repr__(self) -> str:
        done = "unfinished" if self.summary is None else f"on {self.summary['engine']}"
        return f"<Run {self.experiment.name or 'unnamed'} {done}, {len(self.history)} epochs, folder {self.folder}>"

    @property
    def trained_by(self) -> str | None:
        """The engine that trains it, as its summary or its newest checkpoint says; None where neither is there."""
        if self.summary is not None:
            return str(self.summary["engine"])
        for file in checkpoint_files(self.folder) if self.folder else ():
            try:
                return str(Checkpoint.read(file).facts["engine"])
            except (BrokenCheckpoint, LookupError):
                continue
        return None

    @property
    def model(self) -> Model:
        return self.experiment.model

    @staticmethod
    def load(folder: str | Path) -> Run:
        """A run from its folder; also one that was stopped, or is still under way, after its first epoch.

        Raises UnusableFolder where there is no run or a file of it cannot be read, and InvalidExperiment.
        """
        path = Path(folder)
        held = held_files(path)
        if EXPERIMENT not in held:
            wrong = "there is no such folder" if not path.is_dir() else "it holds no experiment.yaml"
            raise UnusableFolder(
                f"{path} is not the folder of a run: {wrong}\n"
                f"  mend: give the folder that training wrote (--out, fit(..., out=)), which holds {', '.join(FILES)}"
            )
        missing = [name for name in (BEST, LAST) if name not in held]
        if missing:
            raise UnusableFolder(
                f"the run in {path} holds no {' and no '.join(missing)}: its first epoch has not ended\n"
                "  mend: let it go on, with --resume or fit(..., resume=True)"
            )
        return Run(
            Experiment.load(path / EXPERIMENT), read_parameters(path / BEST), read_parameters(path / LAST),
            read_summary(path), _history(path / METRICS), path,
        )


def read_parameters(path: Path) -> dict[str, np.ndarray]:
    """Parameters from a safetensors file. Raises UnusableFolder where it is none."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError, ValueError, LookupError) as error:
        raise UnusableFolder(f"{path} cannot be read: {error}\n  mend: give it back from a copy") from None


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary in a run's folder, if it has one. Raises UnusableFolder where it cannot be read."""
    file = path / SUMMARY
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        raise UnusableFolder(f"{file} cannot be read: {error}\n  mend: give it back from a copy") from None
    return found


def _history(path: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; what a crash or a writer under way left of one more is passed over."""
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]
    except (OSError, ValueError) as error:
        raise UnusableFolder(f"{path} cannot be read: {error}\n  mend: give it back from a copy") from None
