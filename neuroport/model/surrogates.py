"""Derivatives that stand in for the spike's: g(u), u = v - threshold. One formula each.

Each integrates to a smooth step (but StraightThrough). ``slope`` and ``width`` are in 1 / u and u.
"""

from __future__ import annotations

import abc
import math
from typing import Annotated

from pydantic import Field

from neuroport.dynamics import ops
from neuroport.dynamics.ops import Array
from neuroport.model.kinds import Kind, Member


class Surrogate(Kind):
    """A spike derivative. ``derivative(u)`` is written in ops; a user's own one is a subclass."""

    @abc.abstractmethod
    def derivative(self, u: Array) -> Array:
        """g(u), elementwise; u = v - threshold, any shape."""


class SuperSpike(Surrogate):
    """1 / (1 + slope |u|)^2 (Zenke & Ganguli 2018)."""

    slope: float = Field(10.0, gt=0)

    def derivative(self, u: Array) -> Array:
        bend = 1.0 + self.slope * ops.abs(u)
        return 1.0 / (bend * bend)


class ATan(Surrogate):
    """(alpha / 2) / (1 + (pi alpha u / 2)^2) (Fang et al. 2021; snnTorch and SpikingJelly, alpha = 2)."""

    alpha: float = Field(2.0, gt=0)

    def derivative(self, u: Array) -> Array:
        bend = (math.pi / 2 * self.alpha) * u
        return (self.alpha / 2) / (1.0 + bend * bend)


class Sigmoid(Surrogate):
    """slope s (1 - s), s = 1 / (1 + exp(-slope u))."""

    slope: float = Field(4.0, gt=0)

    def derivative(self, u: Array) -> Array:
        # s (1 - s) is even in u: of exp(-|u|) nothing overflows
        decay = ops.exp(-self.slope * ops.abs(u))
        return self.slope * decay / ((1.0 + decay) * (1.0 + decay))


class Triangular(Surrogate):
    """max(0, 1 - |u| / width) / width (Esser et al. 2016, Bellec et al. 2018)."""

    width: float = Field(1.0, gt=0)

    def derivative(self, u: Array) -> Array:
        return ops.relu(1.0 - ops.abs(u) * (1.0 / self.width)) * (1.0 / self.width)


class Boxcar(Surrogate):
    """1 / width for |u| <= width / 2, else 0 (Kaiser et al. 2020)."""

    width: float = Field(1.0, gt=0)

    def derivative(self, u: Array) -> Array:
        return ops.where(ops.abs(u) <= self.width / 2, 1.0 / self.width, u * 0.0)


class Gaussian(Surrogate):
    """exp(-u^2 / (2 sigma^2)) / (sqrt(2 pi) sigma) (Yin et al. 2020)."""

    sigma: float = Field(0.4, gt=0)

    def derivative(self, u: Array) -> Array:
        return ops.exp(u * u * (-0.5 / self.sigma**2)) * (1.0 / (math.sqrt(2 * math.pi) * self.sigma))


class StraightThrough(Surrogate):
    """1 everywhere (Bengio et al. 2013)."""

    def derivative(self, u: Array) -> Array:
        return u * 0.0 + 1.0


AnySurrogate = Annotated[Surrogate, Member(Surrogate)]
