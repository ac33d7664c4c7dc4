"""What a user might add: a neuron, a loss, a metric and regularizers that no engine has heard of.

They use operations that no member of neuroport's own families uses, or uses in this way.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.model.losses import Loss
from neuroport.model.metrics import Metric
from neuroport.model.neurons import SpikingNeuron
from neuroport.model.regularizers import ParameterRegularizer, SpikeRegularizer
from neuroport.model.values import Time, Value


class StrangersNeuron(SpikingNeuron):
    """A neuron that no engine knows: two states that drive each other, every smooth operation."""

    state = ("v", "w")
    tau: Time = 10.0
    couple: Value = 0.3

    def coefficients(self, p: Any, step: Any) -> dict[str, Array]:
        decay, rise, _ = step.low_pass(p.tau)
        return {"alpha": decay, "gain": rise, "follow": p.couple * rise}

    def integrate(self, c: Any, s: Any, x: Array) -> Any:
        kick = ops.exp(ops.tanh(s.v) - 1.0) - ops.log(1.0 + s.w * s.w)
        v = c.alpha * s.v + c.gain * (x + kick - c.couple * s.w)
        return s._replace(v=v, w=c.alpha * s.w + c.follow * ops.sqrt(1.0 + v * v))

    def jump(self, c: Any, s: Any, z: Array) -> Any:
        return s._replace(w=s.w + 0.25 * z)


class StrangersLoss(Loss):
    """A soft hinge on the ends of a readout that is filtered both ways, and the length of its path through time."""

    tau: float = 4e-3
    margin: float = 1.0

    def scores(self, outputs: Array, step: Step) -> Array:
        smooth = ops.recurrence(step.filter_decay(self.tau), ops.tanh(outputs))
        return ops.take(smooth, 0, -1) + ops.take(ops.recurrence(0.5, outputs, True), 0, 0)

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        scores = self.scores(outputs, step)
        chosen = ops.sum(scores * ops.one_hot(targets, scores), 1)
        others = ops.max(scores - 1e3 * ops.one_hot(targets, scores), 1)
        moved = outputs - ops.shift(outputs, 1)
        path = ops.sum(ops.sqrt(0.01 + moved * moved), 0)
        return ops.log(1.0 + ops.exp(self.margin - chosen + others)) + 0.02 * ops.sum(path, 1)


class StrangersMetric(Metric):
    """How far the target's mean lies above the mean of all classes, in seconds of activity."""

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        active = ops.sum(outputs, 0) * step.dt
        return ops.sum(active * ops.one_hot(targets, active), 1) - ops.mean(active, 1)


class StrangersDistance(Metric):
    """The largest distance from the target trace, in any channel, at any time."""

    targets: ClassVar[Literal["classes", "traces"]] = "traces"

    def per_sample(self, outputs: Array, targets: Array, step: Step) -> Array:
        return ops.max(ops.max(ops.abs(outputs - targets), 0), 1)


class StrangersSpikeRegularizer(SpikeRegularizer):
    """Synchrony: strength * the mean square of each sample's change of the population's rate."""

    def penalty(self, spikes: Array, weights: Array, step: Step) -> Array:
        together = ops.mean(spikes, 2)  # (T, B)
        change = together - ops.shift(together, 2)
        return self.strength * ops.sum(ops.mean(change * change, 0) * weights, 0)


class StrangersParameterRegularizer(ParameterRegularizer):
    """A soft count: strength * sum of log(1 + (w / scale)^2)."""

    scale: float = 0.5

    def penalty(self, values: Array) -> Array:
        near = values / self.scale
        return self.strength * ops.sum(ops.log(1.0 + near * near), 0)
