"""One layout for every data set: samples first, then time.

| layout | values | holds |
|---|---|---|
| bits | (N, ceil(T / 8), *shape) uint8 | 0/1: step 8 j + k in bit k of byte j |
| counts | (N, T, *shape) uint8 | whole numbers 0..255 |
| floats | (N, T, *shape) float32 | currents, sound |

Counts and floats that are constant over time are held once, (N, 1, *shape). Engines unpack on the device.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Layout = Literal["bits", "counts", "floats"]


def pack(x: np.ndarray, layout: Layout) -> np.ndarray:
    """Checked activity (N, T, *shape) in a layout."""
    if layout == "floats":
        return np.ascontiguousarray(x, np.float32)
    values = x.astype(np.uint8)
    return np.packbits(values, axis=1, bitorder="little") if layout == "bits" else values


def rows_of(layout: Layout, steps: int) -> int:
    """Length of the second axis of values that change over time."""
    return -(-steps // 8) if layout == "bits" else steps
