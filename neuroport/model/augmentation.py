"""Random changes of the input while training, drawn anew for each sample in each epoch.

Formulas in operators and ``ops`` over activity (T, B, *shape). Every random number is a function of
(seed, epoch, sample, place of the augmentation, index), so that all engines change the same spikes.
"""

from __future__ import annotations

import abc
from typing import ClassVar, Protocol

from pydantic import Field

from neuroport.dynamics import ops
from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.errors import Invalid, InvalidExperiment
from neuroport.model.kinds import Kind


class Draw(Protocol):
    """Random numbers for one augmentation of one batch; ``program/augment.py`` makes it.

    binary: whether values are 0 or 1, so that what meets in one place is one.
    """

    @property
    def binary(self) -> bool: ...

    def chance(self, like: Array, p: float) -> Array:
        """True with probability ``p`` for each value, in the shape of ``like`` (T, B, *shape)."""

    def own_chance(self, like: Array, most: float) -> Array:
        """True with a probability of each sample's own, drawn from 0 to ``most``, in the shape of ``like``."""

    def choice(self, like: Array, count: int) -> Array:
        """A whole number from 0 to count - 1 for each value, in the shape of ``like``."""

    def move(self, x: Array, reach: int, axis: int) -> Array:
        """Each sample moved by -reach to reach places along an axis, 0 time, 1 the first of its shape; zeros enter."""

    def scatter(self, x: Array, reach: int) -> Array:
        """Each value on its own moved by -reach to reach steps; zeros enter, and what meets adds up."""

    def stretch(self, x: Array, most: float) -> Array:
        """Each sample at a pace of its own, from 1/most to most times as fast; a step shows one step of ``x`` or zeros.
        """

    def window(self, x: Array, steps: int) -> Array:
        """A stretch of ``steps`` steps from each sample, at its beginning; zeros follow."""


class Augmentation(Kind):
    """A random change of the input."""

    error_class: ClassVar[type[Invalid]] = InvalidExperiment
    needs_partner: ClassVar[bool] = False

    @abc.abstractmethod
    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        """x, partner: (T, B, *shape); partner: another sample of the same class each, where asked for."""


def _together(x: Array, draw: Draw) -> Array:
    return ops.minimum(x, x * 0.0 + 1.0) if draw.binary else x


class SpikeDropout(Augmentation):
    """Each value of the input is silenced with probability ``p``."""

    p: float = Field(0.1, ge=0, lt=1)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return ops.where(draw.chance(x, self.p), x * 0.0, x)


class Thinning(Augmentation):
    """Each sample loses a share of its values, its own one from 0 to ``most``: some become quiet, others stay loud."""

    most: float = Field(0.5, ge=0, lt=1)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return ops.where(draw.own_chance(x, self.most), x * 0.0, x)


class NoiseSpikes(Augmentation):
    """Additional spikes on every channel at ``rate`` spikes per second, at most one a step."""

    rate: float = Field(1.0, ge=0, allow_inf_nan=False)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        chance = min(step.expected(self.rate), 1.0)
        return _together(x + ops.where(draw.chance(x, chance), x * 0.0 + 1.0, x * 0.0), draw)


class TimeJitter(Augmentation):
    """Each spike moves on its own by up to ``reach`` seconds either way, all steps alike probable."""

    reach: float = Field(2e-3, ge=0, allow_inf_nan=False)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return _together(draw.scatter(x, step.steps(self.reach)), draw)


class TimeShift(Augmentation):
    """Each sample moves in time as a whole, by up to ``reach`` seconds either way."""

    reach: float = Field(10e-3, ge=0, allow_inf_nan=False)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return draw.move(x, step.steps(self.reach), 0)


class TimeStretch(Augmentation):
    """Each sample at another pace, from 1/most to ``most`` times as fast, all alike probable.

    A step shows the step of the sample that its middle falls into, so that a slower sample has as many spikes a
    second as before and more of them. What is beyond the end of the run is gone; behind a faster one is silence.
    """

    most: float = Field(1.25, ge=1, le=4)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return draw.stretch(x, self.most)


class ChannelShift(Augmentation):
    """Each sample moves along its channels as a whole, by up to ``reach`` channels either way.

    axis: of the sample's shape, from 0; the last where not given. For a cochlea's channels this is a
    change of pitch (Cramer et al. 2022).
    """

    reach: int = Field(5, ge=0)
    axis: int = -1

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return draw.move(x, self.reach, self.axis + 1 if self.axis >= 0 else x.ndim - 1 + self.axis)


class Mix(Augmentation):
    """Each value comes from another sample of the same class with probability ``share`` (Nowotny et al. 2025)."""

    needs_partner: ClassVar[bool] = True

    share: float = Field(0.5, ge=0, le=1)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return ops.where(draw.chance(x, self.share), partner, x)


class Crop(Augmentation):
    """A stretch of ``duration`` seconds from each sample, moved to its beginning; silence follows."""

    duration: float = Field(0.5, gt=0, allow_inf_nan=False)

    def apply(self, x: Array, draw: Draw, step: Step, partner: Array | None) -> Array:
        return draw.window(x, step.steps(self.duration))
