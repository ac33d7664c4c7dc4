"""Training from an experiment to a run, on any engine."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroport import __version__, registry
from neuroport.data.order import batches, epoch_order
from neuroport.data.packing import Packed
from neuroport.data.source import Splits
from neuroport.engine.base import Engine, Metrics, Options, Trainable
from neuroport.engine.choose import Choice, Wanted, choose
from neuroport.errors import InvalidData, InvalidExperiment, Problem, TrainingDiverged, UnsupportedModel
from neuroport.model.training import CrossEntropy, Experiment
from neuroport.program.initialize import init
from neuroport.program.lower import Program, lower
from neuroport.program.objective import judged_output
from neuroport.runtime.activity import LayerWarning, complaints
from neuroport.runtime.callbacks import Callback, Piece, Plan
from neuroport.runtime.folder import BEST, LAST, RunFolder
from neuroport.runtime.run import Run

FIRST_LOSSES = 10  # steps whose losses the summary keeps: what two engines are compared by
MOST_PIECES, SHORTEST_PIECE = 8, 4


def fit(
    experiment: Experiment, engine: str | Engine | None = None, out: str | Path | None = None,
    callbacks: Sequence[Callback] = (), device: str | None = None, data: Splits | None = None,
) -> Run:
    """Train, pick the best parameters on the validation set, judge those once on the test set.

    engine, device: names; None: the first that can. out: a folder for the run; None: nothing is written.
    data: your own, in place of the experiment's. Raises NeuroportError: InvalidExperiment, InvalidData,
    UnsupportedModel and others before anything runs, TrainingDiverged where a loss is no number.
    """
    data = load_data(experiment) if data is None else data
    check_fit(experiment, data)
    executable, choice = _compile(experiment, data, engine, device)
    folder = None if out is None else RunFolder.create(out, experiment)
    started = time.perf_counter()
    plan = Plan(
        experiment.name or "training", choice.name, choice.device, experiment.training.epochs, len(data.train)
    )
    run = None
    try:
        for callback in callbacks:
            callback.on_start(plan)
        course = _Course(experiment, executable, data, folder, callbacks)
        course.train()
        summary = {
            "engine": choice.name, "device": choice.device, "precision": choice.precision, "seed": experiment.seed,
            "epochs": experiment.training.epochs, **course.results(),
            "seconds": round(time.perf_counter() - started, 3),
            "data": data.name, "data_hash": data.content_hash, "model": experiment.model.fingerprint,
            "versions": _versions(choice.engine),
        }
        if folder is not None:
            folder.write_summary(summary)
        run = Run(experiment, course.best, course.last, summary, course.history, folder and folder.path)
    finally:
        for callback in callbacks:
            callback.on_end(run)
    return run


def load_data(experiment: Experiment) -> Splits:
    """The data that an experiment names. Raises InvalidExperiment or InvalidData."""
    if experiment.data is None:
        mend = "add `data: {source: braille}`, or give fit(..., data=npt.data.splits(train=(x, y), ...))"
        raise InvalidExperiment([Problem("data", "is missing", mend)])
    return registry.load_data(experiment.data.source, experiment.data.options)


def check_fit(experiment: Experiment, data: Splits) -> None:
    """Whether model and data fit together. Raises InvalidData with every problem."""
    program, training = lower(experiment.model), experiment.training
    problems = []
    if len(program.inputs) != 1:
        wrong = f"the model has {len(program.inputs)} inputs, a data set feeds one"
        problems.append(Problem("model", wrong, "train a model with a single Input"))
    for name, shape in program.inputs.items():
        if shape != data.shape and len(program.inputs) == 1:
            wrong = f"expects {shape} a step, the data has {data.shape}"
            problems.append(Problem(f"model.nodes.{name}", wrong, f"give the Input shape={data.shape}"))
    judged = program.outputs[judged_output(program, training)]
    if isinstance(training.loss, CrossEntropy) and judged[0] < data.classes:
        wrong = f"has {judged[0]} outputs, the data has {data.classes} classes"
        problems.append(Problem("model", wrong, f"end in a layer of {data.classes}, such as Linear({data.classes})"))
    if problems:
        raise InvalidData(problems, f"data {data.name!r} for this model")


def _compile(
    experiment: Experiment, data: Splits, engine: str | Engine | None, device: str | None
) -> tuple[Trainable, Choice]:
    """The executable, and the engine that was chosen for it. Raises UnsupportedModel with every gap."""
    program, training = lower(experiment.model), experiment.training
    wanted = Wanted(program, device, None, training, min(training.batch_size, len(data.train)))
    choice = choose(registry.registry(), wanted, engine)
    steps = math.ceil(len(data.train) / training.batch_size)
    factors = training.schedule.factors(steps, training.epochs)
    executable = choice.engine.compile(program, Options(choice.device, choice.precision, training, factors))
    if not isinstance(executable, Trainable):
        gap = Problem("training", "gradients, declared but not there: a fault of the engine")
        raise UnsupportedModel(choice.name, [gap])
    return executable, choice


def _versions(engine: Engine) -> dict[str, str]:
    """Versions of what computes."""
    return {"neuroport": __version__, "python": platform.python_version(), "numpy": np.__version__, **engine.versions()}


def pieces(count: int) -> int:
    """How many batches a piece of an epoch of ``count`` batches holds.

    Pieces of one epoch are equal wherever ``count`` has a divisor for it, since each length is a
    program of its own to compile.
    """
    parts = [parts for parts in range(1, MOST_PIECES + 1) if count % parts == 0 and count // parts >= SHORTEST_PIECE]
    if parts and (parts[-1] > 1 or count <= MOST_PIECES * SHORTEST_PIECE):
        return count // parts[-1]
    return max(1, math.ceil(count / MOST_PIECES)) if count > SHORTEST_PIECE else count


@dataclass
class _Course:
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

    @property
    def program(self) -> Program:
        return self.executable.program

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
        size = pieces(len(order))
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
            "rates": {name: float(np.mean(rate)) for name, rate in judged.rates.items()},
            "samples_per_second": len(self.data.train) / seconds, "seconds": seconds,
        }
        self.history.append(row)
        if epoch == 0:
            self.warned = complaints(self.program, judged.rates)
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
    return Metrics(*(np.concatenate([getattr(found, name) for found in seen]) for name in Metrics._fields[:3]), {})


def mean_loss(metrics: Metrics) -> float:
    """Loss per sample, padding not counted."""
    return float((metrics.loss * metrics.count).sum() / metrics.count.sum())


def accuracy(metrics: Metrics) -> float:
    """Share of samples decided rightly, padding not counted."""
    return float(metrics.correct.sum() / metrics.count.sum())
