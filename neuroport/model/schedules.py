"""How the learning rate moves over a training: a factor for each step of the optimizer."""

from __future__ import annotations

import abc
import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from neuroport.errors import Invalid, InvalidExperiment, Problem
from neuroport.model.description import nested
from neuroport.model.kinds import Kind, Member


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


class StepDecay(Schedule):
    """Times ``gamma`` at the end of every ``every`` epochs."""

    every: int = Field(10, gt=0)
    gamma: float = Field(0.1, gt=0, le=1)

    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        epoch = np.arange(steps_per_epoch * epochs) // steps_per_epoch
        return self.gamma ** (epoch // self.every).astype(float)


class Plateau(Schedule):
    """Times ``factor`` whenever ``patience`` epochs in a row brought no better value of ``monitor``.

    monitor: of the validation set; better is more than ``min_delta`` lower (loss) or higher
    (accuracy). minimum: the factor below which it does not fall. Follows the validation, so its
    factors are known only as training goes.
    """

    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(5, gt=0)
    monitor: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    min_delta: float = Field(0.0, ge=0)
    minimum: float = Field(1e-3, ge=0, le=1)

    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        """Factor one throughout; the course of the training multiplies its own on top."""
        return np.ones(steps_per_epoch * epochs)


class Warmup(Schedule):
    """Rises in a straight line from ``start`` over ``epochs`` epochs, and then follows ``then`` from its beginning."""

    epochs: float = Field(1.0, gt=0, allow_inf_nan=False)
    start: float = Field(0.0, ge=0, le=1)
    then: Annotated[Schedule, Member(Schedule)] = ConstantRate()

    @field_validator("then")
    @classmethod
    def _of_another_kind(cls, then: Schedule) -> Schedule:
        if isinstance(then, Warmup):
            raise nested([Problem("", "is a Warmup inside a Warmup", "give one Warmup of their epochs together")])
        return then

    def factors(self, steps_per_epoch: int, epochs: int) -> np.ndarray:
        total = steps_per_epoch * epochs
        rising = min(round(self.epochs * steps_per_epoch), total)
        # the first step moves a little, and the one after the rise moves fully
        rise = self.start + (1 - self.start) * (np.arange(rising) + 1) / (rising + 1)
        after = self.then.factors(steps_per_epoch, max(math.ceil((total - rising) / steps_per_epoch), 1))
        return np.concatenate([rise, after])[:total]


def plateau_of(schedule: Schedule) -> Plateau | None:
    """The part of a schedule that follows the validation, if it has one."""
    inner = schedule.then if isinstance(schedule, Warmup) else schedule
    return inner if isinstance(inner, Plateau) else None
