"""What the metrics of many batches come to, padding not counted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neuroport.engine.base import Metrics
from neuroport.model.losses import Loss


def together(seen: Sequence[Metrics]) -> Metrics:
    """Loss, right decisions and counts of several runs of batches as one; the rest is left out."""
    loss, correct, count = (np.concatenate([found[position] for found in seen]) for position in range(3))
    return Metrics(loss, correct, count)


def combined(parts: Sequence[Metrics]) -> Metrics:
    """Evaluations of the batches of one data set as one: everything that they hold."""
    if len(parts) == 1:
        return parts[0]
    weights = np.array([part.count.sum() for part in parts], np.float64)
    rates = {name: np.average([part.rates[name] for part in parts], axis=0, weights=weights) for name in parts[0].rates}
    decided = [part.decisions for part in parts if part.decisions is not None]
    return together(parts)._replace(
        rates=rates, decisions=np.concatenate(decided) if decided else None,
        extra={label: np.concatenate([part.extra[label] for part in parts]) for label in parts[0].extra},
    )


def mean_loss(metrics: Metrics) -> float:
    """Loss per sample."""
    return float(np.average(metrics.loss.astype(np.float64), weights=metrics.count))


def accuracy(metrics: Metrics, loss: Loss) -> float | None:
    """Share of samples decided rightly; None where the loss knows no classes."""
    if loss.targets != "classes":
        return None
    return float(metrics.correct.sum(dtype=np.float64) / metrics.count.sum(dtype=np.float64))


def means(metrics: Metrics) -> dict[str, float | None]:
    """Each further metric per sample, by its label; None where it is no number."""
    found = {label: float(np.average(np.asarray(values, np.float64), weights=metrics.count))
             for label, values in metrics.extra.items()}
    return {label: value if math.isfinite(value) else None for label, value in found.items()}
