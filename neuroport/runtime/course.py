"""A training under way: epochs in pieces, validation, what was best."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroport.data.order import batches, epoch_order
from neuroport.data.packing import Packed
from neuroport.data.source import Splits
from neuroport.engine.base import Metrics, Trainable
from neuroport.errors import TrainingDiverged
from neuroport.model.training import Experiment
from neuroport.program.initialize import init
from neuroport.runtime.activity import LayerWarning, complaints
from neuroport.runtime.callbacks import Callback, Piece
from neuroport.runtime.folder import BEST, LAST, RunFolder

FIRST_LOSSES = 10  # steps whose losses the summary keeps: what two engines are compared by
MOST_PIECES, SHORTEST_PIECE = 8, 4  # pieces an epoch, batches a piece


def piece_length(count: int) -> int:
    """How many batches a piece of an epoch of ``count`` batches holds.

    Pieces are equal where ``count`` has a divisor for it or is small, since each length is a program
    of its own to compile; else the last is shorter.
    """
    for parts in range(MOST_PIECES, 1, -1):
        if count % parts == 0 and count // parts >= SHORTEST_PIECE:
            return count // parts
    return count if count <= MOST_PIECES * SHORTEST_PIECE else math.ceil(count / MOST_PIECES)


@dataclass
class Course:
    """A training under way: what has been reached, and what was best."""

    experiment: Experiment
    executable: Trainable
    data: Splits
    folder: RunFolder | None
    callbacks: Sequence[Callback]
    best: dict[str, np.ndarray] = field(default_factory=dict)
    last: dict[str, np.ndarray] = field(default_factory=dict)
    best_row: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    first_losses: list[float] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def train(self) -> None:
        """All epochs."""
        executable, experiment = self.executable, self.experiment
        training = executable.init_training(executable.load(init(experiment.model, experiment.seed)))
        staged = executable.stage(self.data.train)
        validation = executable.stage(self.data.validation)
        for epoch in range(experiment.training.epochs):
            started = time.perf_counter()
            training, found = self._epoch(training, staged, epoch)
            executable.wait()
            seconds = time.perf_counter() - started
            handle = executable.current(training)
            judged = self._evaluate(handle, validation, self.data.validation)
            self._finite(float(judged.loss.mean()), epoch, "validation loss")
            self.last = executable.export(handle)
            self._conclude(epoch, found, judged, seconds)

    def _epoch(self, training: Any, staged: Any, epoch: int) -> tuple[Any, Metrics]:
        """One epoch, piece by piece; its metrics together."""
        experiment, started, seen = self.experiment, time.perf_counter(), []
        samples = epoch_order(len(self.data.train), experiment.seed, epoch)
        order, mask = batches(samples, experiment.training.batch_size)
        size = piece_length(len(order))
        for first in range(0, len(order), size):
            rows = slice(first, first + size)
            training, found = self.executable.train_segment(
                training, staged, order[rows], mask[rows], (experiment.seed, epoch)
            )
            seen.append(found)
            self.first_losses += found.loss.tolist()[: FIRST_LOSSES - len(self.first_losses)]
            self._finite(float(found.loss.sum()), epoch, "loss")
            together = _together(seen)
            done = int(together.count.sum())
            piece = Piece(epoch + 1, done, mean_loss(together), accuracy(together),
                          done / max(time.perf_counter() - started, 1e-9))
            for callback in self.callbacks:
                callback.on_piece(piece)
        return training, _together(seen)

    def _conclude(self, epoch: int, found: Metrics, judged: Metrics, seconds: float) -> None:
        """Record an epoch: history, warnings, the best parameters, the folder."""
        row = {
            "epoch": epoch + 1, "train_loss": mean_loss(found), "train_accuracy": accuracy(found),
            "validation_loss": mean_loss(judged), "validation_accuracy": accuracy(judged),
            "rates": {name: float(np.mean(rate, dtype=np.float64)) for name, rate in judged.rates.items()},
            "samples_per_second": len(self.data.train) / seconds, "seconds": seconds,
        }
        self.history.append(row)
        if epoch == 0:
            self.warned = complaints(self.executable.program, judged.rates)
            for sentence in self.warned:
                warnings.warn(sentence, LayerWarning, stacklevel=4)
        better = not self.best_row or _rank(row) > _rank(self.best_row)
        if better:
            self.best, self.best_row = self.last, row
        if self.folder is not None:
            self.folder.add_row(row)
            self.folder.write_parameters(LAST, self.last)
            if better:
                self.folder.write_parameters(BEST, self.best)
        for callback in self.callbacks:
            callback.on_epoch(row)

    def results(self) -> dict[str, Any]:
        """What the summary says of the best parameters, and of the speed."""
        handle = self.executable.load(self.best)
        found: dict[str, Any] = {"best_epoch": self.best_row["epoch"]}
        for part in ("train", "validation", "test"):
            found |= {f"{part}_loss": None, f"{part}_accuracy": None}  # a data set may lack a test part
        for part, packed in self.data.parts.items():
            metrics = self._evaluate(handle, self.executable.stage(packed), packed)
            found |= {f"{part}_loss": mean_loss(metrics), f"{part}_accuracy": accuracy(metrics)}
        timed = self.history[1:] or self.history  # the first epoch compiles
        return {
            **found, "samples_per_second": len(self.data.train) * len(timed) / sum(row["seconds"] for row in timed),
            "first_losses": self.first_losses, "rates": self.best_row["rates"], "warnings": self.warned,
        }

    def _evaluate(self, handle: Any, staged: Any, packed: Packed) -> Metrics:
        order, mask = batches(np.arange(len(packed)), self.experiment.training.batch_size)
        return self.executable.evaluate(handle, staged, order, mask)

    def _finite(self, value: float, epoch: int, what: str) -> None:
        if not math.isfinite(value):
            rate = self.experiment.training.optimizer.learning_rate
            raise TrainingDiverged(
                f"the {what} became {value} in epoch {epoch + 1} of {self.experiment.training.epochs}\n"
                f"  try: a smaller training.optimizer.learning_rate (now {rate:g}), training.clip_norm: 1.0, "
                "smaller initial weights"
                + (f"\n  what was reached before stands in {self.folder.path}" if self.folder else "")
            )


def _rank(row: dict[str, Any]) -> tuple[float, float]:
    """Higher is better; among equals the earlier epoch stays."""
    return row["validation_accuracy"], -row["validation_loss"]


def _together(seen: Sequence[Metrics]) -> Metrics:
    """Metrics of several runs of batches as one; rates are left out."""
    loss, correct, count = (np.concatenate([found[position] for found in seen]) for position in range(3))
    return Metrics(loss, correct, count, {})


def mean_loss(metrics: Metrics) -> float:
    """Loss per sample, padding not counted."""
    return float(np.average(metrics.loss.astype(np.float64), weights=metrics.count))


def accuracy(metrics: Metrics) -> float:
    """Share of samples decided rightly, padding not counted."""
    return float(metrics.correct.sum(dtype=np.float64) / metrics.count.sum(dtype=np.float64))
