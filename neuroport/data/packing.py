"""One layout for every data set: samples first, then time.

| layout | values | holds |
|---|---|---|
| bits | (N, ceil(T / 8), *shape) uint8 | 0/1: step 8 j + k in bit k of byte j |
| counts | (N, T, *shape) uint8 | whole numbers 0..255 |
| floats | (N, T, *shape) float32 | currents, sound |

Counts and floats that are constant over time are held once, (N, 1, *shape). Engines unpack on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuroport.data.tally import StagingReport, say
from neuroport.errors import InvalidData, Problem

if TYPE_CHECKING:
    from neuroport.data.packer import Packer

Layout = Literal["bits", "counts", "floats"]


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


def stage(
    x: Any, y: Any = None, using: Packer | None = None, layout: Layout | None = None, steps: int | None = None
) -> Packed:
    """Pack activity ``x`` with its targets ``y``.

    x: (N, T, *shape); with ``using`` what that takes: Events for a Binning, images or signals for an encoder.
    y: class indices (N,), or traces (N, T, *shape) of numbers for the losses that compare traces; Events
    bring their own. layout: None: bits where x is 0/1 and counts where it is whole numbers 0..255; "floats"
    for everything else. steps: T of input that is constant over time, x (N, 1, *shape).

    Raises InvalidData where values would be lost.
    """
    if using is not None:
        packed = using.stage(x, y)
        say("staged", [packed.report])
        return packed
    x, y = np.asarray(x), np.asarray(y)
    count = (x.shape[1] if x.ndim > 1 else 0) if steps is None else steps
    problems = [*_activity_problems(x, layout, steps), *target_problems(y, len(x) if x.ndim else 0, count)]
    if problems:
        raise InvalidData(problems)
    if layout is None:
        layout = "bits" if steps is None and (x.size == 0 or x.max() <= 1) else "counts"
    return Packed(pack(x, layout), count, labels_of(y), layout)


def pack(x: np.ndarray, layout: Layout) -> np.ndarray:
    """Checked activity (N, T, *shape) in a layout."""
    if layout == "floats":
        return np.ascontiguousarray(x, np.float32)
    values = x.astype(np.uint8)
    return np.packbits(values, axis=1, bitorder="little") if layout == "bits" else values


def rows_of(layout: Layout, steps: int) -> int:
    """Length of the second axis of values that change over time."""
    return -(-steps // 8) if layout == "bits" else steps


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
    return []


def _activity_problems(x: np.ndarray, layout: Layout | None, steps: int | None) -> list[Problem]:
    if x.dtype.kind not in "buif":
        return [Problem("x", f"holds {x.dtype}", "give numbers")]
    problems = []
    if x.ndim < 3:
        problems.append(Problem("x", f"has shape {x.shape}", "give (samples, steps, *shape)"))
    elif steps is not None and (x.shape[1] != 1 or layout == "bits" or steps < 1):
        wrong = f"has shape {x.shape}, which is not constant over {steps} steps"
        problems.append(Problem("x", wrong, 'give (samples, 1, *shape) and layout="counts" or "floats"'))
    if layout == "floats":
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(x.astype(np.float32)).all())
        if not finite:
            problems.append(Problem("x", "holds values that are NaN or infinite in float32", "replace or remove them"))
        return problems
    top = 1 if layout == "bits" else 255
    if x.size and not (np.all(np.isfinite(x)) and x.min() >= 0 and x.max() <= top and np.all(x == np.floor(x))):
        mend = 'bin or encode it first, or give layout="floats"'
        problems.append(Problem("x", f"holds values that are no whole numbers in 0..{top}", mend))
    return problems
