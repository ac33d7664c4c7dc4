"""Interleaved measurements: whose turn it is, medians with their spread, ratios within rounds.

Whatever else a machine does in a round falls on all contestants of that round, so ratios within rounds say more than
times do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

SETTLE = 0.05  # seconds between two turns: the threads of the last one spin for some milliseconds before they sleep

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """Of several measurements: the median, the smallest and the largest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """Of one measurement or more."""
    return Spread(median(values), min(values), max(values))


def number(value: float) -> str:
    """Three digits that count: ``0.0123``, ``1.23``, ``1 230``."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace(",", " ")


def ratios(values: Sequence[float], others: Sequence[float]) -> Spread:
    """Of two contestants' measurements, taken within each round. Both are of the same rounds."""
    return spread([value / other for value, other in zip(values, others, strict=True)])


def turns(names: Sequence[str], index: int) -> list[str]:
    """The order of a round: each goes first in its turn."""
    first = index % len(names) if names else 0
    return [*names[first:], *names[:first]]


def interleaved(
    names: Sequence[str], rounds: int, measure: Callable[[str], T], settle: float = SETTLE
) -> dict[str, list[T]]:
    """What ``measure`` gives for each name in each round, one after the other."""
    found: dict[str, list[T]] = {name: [] for name in names}
    for index in range(rounds):
        for name in turns(names, index):
            time.sleep(settle)
            found[name].append(measure(name))
    return found


def fastest(times: Mapping[str, Sequence[float]]) -> str | None:
    """The name with the smallest median; None of none."""
    return min(times, key=lambda name: median(times[name]), default=None)
