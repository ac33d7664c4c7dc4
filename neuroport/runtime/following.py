"""What a training does with what its validation says: the plateau's learning rate, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuroport.model.schedules import plateau_of
from neuroport.model.training import Training


@dataclass
class Patience:
    """Counts epochs in a row that brought no better value: none more than ``min_delta`` beyond the best so far."""

    monitor: str
    patience: int
    min_delta: float
    best: float | None = None
    waited: int = 0

    def runs_out(self, row: Mapping[str, Any]) -> bool:
        """Hear of an epoch; whether ``patience`` of them have now passed in vain."""
        value = float(row[self.monitor])
        gain = None if self.best is None else value - self.best
        if gain is not None and self.monitor == "validation_loss":
            gain = -gain
        if gain is None or gain > self.min_delta:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.patience


class Following:
    """Hears of every epoch. factor: of the learning rate, by the plateau alone. stopped: by early stopping.

    All that it knows it knows from the rows, so a resumed training tells it the rows of before.
    """

    def __init__(self, training: Training, history: Sequence[Mapping[str, Any]] = ()):
        self.factor, self.stopped = 1.0, False
        self._plateau, stopping = plateau_of(training.schedule), training.early_stopping
        self._falling = self._plateau and Patience(
            self._plateau.monitor, self._plateau.patience, self._plateau.min_delta
        )
        self._stopping = stopping and Patience(stopping.monitor, stopping.patience, stopping.min_delta)
        for row in history:
            self.hear(row)

    def hear(self, row: Mapping[str, Any]) -> None:
        """One more epoch, as a line of metrics.jsonl."""
        if self._plateau and self._falling and self._falling.runs_out(row):
            self.factor = max(self.factor * self._plateau.factor, self._plateau.minimum)
            self._falling.waited = 0
        if self._stopping and self._stopping.runs_out(row):
            self.stopped = True
