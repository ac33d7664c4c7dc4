"""One layout for every data set: samples first, bits along time.

0/1 activity is held as ``(N, ceil(T / 8), *shape)`` uint8, step 8 j + k in bit k of byte j; counts
as ``(N, T, *shape)`` uint8. Engines unpack on the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroport.errors import InvalidData, Problem


@dataclass(frozen=True, eq=False)
class Packed:
    """A data set ready for a device.

    values: see above. steps: T. labels: class indices (N,) int32, or target traces (N, T, *shape) float32.
    binary: whether values are bits.
    """

    values: np.ndarray
    steps: int
    labels: np.ndarray
    binary: bool

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_classes(self) -> bool:
        """Whether labels are class indices, not traces."""
        return self.labels.ndim == 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one time step of one sample."""
        return self.values.shape[2:]


def stage(x: np.ndarray, y: np.ndarray) -> Packed:
    """Pack activity ``x`` (N, T, *shape), whole numbers 0..255, with its targets ``y``.

    y: class indices (N,), or traces (N, T, *shape) of numbers for the losses that compare traces.

    Raises InvalidData where values would be lost.
    """
    x, y = np.asarray(x), np.asarray(y)
    problems = []
    if x.ndim < 3:
        problems.append(Problem("x", f"has shape {x.shape}", "give (samples, steps, *shape)"))
    traces = y.ndim >= 3 and y.dtype.kind in "buif"
    if not traces and (y.ndim != 1 or not np.issubdtype(y.dtype, np.integer)):
        mend = "give class indices, integers (samples,), or traces (samples, steps, *shape)"
        problems.append(Problem("y", f"has shape {y.shape} of {y.dtype}", mend))
    elif x.ndim and len(x) != len(y):
        problems.append(Problem("y", f"holds {len(y)} labels for {len(x)} samples", "give one a sample"))
    elif traces and x.ndim > 1 and x.shape[1] != y.shape[1]:
        problems.append(Problem("y", f"has {y.shape[1]} steps, x has {x.shape[1]}", "give a value for each step"))
    elif traces and not np.isfinite(y).all():
        problems.append(Problem("y", "holds values that are NaN or infinite", "replace or remove them"))
    elif not traces and len(y) and y.min() < 0:
        problems.append(Problem("y", f"holds the class {y.min()}", "count classes from 0"))
    if x.dtype.kind not in "buif":
        problems.append(Problem("x", f"holds {x.dtype}", "give numbers"))
    elif x.size and not (np.all(np.isfinite(x)) and x.min() >= 0 and x.max() <= 255 and np.all(x == np.floor(x))):
        problems.append(Problem("x", "holds values that are no whole numbers in 0..255", "bin or encode it first"))
    if problems:
        raise InvalidData(problems)
    binary = bool(x.size == 0 or x.max() <= 1)
    values = x.astype(np.uint8)
    return Packed(
        np.packbits(values, axis=1, bitorder="little") if binary else values,
        x.shape[1], y.astype(np.float32 if traces else np.int32), binary,
    )


def unpack(packed: Packed, samples: np.ndarray) -> np.ndarray:
    """Activity of some samples, time-major (T, B, *shape) float32."""
    values = packed.values[samples]
    if packed.binary:
        values = np.unpackbits(values, axis=1, count=packed.steps, bitorder="little")
    return np.asarray(np.moveaxis(values, 0, 1), np.float32)


def targets_of(packed: Packed, samples: np.ndarray) -> np.ndarray:
    """What a loss compares some samples with: class indices (B,), or traces, time-major (T, B, C)."""
    found = packed.labels[samples]
    return found if found.ndim == 1 else np.moveaxis(found.reshape(*found.shape[:2], -1), 0, 1)
