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
