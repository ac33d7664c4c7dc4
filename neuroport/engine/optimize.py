"""Optimizers in NumPy: the executable definition, and the default of engines without one of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuroport.model.training import SGD, Adam, AdamW, Optimizer

Moments = dict[str, tuple[np.ndarray, np.ndarray]]
KNOWN = ("SGD", "Adam", "AdamW")


def first_moments(parameters: Mapping[str, np.ndarray]) -> Moments:
    """Zero first and second moments."""
    return {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in parameters.items()}


def clip(gradients: Mapping[str, np.ndarray], norm: float | None) -> dict[str, np.ndarray]:
    """Gradients scaled down together where their global norm exceeds ``norm``."""
    if norm is None:
        return dict(gradients)
    total = np.sqrt(sum(float(np.square(g).sum()) for g in gradients.values()))
    return {name: g * (norm / total) if total > norm else g for name, g in gradients.items()}


def update(
    optimizer: Optimizer, factor: float, clip_norm: float | None, step: int,
    parameters: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray], moments: Moments,
) -> tuple[dict[str, np.ndarray], Moments]:
    """One step of an optimizer at ``factor`` times its learning rate; ``step`` counts from 0."""
    gradients = clip(gradients, clip_norm)
    rate = optimizer.learning_rate * factor
    moved, after = {}, {}
    for name, p in parameters.items():
        g, (m, v) = gradients[name], moments[name]
        if isinstance(optimizer, SGD):
            m = optimizer.momentum * m + g + optimizer.weight_decay * p
            change = m
        elif isinstance(optimizer, Adam):
            m = optimizer.beta1 * m + (1 - optimizer.beta1) * g
            v = optimizer.beta2 * v + (1 - optimizer.beta2) * g * g
            unbiased_m, unbiased_v = m / (1 - optimizer.beta1 ** (step + 1)), v / (1 - optimizer.beta2 ** (step + 1))
            change = unbiased_m / (np.sqrt(unbiased_v) + optimizer.eps)
            if isinstance(optimizer, AdamW):
                change = change + optimizer.weight_decay * p
        else:
            raise TypeError(f"no NumPy arithmetic for the optimizer {type(optimizer).__name__}")
        moved[name], after[name] = p - rate * change, (m, v)
    return moved, after
