"""A training under way: epochs in pieces, validation, what was best."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroport.data.order import batches, epoch_order, epoch_partners
from neuroport.data.packing import Packed
from neuroport.data.splits import Splits
from neuroport.engine.base import Metrics, Trainable
from neuroport.errors import TrainingDiverged
from neuroport.model.training import Experiment, Training
from neuroport.program.augment import needs_partner
from neuroport.runtime.activity import LayerWarning, complaints
from neuroport.runtime.callbacks import Callback, Piece
from neuroport.runtime.checkpoint import Checkpoint, Keeper
from neuroport.runtime.folder import BEST, LAST, RunFolder
from neuroport.runtime.following import Following
from neuroport.runtime.placement import Placement, Rows, place
from neuroport.runtime.reached import Reached
from neuroport.runtime.totals import accuracy, mean_loss, means, together

FIRST_LOSSES = 10  # batches whose losses the summary keeps: what two engines are compared by
MOST_PIECES, SHORTEST_PIECE = 8, 4  # pieces an epoch, steps of the optimizer a piece


def piece_length(count: int) -> int:
    """How many steps of the optimizer a piece of an epoch of ``count`` of them holds.

    Pieces are equal where ``count`` has a divisor for it or is small, since each length is a program
    of its own to compile; else the last is shorter.
    """
    for parts in range(MOST_PIECES, 1, -1):
        if count % parts == 0 and count // parts >= SHORTEST_PIECE:
            return count // parts
    return count if count <= MOST_PIECES * SHORTEST_PIECE else math.ceil(count / MOST_PIECES)


def steps_per_epoch(training: Training, samples: int) -> int:
    """Steps of the optimizer: batches, ``accumulate`` of them at a time."""
    return math.ceil(math.ceil(samples / training.batch_size) / training.accumulate)


@dataclass
class Course:
    """A training under way: what it is made of, and what it has reached.

    origin: who trains what, for checkpoints. keeper: None where there are none. memory: bytes that data may take
    on the device; None: as measured. last: the parameters of the last epoch.
    """

    experiment: Experiment
    executable: Trainable
    data: Splits
    folder: RunFolder | None
    callbacks: Sequence[Callback]
    origin: Mapping[str, Any] = field(default_factory=dict)
    keeper: Keeper | None = None
    reached: Reached = field(default_factory=Reached)
    memory: int | None = None
    last: dict[str, np.ndarray] = field(default_factory=dict)

    def train(self, start: Mapping[str, np.ndarray], checkpoint: Checkpoint | None = None) -> None:
        """All epochs, from the parameters ``start``; or those that a checkpoint leaves."""
        self.started = time.perf_counter() - self.reached.seconds
        self.following = Following(self.settings, self.reached.history)
        training = self._begin(start, checkpoint)
        if self.over:
            self.last = self.executable.export(self.executable.current(training))
            return
        self.reached.starts.append(self.reached.epoch + 1)
        placed, validation = self._place(self.data.train), self._place(self.data.validation)
        while not self.over:
            training = self._epoch(training, placed)
            self._conclude(training, validation)

    def _place(self, packed: Packed) -> Placement:
        settings = self.settings
        return place(self.executable, packed, settings.batch_size, self.memory, settings.accumulate,
                     needs_partner(settings))

    def _begin(self, start: Mapping[str, np.ndarray], checkpoint: Checkpoint | None) -> Any:
        if checkpoint is not None:
            return self.executable.restore(checkpoint.of_kind("training"))
        return self.executable.init_training(self.executable.load(start))

    @property
    def settings(self) -> Training:
        return self.experiment.training

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or training was stopped early."""
        return self.reached.epoch >= self.settings.epochs or self.following.stopped

    def _factors(self) -> np.ndarray:
        """The learning rate's factor at each step of this epoch."""
        steps = steps_per_epoch(self.settings, len(self.data.train))
        every = self.settings.schedule.factors(steps, self.settings.epochs)
        return every[steps * self.reached.epoch : steps * (self.reached.epoch + 1)] * self.following.factor

    def _epoch(self, training: Any, placed: Placement) -> Any:
        """What is left of one epoch, piece by piece."""
        reached, group, seed = self.reached, self.settings.accumulate, self.experiment.seed
        samples = epoch_order(len(self.data.train), seed, reached.epoch)
        order, mask = batches(samples, self.settings.batch_size, group)
        partners = epoch_partners(self.data.train.labels, seed, reached.epoch)[order] if (
            needs_partner(self.settings)) else None
        factors, size = self._factors(), piece_length(len(mask) // group)
        if placed.longest is not None:
            size = min(size, placed.longest // group)
        done = sum(len(found.loss) for found in reached.seen) // group  # before an interruption
        cuts = [slice(first, min(first + size, len(factors))) for first in range(done, len(factors), size)]
        spans = [slice(cut.start * group, cut.stop * group) for cut in cuts]
        wanted = [Rows(order[span], None if partners is None else partners[span]) for span in spans]
        pieces = placed.pieces(wanted)
        for cut, span in zip(cuts, spans, strict=True):
            started = time.perf_counter()
            piece = next(pieces)
            training, found = self.executable.train_segment(
                training, piece.staged, piece.rows.order, mask[span], factors[cut], (seed, reached.epoch),
                piece.identities, piece.rows.partners,
            )
            reached.epoch_seconds += time.perf_counter() - started
            self._finite(float(found.loss.sum()), "loss")
            self._piece(found)
            self._keep(training)
        started = time.perf_counter()
        self.executable.wait()
        reached.epoch_seconds += time.perf_counter() - started
        return training

    def _piece(self, found: Metrics) -> None:
        """Record a piece of an epoch, and tell of it."""
        reached = self.reached
        reached.piece += 1
        reached.seen.append(found)
        real = found.loss[found.count > 0]
        reached.first_losses += real.tolist()[: FIRST_LOSSES - len(reached.first_losses)]
        seen = together(reached.seen)
        done = int(seen.count.sum())
        piece = Piece(reached.epoch + 1, done, mean_loss(seen), accuracy(seen, self.settings.loss),
                      done / max(reached.epoch_seconds, 1e-9))
        for callback in self.callbacks:
            callback.on_piece(piece)

    def _conclude(self, training: Any, validation: Placement) -> None:
        """Judge and record an epoch: history, warnings, the best parameters, the folder."""
        reached, handle = self.reached, self.executable.current(training)
        judged = validation.evaluate(handle)
        self._finite(float(judged.loss.sum()), "validation loss")
        self.last = self.executable.export(handle)
        row = self._row(judged)
        if not reached.history:
            reached.warned = complaints(self.executable.program, judged.rates)
            for sentence in reached.warned:
                warnings.warn(sentence, LayerWarning, stacklevel=4)
        better = reached.conclude(row)
        if better:
            reached.best = self.last
        self.following.hear(row)
        if self.folder is not None:
            self.folder.add_row(row)
            self.folder.write_parameters(LAST, self.last)
            if better:
                self.folder.write_parameters(BEST, reached.best)
        for callback in self.callbacks:
            callback.on_epoch(row)
        self._keep(training)  # after all have heard: a crash before it repeats the epoch, none is passed over

    def _row(self, judged: Metrics) -> dict[str, Any]:
        """An epoch as a line of metrics.jsonl."""
        seen, seconds = together(self.reached.seen), self.reached.epoch_seconds
        return {
            "epoch": self.reached.epoch + 1,
            "train_loss": mean_loss(seen), "train_accuracy": accuracy(seen, self.settings.loss),
            "validation_loss": mean_loss(judged), "validation_accuracy": accuracy(judged, self.settings.loss),
            "metrics": means(judged),
            "learning_rate": float(self.settings.optimizer.learning_rate * self._factors()[-1]),
            "rates": {name: float(np.mean(rate, dtype=np.float64)) for name, rate in judged.rates.items()},
            "samples_per_second": len(self.data.train) / max(seconds, 1e-9), "seconds": seconds,
        }

    def _keep(self, training: Any) -> None:
        """A checkpoint, if one is due."""
        reached = self.reached
        if self.keeper is None or not self.keeper.due(reached.epoch, reached.piece, self.over):
            return
        reached.seconds = time.perf_counter() - self.started
        self.keeper.write(reached.checkpoint(self.executable.snapshot(training), self.origin))

    def results(self) -> dict[str, Any]:
        """What the summary says of the best parameters, and of the speed."""
        reached, handle, best = self.reached, self.executable.load(self.reached.best), self.reached.best_row
        found: dict[str, Any] = {"epochs_trained": reached.epoch, "best_epoch": best["epoch"]}
        for part in ("train", "validation", "test"):
            found |= {f"{part}_loss": None, f"{part}_accuracy": None}  # a data set may lack a test part
        metrics: dict[str, Any] = {}
        for part, packed in self.data.parts.items():
            judged = self._place(packed).evaluate(handle)
            found |= {f"{part}_loss": mean_loss(judged), f"{part}_accuracy": accuracy(judged, self.settings.loss)}
            metrics[part] = means(judged)
        timed = [row for row in reached.history if row["epoch"] not in reached.starts] or reached.history
        seconds = sum(row["seconds"] for row in timed)
        return {
            **found, "metrics": metrics,
            "samples_per_second": len(self.data.train) * len(timed) / max(seconds, 1e-9),
            "first_losses": reached.first_losses, "rates": best["rates"], "warnings": reached.warned,
            "seconds": round(time.perf_counter() - self.started, 3),
        }

    def _finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            rate = self.settings.optimizer.learning_rate
            raise TrainingDiverged(
                f"the {what} became {value} in epoch {self.reached.epoch + 1} of {self.settings.epochs}\n"
                f"  try: a smaller training.optimizer.learning_rate (now {rate:g}), training.clip_norm: 1.0, "
                "smaller initial weights"
                + (f"\n  what was reached before stands in {self.folder.path}" if self.folder else "")
            )
