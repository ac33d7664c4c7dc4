"""A small training that is done in a moment, and an engine whose numbers a test can spoil."""

from __future__ import annotations

import numpy as np
from neuroport_reference.engine import ReferenceEngine, ReferenceExecutable

import neuroport as npt
from neuroport.data import Splits, splits
from neuroport.engine.base import Metrics


def patterns(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that a few neurons can tell apart: early spikes on two channels, or on the two others."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    rates = np.where(y[:, None, None] == np.array([0, 0, 1, 1]), 0.5, 0.05)
    return (random.random((count, 12, 4)) < rates).astype(np.uint8), y


def small_data(train: int = 22) -> Splits:
    return splits(patterns(train, 0), patterns(10, 1), patterns(8, 2), name="patterns")


def small_experiment(**changes) -> npt.Experiment:
    model = npt.Model.sequential(input=(4,), dt=1e-3, layers=[
        npt.Linear(6, weight_init=changes.pop("weight_init", npt.FluctuationDriven(input_rate=0.3))),
        npt.LIF(tau=5e-3), npt.Linear(2, weight_init=npt.FluctuationDriven(input_rate=0.2)), npt.LI(tau=10e-3),
    ])
    fields = {name: changes.pop(name) for name in npt.Training.model_fields if name in changes}
    training = npt.Training(**{
        "optimizer": npt.Adam(learning_rate=changes.pop("learning_rate", 0.2)), "epochs": 4, "batch_size": 8, **fields
    })
    return npt.Experiment(name="small", model=model, training=training, **changes)


class Spoiled(ReferenceEngine):
    """The reference, but what its trainings report can be replaced.

    losses: of training, by epoch; accuracies and validation_losses: of the validation, by epoch.
    factors: of the learning rate at each step so far.
    """

    name = "spoiled"

    def __init__(self, losses=(), accuracies=(), validation_losses=()):
        self.factors = []
        self.losses, self.accuracies, self.validation_losses = losses, accuracies, validation_losses

    def compile(self, program, options):
        executable = _SpoiledExecutable(program, options)
        executable.engine, executable.evaluations = self, 0
        return executable


class _SpoiledExecutable(ReferenceExecutable):
    def train_segment(self, training, staged, order, mask, factors, noise, *more):
        training, found = super().train_segment(training, staged, order, mask, factors, noise, *more)
        self.engine.factors += factors.tolist()
        losses = self.engine.losses
        return training, found._replace(loss=found.loss * 0 + losses[noise[1]]) if losses else found

    def evaluate(self, handle, staged, order, mask) -> Metrics:
        found = super().evaluate(handle, staged, order, mask)
        epoch, self.evaluations = self.evaluations, self.evaluations + 1
        if epoch < len(self.engine.accuracies):
            found = found._replace(correct=self.engine.accuracies[epoch] * found.count)
        if epoch < len(self.engine.validation_losses):
            found = found._replace(loss=found.loss * 0 + self.engine.validation_losses[epoch])
        return found


class Stopped(Exception):
    """What ``StopAt`` raises."""


class StopAt(npt.callbacks.Callback):
    """Ends a training after an epoch, or after so many pieces of the next one, as a crash would."""

    def __init__(self, epoch: int, pieces: int = 0):
        self.epoch, self.pieces, self.seen = epoch, pieces, 0

    def on_piece(self, piece):
        self.seen += piece.epoch == self.epoch + 1
        if self.seen > self.pieces:  # the one before is behind it, with its checkpoint
            raise Stopped
