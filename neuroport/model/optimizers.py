"""How parameters move along gradients: definitions whose arithmetic is the engine's.

That is optax, torch.optim, or the NumPy of ``engine/optimize.py``, which defines them. g is the
gradient, p a parameter, lr the learning rate at that step.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from neuroport.errors import Invalid, InvalidExperiment
from neuroport.model.kinds import Kind


class Optimizer(Kind):
    """A first-order optimizer. learning_rate is the schedule's factor-one value.

    Each member states it again, so that it comes first: ``Adam(1e-2)``.
    """

    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)


class SGD(Optimizer):
    """m <- momentum m + g; p <- p - lr m. weight_decay adds weight_decay p to g."""

    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class Adam(Optimizer):
    """Kingma & Ba 2015; eps stands outside the root."""

    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)


class AdamW(Adam):
    """Adam with decoupled decay: p <- p - lr (Adam's step + weight_decay p) (Loshchilov & Hutter 2019)."""

    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(1e-2, ge=0)


class Lion(Optimizer):
    """p <- p - lr (sign(beta1 m + (1 - beta1) g) + weight_decay p); m <- beta2 m + (1 - beta2) g (Chen et al. 2023)."""

    learning_rate: float = Field(1e-4, gt=0, allow_inf_nan=False)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class RMSprop(Optimizer):
    """s <- decay s + (1 - decay) g^2; m <- momentum m + g / (sqrt(s) + eps); p <- p - lr m (Tieleman & Hinton 2012)."""

    learning_rate: float = Field(1e-2, gt=0, allow_inf_nan=False)
    decay: float = Field(0.99, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
