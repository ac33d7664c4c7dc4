"""A data set ready for a device: packed values with their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuroport.data.layout import Layout
from neuroport.data.tally import StagingReport
from neuroport.errors import Problem

MOST_CLASSES = 2**20  # beyond it labels are names, not numbers of classes


@dataclass(frozen=True, eq=False)
class Packed:
    """A data set ready for a device.

    values: see above; may be memory-mapped from a file. steps: T. labels: class indices (N,) int32, or
    target traces (N, T, *shape) float32. report: what staging did to events or images, if it was them.
    """

    values: np.ndarray
    steps: int
    labels: np.ndarray
    layout: Layout = "bits"
    report: StagingReport | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"<Packed {len(self)} samples of {self.steps} steps x {shape}, {self.layout}>"

    @property
    def binary(self) -> bool:
        """Whether values are bits."""
        return self.layout == "bits"

    @property
    def constant(self) -> bool:
        """Whether the input is the same in all steps and held once: values (N, 1, *shape)."""
        return not self.binary and self.values.shape[1] == 1 and self.steps > 1

    @property
    def has_classes(self) -> bool:
        """Whether labels are class indices, not traces."""
        return self.labels.ndim == 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one time step of one sample."""
        return self.values.shape[2:]


def unpack(packed: Packed, samples: np.ndarray) -> np.ndarray:
    """Activity of some samples, time-major (T, B, *shape) float32. The definition that engines follow."""
    values = packed.values[samples]
    if packed.binary:
        values = np.unpackbits(values, axis=1, count=packed.steps, bitorder="little")
    elif packed.constant:
        values = np.repeat(values, packed.steps, axis=1)
    return np.asarray(np.moveaxis(values, 0, 1), np.float32)


def targets_of(packed: Packed, samples: np.ndarray) -> np.ndarray:
    """What a loss compares some samples with: class indices (B,), or traces, time-major (T, B, C)."""
    found = packed.labels[samples]
    return found if found.ndim == 1 else np.moveaxis(found.reshape(*found.shape[:2], -1), 0, 1)


def labels_of(y: np.ndarray) -> np.ndarray:
    """Checked targets as ``Packed.labels`` holds them."""
    return y.astype(np.int32 if y.ndim == 1 else np.float32)


def target_problems(y: np.ndarray, samples: int, steps: int) -> list[Problem]:
    """What is wrong with targets for so many samples and steps."""
    traces = y.ndim >= 3 and y.dtype.kind in "buif"
    if not traces and (y.ndim != 1 or not np.issubdtype(y.dtype, np.integer)):
        mend = "give class indices, integers (samples,), or traces (samples, steps, *shape)"
        return [Problem("y", f"has shape {y.shape} of {y.dtype}", mend)]
    if len(y) != samples:
        return [Problem("y", f"holds {len(y)} labels for {samples} samples", "give one a sample")]
    if traces and y.shape[1] != steps:
        return [Problem("y", f"has {y.shape[1]} steps, x has {steps}", "give a value for each step")]
    if traces and not np.isfinite(y.astype(np.float32)).all():
        return [Problem("y", "holds values that are NaN or infinite", "replace or remove them")]
    if not traces and len(y) and y.min() < 0:
        wrong = f"holds the class {y.min()} (sample {y.argmin()})"
        return [Problem("y", wrong, "count classes from 0")]
    if not traces and len(y) and y.max() >= MOST_CLASSES:
        wrong = f"holds the class {y.max()} (sample {y.argmax()})"
        return [Problem("y", wrong, "number the classes from 0: np.unique(y, return_inverse=True)[1]")]
    return []
