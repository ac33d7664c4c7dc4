"""What a contestant's `prepare(workload, *arguments)` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Run = Callable[[int], list[float]]


@dataclass(frozen=True)
class Contestant:
    """A prepared contestant, before its first step.

    run(k): takes k steps, waits for their results and returns k numbers: the losses where the workload trains,
    the spikes of the last time step where it does not.
    forward(): what the first batch gives at the initial weights, float32 (T, B, classes or neurons): the readout's
    potential where the workload trains, spikes where it does not.
    saved_mib(): MiB that one step keeps between forward and reverse, without parameters and inputs; each storage
    once. None where it can't be told.
    """

    versions: dict[str, str]
    run: Run
    forward: Callable[[], np.ndarray] | None = None
    saved_mib: Callable[[], float | None] | None = None

    @classmethod
    def of(cls, prepared: Contestant | tuple[dict[str, str], Run]) -> Contestant:
        """Versions and run alone are a contestant too."""
        return prepared if isinstance(prepared, Contestant) else cls(*prepared)
