"""Optimizers in NumPy: the executable definition, and the default of engines without one of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neuroport.model.optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSprop

Array = np.ndarray
Moments = dict[str, tuple[Array, Array]]


def first_moments(parameters: Mapping[str, Array]) -> Moments:
    """Zero first and second moments."""
    return {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in parameters.items()}


def clip(gradients: Mapping[str, Array], norm: float | None) -> dict[str, Array]:
    """Gradients scaled down together where their global norm exceeds ``norm``."""
    if norm is None:
        return dict(gradients)
    total = np.sqrt(sum(float(np.square(g).sum()) for g in gradients.values()))
    return {name: g * (norm / total) if total > norm else g for name, g in gradients.items()}


def _sgd(o: SGD, step: int, p: Array, g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
    m = o.momentum * m + g + o.weight_decay * p
    return m, m, v


def _adam(o: Adam, step: int, p: Array, g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
    m = o.beta1 * m + (1 - o.beta1) * g
    v = o.beta2 * v + (1 - o.beta2) * g * g
    unbiased_m, unbiased_v = m / (1 - o.beta1 ** (step + 1)), v / (1 - o.beta2 ** (step + 1))
    return unbiased_m / (np.sqrt(unbiased_v) + o.eps), m, v


def _adamw(o: AdamW, step: int, p: Array, g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
    change, m, v = _adam(o, step, p, g, m, v)
    return change + o.weight_decay * p, m, v


def _lion(o: Lion, step: int, p: Array, g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
    change = np.sign(o.beta1 * m + (1 - o.beta1) * g) + o.weight_decay * p
    return change, o.beta2 * m + (1 - o.beta2) * g, v


def _rmsprop(o: RMSprop, step: int, p: Array, g: Array, m: Array, v: Array) -> tuple[Array, Array, Array]:
    v = o.decay * v + (1 - o.decay) * g * g
    m = o.momentum * m + g / (np.sqrt(v) + o.eps)
    return m, m, v


# (optimizer, step from 0, p, g, m, v) -> the direction to go against, m, v
CHANGES: dict[type[Optimizer], Callable[..., Any]] = {
    SGD: _sgd, Adam: _adam, AdamW: _adamw, Lion: _lion, RMSprop: _rmsprop,
}
KNOWN = tuple(kind.__name__ for kind in CHANGES)


def update(
    optimizer: Optimizer, rates: Mapping[str, float], clip_norm: float | None, step: int,
    parameters: Mapping[str, Array], gradients: Mapping[str, Array], moments: Moments,
) -> tuple[dict[str, Array], Moments]:
    """One step of an optimizer. rates: the learning rate of each parameter; step counts from 0."""
    gradients = clip(gradients, clip_norm)
    moved, after = {}, {}
    for name, p in parameters.items():
        change, m, v = CHANGES[type(optimizer)](optimizer, step, p, gradients[name], *moments[name])
        moved[name], after[name] = p - rates[name] * change, (m, v)
    return moved, after
