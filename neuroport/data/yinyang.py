"""The Yin-Yang data set (Kriener, Göltz, Petrovici 2022, arXiv 2102.08211): generated, nothing to fetch.

Points in the plane belong to the yin, the yang or the dots. Features of a point: x, y, 1 - x, 1 - y.
"""

from __future__ import annotations

from math import hypot
from typing import Literal

import numpy as np

from neuroport.data.binning import Binning
from neuroport.data.encode import Current
from neuroport.data.events import Events
from neuroport.data.options import binning
from neuroport.data.packer import Packer
from neuroport.data.packing import Packed
from neuroport.data.splits import Splits
from neuroport.errors import InvalidExperiment, Problem

R_BIG, R_SMALL = 0.5, 0.1
SEEDS = {"train": 42, "validation": 41, "test": 40}


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 4) in [0, 1] and classes (N,): yin 1, yang 0, dots 2.

    Drawn as the authors draw them, by NumPy's RandomState: a class, then points until one is of that class.
    """
    random = np.random.RandomState(seed)
    features, classes = np.empty((count, 4)), np.empty(count, np.int64)
    for sample in range(count):
        wanted = random.randint(3)
        while True:
            x, y = random.rand(2) * 2.0 * R_BIG
            if hypot(x - R_BIG, y - R_BIG) <= R_BIG and class_of(x, y) == wanted:
                break
        features[sample], classes[sample] = (x, y, 1.0 - x, 1.0 - y), wanted
    return features, classes


def class_of(x: float, y: float) -> int:
    right, left = hypot(x - 1.5 * R_BIG, y - R_BIG), hypot(x - 0.5 * R_BIG, y - R_BIG)
    if right < R_SMALL or left < R_SMALL:
        return 2
    return int(right <= R_SMALL or R_SMALL < left <= 0.5 * R_BIG or (y > R_BIG and right > 0.5 * R_BIG))


def spikes(features: np.ndarray, early: float, late: float, bias: bool) -> Events:
    """Each feature as the time of one spike, early + value (late - early) seconds; bias: a fifth channel at ``early``.

    The larger the value, the later the spike, as in Wunderlich and Pehle 2021.
    """
    times = early + features * (late - early)
    units = np.arange(4)
    if bias:
        times, units = np.column_stack([times, np.full(len(times), early)]), np.arange(5)
    labels = np.zeros(len(times), np.int64)
    return Events.of([(one, units) for one in times], labels, (len(units),), sort=True)


def load(
    encoding: Literal["latency", "current"] = "latency", *, dt: float = 5e-4, duration: float = 30e-3,
    early: float = 2e-3, late: float = 27e-3, bias: bool = True, gain: float = 1.0, train: int = 5000,
    validation: int = 1000, test: int = 1000,
) -> Splits:
    """The source "yinyang": 5000 samples train, 1000 validate, 1000 test, with the authors' seeds 42, 41, 40.

    encoding: "latency": a spike time for each feature, between ``early`` and ``late`` (see ``spikes``), five channels,
    four without ``bias``; "current": the four features times ``gain``, constant over all steps.
    """
    if encoding not in ("latency", "current"):
        wrong = f"is {encoding!r}"
        raise InvalidExperiment([Problem("data.options.encoding", wrong, 'choose "latency" or "current"')])
    window = binning(dt=dt, duration=duration, beyond="error")
    if not 0 <= early < late <= duration:
        wrong = f"spikes come from {early:g} to {late:g} s, the window ends at {duration:g} s"
        raise InvalidExperiment([Problem("data.options.late", wrong, "keep 0 <= early < late <= duration")])
    parts: dict[str, Packed] = {}
    for part, count in (("train", train), ("validation", validation), ("test", test)):
        features, classes = points(count, SEEDS[part])
        parts[part] = _staged(features, classes, window, encoding, early, late, bias, gain)
    return Splits(parts["train"], parts["validation"], parts["test"], classes=3, name="yinyang")


def _staged(
    features: np.ndarray, classes: np.ndarray, window: Binning, encoding: str, early: float, late: float, bias: bool,
    gain: float,
) -> Packed:
    if encoding == "current":
        packer: Packer = Current(steps=window.window, dt=window.dt, gain=gain)
        return packer.stage(features, classes)
    events = spikes(features, early, late, bias)
    return window.stage(Events(events.times, events.units, events.offsets, events.shape, classes))
