"""float32 to the nearest bfloat16, held in float32, in one pass."""

from __future__ import annotations

import numpy as np
from neuroport_loops.kept import kept
from neuroport_loops.lanes import LANES, round_lanes


@kept
def round_values(values, into, lo, hi):
    """Values lo to hi of (M,) into the same place of ``into`` (M,): the nearest bfloat16, ties to even."""
    whole = lo + (hi - lo) // LANES * LANES
    for first in range(lo, whole, LANES):
        round_lanes(values, into, first)
    if whole < hi:
        rest, rounded = np.zeros(LANES, np.float32), np.empty(LANES, np.float32)
        rest[: hi - whole] = values[whole:hi]
        round_lanes(rest, rounded, 0)
        into[whole:hi] = rounded[: hi - whole]
