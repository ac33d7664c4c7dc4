"""How far a training has come, beside what the engine holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroport.engine.base import Metrics
from neuroport.runtime.checkpoint import Checkpoint
from neuroport.runtime.totals import together

Arrays = dict[str, np.ndarray]
Row = dict[str, Any]
# what a checkpoint holds of it as plain data, under these names
PLAIN = ("epoch", "piece", "epoch_seconds", "seconds", "history", "first_losses", "warned", "starts")


@dataclass
class Reached:
    """The course of a training up to a moment.

    epoch: how many are done. piece: how many pieces of the next one are; seen: their metrics;
    epoch_seconds: what they took. seconds: of the whole training. best: the parameters of the best
    epoch so far. first_losses: of the first steps. warned: sentences about layers. starts: the epochs
    (from 1) in which a process began: it compiles in them, so they say nothing of speed.
    """

    epoch: int = 0
    piece: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    history: list[Row] = field(default_factory=list)
    first_losses: list[float] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    best: Arrays = field(default_factory=dict)
    seen: list[Metrics] = field(default_factory=list)

    @staticmethod
    def of(checkpoint: Checkpoint) -> Reached:
        """What a checkpoint was taken of."""
        reached = Reached(**{name: checkpoint.facts[name] for name in PLAIN}, best=checkpoint.of_kind("best"))
        seen = checkpoint.of_kind("seen")
        if seen:
            reached.seen = [Metrics(seen["loss"], seen["correct"], seen["count"])]
        return reached

    def checkpoint(self, training: Mapping[str, np.ndarray], origin: Mapping[str, Any]) -> Checkpoint:
        """All of it, beside the engine's state of the training and who trains what."""
        arrays = {f"training/{name}": np.asarray(value) for name, value in training.items()}
        arrays |= {f"best/{name}": value for name, value in self.best.items()}
        if self.seen:
            loss, correct, count, *_ = together(self.seen)
            arrays |= {"seen/loss": loss, "seen/correct": correct, "seen/count": count}
        facts = {name: getattr(self, name) for name in PLAIN}
        return Checkpoint({**facts, **origin}, arrays)

    def conclude(self, row: Row) -> bool:
        """One more epoch; whether it is the best so far."""
        better = not self.history or rank(row) > rank(self.best_row)
        self.history.append(row)
        self.epoch, self.piece, self.epoch_seconds, self.seen = self.epoch + 1, 0, 0.0, []
        return better

    @property
    def best_row(self) -> Row:
        """The earliest of the best epochs."""
        return max(self.history, key=rank)


def rank(row: Mapping[str, Any]) -> tuple[float, float]:
    """Higher is better: accuracy on validation where there is one, then the lower loss."""
    accuracy = row["validation_accuracy"]
    return 0.0 if accuracy is None else accuracy, -row["validation_loss"]
