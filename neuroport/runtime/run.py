"""The result of one training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.model.graph import Model
from neuroport.model.training import Experiment


@dataclass(frozen=True, eq=False)
class Run:
    """One training, done.

    parameters: the best on validation, by "node.parameter"; last: those of the last epoch.
    summary: what stands in summary.json. history: one row per epoch, the lines of metrics.jsonl.
    folder: where it was written, if it was.
    """

    experiment: Experiment
    parameters: dict[str, np.ndarray]
    last: dict[str, np.ndarray]
    summary: dict[str, Any]
    history: list[dict[str, Any]]
    folder: Path | None = None

    @property
    def model(self) -> Model:
        return self.experiment.model
