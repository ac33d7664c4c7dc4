"""Additions to the loss: formulas in ``ops`` over the spikes of populations, or over parameters."""

from __future__ import annotations

import abc
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.errors import Invalid, InvalidExperiment, Problem
from neuroport.model.description import nested
from neuroport.model.kinds import Kind


class Regularizer(Kind):
    """An addition to the loss: a ``SpikeRegularizer`` or a ``ParameterRegularizer``."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    strength: float = Field(1.0, gt=0, allow_inf_nan=False)


class SpikeRegularizer(Regularizer):
    """A penalty on each of some populations. nodes: their names; all spiking neurons where not given."""

    abstract: ClassVar[bool] = True

    nodes: tuple[str, ...] | None = None

    @abc.abstractmethod
    def penalty(self, spikes: Array, weights: Array, step: Step) -> Array:
        """A scalar from one population's spikes (T, B, N) and the samples' weights (B,), sum 1."""


class ParameterRegularizer(Regularizer):
    """A penalty on each of some trainable parameters.

    parameters: names or patterns such as "*.weight", the default; the values are those of the
    model (a time constant in seconds), all axes as one.
    """

    abstract: ClassVar[bool] = True

    parameters: tuple[str, ...] = ("*.weight",)

    @abc.abstractmethod
    def penalty(self, values: Array) -> Array:
        """A scalar from one parameter's values (n,)."""


def rates_of(spikes: Array, weights: Array) -> Array:
    """Spikes per step of each neuron, (N,), as the weighted mean over samples."""
    of_sample = ops.mean(spikes, 0)  # (B, N)
    return ops.sum(of_sample * ops.expand(weights, 1, of_sample), 0)


class RateBounds(SpikeRegularizer):
    """strength * mean over neurons of (lower - rate)+^2 + (rate - upper)+^2, rates in spikes per step.

    per: "neuron", or "layer", whose mean rate is bounded in place of each neuron's.
    """

    lower: float = Field(0.0, ge=0)
    upper: float = Field(1.0, ge=0)
    per: Literal["neuron", "layer"] = "neuron"

    @model_validator(mode="after")
    def _ordered(self) -> RateBounds:
        if self.lower > self.upper:
            wrong = f"lower {self.lower} exceeds upper {self.upper}"
            raise nested([Problem("lower", wrong, "swap them")])
        return self

    def penalty(self, spikes: Array, weights: Array, step: Step) -> Array:
        rates = rates_of(spikes, weights)
        if self.per == "layer":
            rate = ops.mean(rates, 0)
            below, above = ops.relu(self.lower - rate), ops.relu(rate - self.upper)
            return self.strength * (below * below + above * above)
        below, above = ops.relu(self.lower - rates), ops.relu(rates - self.upper)
        return self.strength * ops.mean(below * below + above * above, 0)


class RateL1(SpikeRegularizer):
    """strength * mean over neurons of the rate, in spikes per step: fewer spikes, whoever sends them."""

    def penalty(self, spikes: Array, weights: Array, step: Step) -> Array:
        return self.strength * ops.mean(rates_of(spikes, weights), 0)


class RateL2(SpikeRegularizer):
    """strength * mean over neurons of rate^2, in spikes per step: busy neurons pay most."""

    def penalty(self, spikes: Array, weights: Array, step: Step) -> Array:
        rates = rates_of(spikes, weights)
        return self.strength * ops.mean(rates * rates, 0)


class WeightL1(ParameterRegularizer):
    """strength * sum of |w|."""

    strength: float = Field(1e-4, gt=0, allow_inf_nan=False)

    def penalty(self, values: Array) -> Array:
        return self.strength * ops.sum(ops.abs(values), 0)


class WeightL2(ParameterRegularizer):
    """strength * sum of w^2."""

    strength: float = Field(1e-4, gt=0, allow_inf_nan=False)

    def penalty(self, values: Array) -> Array:
        return self.strength * ops.sum(values * values, 0)
