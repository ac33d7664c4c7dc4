"""What training makes small: losses, each one formula in ``ops``.

A loss of your own is a subclass with a ``per_sample`` (and ``scores``, if its targets are classes);
it trains on every engine, whose gradients are derived from it.
"""

from __future__ import annotations

import abc
from typing import ClassVar, Literal

from pydantic import Field

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.errors import Invalid, InvalidExperiment
from neuroport.model.kinds import Kind


class Loss(Kind):
    """The mean of ``per_sample`` over the samples of a batch is what training makes small.

    output: which Output node is judged; needed only where the model has several. targets: what a
    data set must hold: "classes", indices (B,), or "traces", numbers (T, B, C). needs_spikes: whether
    the judged node must be fed by spiking neurons.

    outputs: (T, B, C), neuron axes as one. step: the model's time step, ``step.dt`` in seconds.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment
    targets: ClassVar[Literal["classes", "traces"]] = "classes"

    output: str | None = None

    @property
    def needs_spikes(self) -> bool:
        return False

    def scores(self, outputs: Array, step: Step) -> Array:
        """What a decision is taken from, (B, C): the class is the largest. By default the sum over time."""
        return ops.sum(outputs, 0)

    @abc.abstractmethod
    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        """Loss of each sample, (B,)."""


def cross_entropy(scores: Array, wanted: Array, axis: int) -> Array:
    """-sum wanted log softmax(scores) over an axis; wanted: of the same shape, sum 1 along it."""
    shifted = scores - ops.expand(ops.detach(ops.max(scores, axis)), axis, scores)
    return ops.log(ops.sum(ops.exp(shifted), axis)) - ops.sum(wanted * shifted, axis)


def smoothed(targets: Array, like: Array, smoothing: float) -> Array:
    """Class indices (B,) as shares (B, C): 1 - smoothing on the class, smoothing spread over all of them."""
    hit = ops.one_hot(targets, like)
    if smoothing == 0:
        return hit
    return (1.0 - smoothing) * hit + smoothing * ops.expand(ops.mean(hit, 1), 1, like)


def first_spike(spikes: Array) -> Array:
    """How many steps pass before the first spike, (B, C), from spikes (T, B, C) in {0, 1}; T where there is none.

    The sum over t of prod_{k <= t} (1 - z_k). Its derivative by one z_k is the change that this one
    spike makes: -(steps until the next spike) for the first spike, and for a place before it
    -(steps by which a spike there would come earlier).
    """
    silent = ops.where(spikes > 1.0, spikes * 0.0, 1.0 - spikes)  # several spikes a step are one
    at_start = silent - ops.shift(ops.shift(silent, -1), 1)
    return ops.sum(ops.recurrence(silent, at_start), 0)


class CrossEntropy(Loss):
    """Softmax cross-entropy of the readout, reduced over time before the softmax.

    over: "sum", "mean", "max" (ties share the gradient), "last" of the T steps, or "first_spike": minus
    the number of steps before it. label_smoothing: share of the target spread over all classes
    (Szegedy et al. 2016). Targets are class indices (B,).
    """

    over: Literal["sum", "mean", "max", "last", "first_spike"] = "mean"
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    @property
    def needs_spikes(self) -> bool:
        return self.over == "first_spike"

    def scores(self, outputs: Array, step: Step) -> Array:
        reduce = {
            "sum": lambda: ops.sum(outputs, 0), "mean": lambda: ops.mean(outputs, 0),
            "max": lambda: ops.max(outputs, 0), "last": lambda: ops.take(outputs, 0, -1),
            "first_spike": lambda: -first_spike(outputs),
        }
        return reduce[self.over]()

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        scores = self.scores(outputs, step)
        return cross_entropy(scores, smoothed(targets, scores, self.label_smoothing), 1)


class SpikeCountMSE(Loss):
    """Mean over classes of (spikes - wanted)^2: ``correct`` spikes of the target class, ``incorrect`` of the others."""

    correct: float = Field(10.0, ge=0)
    incorrect: float = Field(1.0, ge=0)

    def _counted(self, outputs: Array) -> Array:
        return ops.sum(outputs, 0)

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        counted = self._counted(outputs)
        wanted = self.incorrect + (self.correct - self.incorrect) * ops.one_hot(targets, counted)
        return ops.mean((counted - wanted) * (counted - wanted), 1)


class RateMSE(SpikeCountMSE):
    """Mean over classes of (rate - wanted)^2, rates in spikes per step."""

    correct: float = Field(0.8, ge=0)
    incorrect: float = Field(0.05, ge=0)

    def _counted(self, outputs: Array) -> Array:
        return ops.mean(outputs, 0)


class TraceMSE(Loss):
    """Mean over time and channels of (output - target)^2. Targets are traces (T, B, C)."""

    targets: ClassVar[Literal["classes", "traces"]] = "traces"

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        return ops.mean(ops.mean((outputs - targets) * (outputs - targets), 0), 1)


class VanRossum(Loss):
    """Distance of spike trains: (1/tau) integral (f - g)^2 dt, both filtered by exp(-t / tau) (van Rossum 2001).

    Exact for spikes at the beginnings of steps and a run that goes on until they have faded; summed over channels;
    tau in seconds. Targets are spike trains (T, B, C).
    """

    targets: ClassVar[Literal["classes", "traces"]] = "traces"

    tau: float = Field(10e-3, gt=0, allow_inf_nan=False)

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        apart = ops.recurrence(step.filter_decay(self.tau), outputs - targets)
        return step.filter_energy(self.tau) * ops.sum(ops.sum(apart * apart, 0), 1)


class TemporalCrossEntropy(Loss):
    """Cross-entropy of the times of first spikes, scores -t / tau: the first to spike decides (Mostafa 2017).

    early_strength adds early_strength (exp(t* / early_tau) - 1) for the time t* of the target class, so
    that right decisions come soon (Goeltz et al. 2021). A neuron that stays silent counts as spiking
    at the end. tau, early_tau: seconds.
    """

    tau: float = Field(5e-3, gt=0, allow_inf_nan=False)
    early_strength: float = Field(0.0, ge=0, allow_inf_nan=False)
    early_tau: float = Field(100e-3, gt=0, allow_inf_nan=False)

    @property
    def needs_spikes(self) -> bool:
        return True

    def scores(self, outputs: Array, step: Step) -> Array:
        return first_spike(outputs) * -step.fraction(self.tau)

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        steps = first_spike(outputs)
        scores, hit = steps * -step.fraction(self.tau), ops.one_hot(targets, steps)
        found = cross_entropy(scores, hit, 1)
        if self.early_strength == 0:
            return found
        late = ops.exp(ops.sum(hit * steps, 1) * step.fraction(self.early_tau))
        return found + self.early_strength * (late - 1.0)


class TET(Loss):
    """Temporal efficient training: the cross-entropy of every step, averaged (Deng et al. 2022).

    (1 - weight) mean_t CE(o_t, y) + weight mean_t mean_c (o_t - target)^2. Decisions are taken from the
    mean over time.
    """

    weight: float = Field(0.05, ge=0, le=1)
    target: float = 1.0

    def scores(self, outputs: Array, step: Step) -> Array:
        return ops.mean(outputs, 0)

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        hit = ops.expand(ops.one_hot(targets, ops.take(outputs, 0, 0)), 0, outputs)
        found = (1.0 - self.weight) * ops.mean(cross_entropy(outputs, hit, 2), 0)
        if self.weight == 0:
            return found
        apart = outputs - self.target
        return found + self.weight * ops.mean(ops.mean(apart * apart, 0), 1)
