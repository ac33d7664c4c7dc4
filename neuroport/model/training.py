"""How a model is trained: loss, regularizers, optimizer, schedule; and the experiment around it.

Losses and regularizers are formulas in ``ops``; optimizers and schedules are definitions whose
arithmetic is the engine's (optax, torch.optim, or the NumPy default of ``engine/optimize.py``).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array
from neuroport.errors import Invalid, InvalidExperiment, Problem, listed
from neuroport.model.description import Description, nested, problems_of
from neuroport.model.graph import Model
from neuroport.model.kinds import Kind, Member
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Output


def _length(x: Array) -> Array:
    """How many entries the first axis of ``x`` has, as an array of its kind that has no derivative."""
    return ops.sum(ops.detach(x * 0.0 + 1.0), 0)


class Loss(Kind):
    """What training makes small: the mean of ``per_sample`` over the samples of a batch.

    output: which Output node is judged; needed only where the model has several.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    output: str | None = None

    @abc.abstractmethod
    def scores(self, outputs: Array) -> Array:
        """What a decision is taken from, (B, C), from outputs (T, B, C); the class is the largest."""

    @abc.abstractmethod
    def per_sample(self, outputs: Array, targets: Array) -> Array:
        """Loss of each sample, (B,), from outputs (T, B, C) and targets."""


class CrossEntropy(Loss):
    """Softmax cross-entropy of the readout, reduced over time before the softmax.

    over: "sum", "mean", "max" (ties share the gradient) or "last" of the T steps. Targets are
    class indices (B,).
    """

    over: Literal["sum", "mean", "max", "last"] = "mean"

    def scores(self, outputs: Array) -> Array:
        if self.over == "max":
            return ops.max(outputs, 0)
        if self.over == "last":
            return ops.take(outputs, 0, -1)
        summed = ops.sum(outputs, 0)
        return summed if self.over == "sum" else summed / _length(ops.take(outputs, 1, 0))

    def per_sample(self, outputs: Array, targets: Array) -> Array:
        scores = self.scores(outputs)  # (B, C)
        shifted = scores - ops.expand(ops.detach(ops.max(scores, 1)), 1, scores)
        chosen = ops.sum(shifted * ops.one_hot(targets, shifted), 1)
        return ops.log(ops.sum(ops.exp(shifted), 1)) - chosen


class Regularizer(Kind):
    """An addition to the loss, computed from the spikes of some populations.

    nodes: their names; all spiking neurons where not given.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    nodes: tuple[str, ...] | None = None

    @abc.abstractmethod
    def penalty(self, spikes: Array, weights: Array) -> Array:
        """A scalar from one population's spikes (T, B, N) and the samples' weights (B,), sum 1."""


class RateBounds(Regularizer):
    """strength * mean over neurons of (lower - rate)+^2 + (rate - upper)+^2, rates in spikes per step."""

    lower: float = Field(0.0, ge=0)
    upper: float = Field(1.0, ge=0)
    strength: float = Field(1.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> RateBounds:
        if self.lower > self.upper:
            wrong = f"lower {self.lower} exceeds upper {self.upper}"
            raise nested([Problem("lower", wrong, "swap them")])
        return self

    def penalty(self, spikes: Array, weights: Array) -> Array:
        rates = ops.sum(spikes, 0) / _length(ops.take(spikes, 1, 0))  # (B, N)
        rate = ops.sum(rates * ops.expand(weights, 1, rates), 0)  # (N,)
        below, above = ops.relu(self.lower - rate), ops.relu(rate - self.upper)
        return self.strength * ops.sum(below * below + above * above, 0) / _length(rate)


class Optimizer(Kind):
    """A first-order optimizer. learning_rate is the schedule's factor-one value."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)


class SGD(Optimizer):
    """m <- momentum m + g; p <- p - lr m. weight_decay adds weight_decay p to g."""

    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class Adam(Optimizer):
    """Kingma & Ba 2015; eps stands outside the root."""

    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)


class AdamW(Adam):
    """Adam with decoupled decay: p <- p - lr (Adam's step + weight_decay p) (Loshchilov & Hutter 2019)."""

    weight_decay: float = Field(1e-2, ge=0)


class Schedule(Kind):
    """How the learning rate moves over a training."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    @abc.abstractmethod
    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        """The learning rate's factor at each step of the whole training, (steps_per_epoch * epochs,)."""


class ConstantRate(Schedule):
    """The learning rate as it is given."""

    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        return np.ones(steps_per_epoch * epochs)


class Cosine(Schedule):
    """From 1 to ``final`` along half a cosine over the whole training (Loshchilov & Hutter 2017)."""

    final: float = Field(0.0, ge=0, le=1)

    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        progress = np.arange(steps_per_epoch * epochs) / (steps_per_epoch * epochs)
        return self.final + (1 - self.final) * 0.5 * (1 + np.cos(math.pi * progress))


class Exponential(Schedule):
    """Times ``gamma`` every epoch, a little at each step."""

    gamma: float = Field(0.95, gt=0, le=1)

    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        return self.gamma ** (np.arange(steps_per_epoch * epochs) / steps_per_epoch)


class Training(Description):
    """Everything that decides how parameters move. clip_norm bounds the gradient's global norm."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    loss: Annotated[Loss, Member(Loss)] = CrossEntropy()
    regularizers: tuple[Annotated[Regularizer, Member(Regularizer)], ...] = ()
    optimizer: Annotated[Optimizer, Member(Optimizer)] = Adam()
    schedule: Annotated[Schedule, Member(Schedule)] = ConstantRate()
    epochs: int = Field(10, gt=0)
    batch_size: int = Field(32, gt=0)
    clip_norm: float | None = Field(None, gt=0)

    def problems_with(self, model: Model) -> list[Problem]:
        """What of this training does not fit a model."""
        found = []
        outputs = [name for name, node in model.nodes.items() if isinstance(node, Output)]
        if self.loss.output is None and len(outputs) > 1:
            mend = f"name one of: {listed(outputs)}"
            found.append(Problem("loss.output", f"the model has {len(outputs)} outputs", mend))
        elif self.loss.output not in (None, *outputs):
            mend = f"the outputs are: {listed(outputs)}"
            found.append(Problem("loss.output", f"there is no Output {self.loss.output!r}", mend))
        elif isinstance(self.loss, CrossEntropy):
            judged = self.loss.output or outputs[0]
            if len(model.shapes[judged]) != 1:
                wrong = f"classes need an output of one axis, {judged!r} has shape {model.shapes[judged]}"
                found.append(Problem("loss", wrong, "put Flatten() or Linear before the Output"))
        spiking = [name for name, node in model.nodes.items() if isinstance(node, Neuron) and node.spiking]
        for index, regularizer in enumerate(self.regularizers):
            for name in regularizer.nodes or ():
                if name not in spiking:
                    mend = f"the spiking nodes are: {listed(spiking)}"
                    found.append(Problem(f"regularizers.{index}.nodes", f"{name!r} does not spike", mend))
        return found


class Data(Description):
    """Which data: a source's name and its options."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    source: str
    options: dict[str, Any] = {}


class Experiment(Description):
    """A model, the data it learns, and how. One seed decides initial values, batches and noise."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    name: str = ""
    model: Model
    data: Data | None = None
    training: Training = Training()
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: Any) -> Any:
        try:
            experiment = handler(data)
        except ValidationError as error:
            raise nested(problems_of(error, cls) + _salvaged(data)) from None
        problems = [problem.under("training") for problem in experiment.training.problems_with(experiment.model)]
        if problems:
            raise nested(problems)
        return experiment


def _salvaged(data: Any) -> list[Problem]:
    """What of the readable part of a training does not fit the model, where that can be read."""
    if not isinstance(data, Mapping):
        return []
    try:
        given = data.get("training", {})
        model = data["model"] if isinstance(data["model"], Model) else Model.parse(data["model"])
        kept = given if isinstance(given, Training) else Training.parse(
            {name: given[name] for name in ("loss", "regularizers") if name in given})
    except (KeyError, TypeError, Invalid):
        return []  # reported already
    return [problem.under("training") for problem in kept.problems_with(model)]
