"""How raw samples become packed rows: the family of ``Binning`` and the encoders."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

import numpy as np

from neuroport.data.layout import Layout, pack, rows_of
from neuroport.data.packing import Packed, labels_of, target_problems
from neuroport.data.tally import StagingReport, Tally, tally_of
from neuroport.errors import Invalid, InvalidData, Problem
from neuroport.model.kinds import Kind

EVENTS = 200_000  # in one piece, about: its arrays stay in the processor's caches
BYTES = 1 << 22  # of packed rows in one piece, at most

Progress = Callable[[int, int], None]  # samples done, of how many


class Reader(Protocol):
    """Samples that are read a piece at a time."""

    @property
    def labels(self) -> np.ndarray:
        """Class indices (N,), or traces (N, T, *shape)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one step, one image or one signal, before packing."""

    def __len__(self) -> int: ...

    def read(self, samples: np.ndarray) -> Any:
        """Some samples, in ascending order, as the packer takes them: Events or an array (B, ...)."""


class Packer(Kind):
    """Packs raw samples. One that draws random numbers draws them for each sample by its number."""

    error_class: ClassVar[type[Invalid]] = InvalidData

    @property
    @abc.abstractmethod
    def layout(self) -> Layout: ...

    @property
    def seconds_per_step(self) -> float | None:
        """dt where this knows one."""
        return None

    @abc.abstractmethod
    def length(self, shape: tuple[int, ...]) -> int:
        """Steps T of samples of a shape."""

    @abc.abstractmethod
    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one step. shape: of the reader. Raises InvalidData where it does not fit."""

    def rows(self, shape: tuple[int, ...]) -> int:
        """Length of the second axis of the packed values."""
        return rows_of(self.layout, self.length(shape))

    @abc.abstractmethod
    def pack(self, raw: Any, samples: np.ndarray) -> tuple[np.ndarray, Tally]:
        """Packed rows of some samples, and what was counted. samples: their numbers."""

    def reader(self, x: Any, y: Any) -> Reader:
        """Samples in memory as a reader. Raises InvalidData."""
        return ArrayReader.of(x, y)

    def stage(self, x: Any, y: Any = None) -> Packed:
        """Everything at once, in memory. See ``neuroport.data.stage``."""
        reader = self.reader(x, y)
        shape, steps = self.packed_shape(reader.shape), self.length(reader.shape)
        problems = target_problems(reader.labels, len(reader), steps)
        if problems:
            raise InvalidData(problems)
        dtype = np.float32 if self.layout == "floats" else np.uint8
        values = np.empty((len(reader), self.rows(reader.shape), *shape), dtype)
        tally, done, started = Tally(), 0, time.perf_counter()
        for rows, counted in pieces(reader, np.arange(len(reader)), self):
            values[done:done + len(rows)] = rows
            done += len(rows)
            tally += counted
        if not done:
            tally.sums = np.zeros(shape)
        report = StagingReport.of(
            tally, self.layout, steps, self.seconds_per_step, values.nbytes, time.perf_counter() - started)
        return Packed(values, steps, labels_of(reader.labels), self.layout, report)


def pieces(reader: Reader, samples: np.ndarray, packer: Packer) -> Iterator[tuple[np.ndarray, Tally]]:
    """Packed rows of samples, a piece at a time, so that memory does not grow with their number."""
    row_bytes = packer.rows(reader.shape) * int(np.prod(packer.packed_shape(reader.shape)))
    row_bytes *= 4 if packer.layout == "floats" else 1
    most = max(1, BYTES // max(row_bytes, 1))
    start, count = 0, min(most, 16)
    while start < len(samples):
        chosen = samples[start:start + count]
        rows, tally = packer.pack(reader.read(chosen), chosen)
        yield rows, tally
        start += len(chosen)
        per_sample = max(tally.events / len(chosen), 1.0)
        count = int(np.clip(EVENTS / per_sample, 1, most))


class ArrayReader:
    """Samples that lie in an array, which may be memory-mapped. Raises InvalidData where they are no numbers."""

    def __init__(self, x: np.ndarray, labels: np.ndarray, place: str = "x"):
        self.x, self.labels, self.place = x, labels, place
        if x.ndim < 2 or x.dtype.kind not in "buif":
            raise InvalidData([Problem(place, f"has shape {x.shape} of {x.dtype}", "give numbers (samples, ...)")])

    @staticmethod
    def of(x: Any, y: Any) -> ArrayReader:
        return ArrayReader(np.asarray(x), np.asarray(y))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape[1:])

    def __len__(self) -> int:
        return len(self.x)

    def read(self, samples: np.ndarray) -> np.ndarray:
        """Raises InvalidData for a sample with values that are NaN or infinite."""
        if len(samples) and samples[-1] - samples[0] + 1 == len(samples):
            found = np.asarray(self.x[samples[0]:samples[-1] + 1])  # a view; a copy where it is mapped is not needed
        else:
            found = np.asarray(self.x[samples])
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            bad = samples[~np.isfinite(found).reshape(len(found), -1).all(1)]
            wrong = f"holds values that are NaN or infinite ({len(bad)} such samples here)"
            raise InvalidData([Problem(f"{self.place}[{bad[0]}]", wrong, "replace or remove them")])
        return found


def dense_rows(dense: np.ndarray, layout: Layout, steps: int) -> tuple[np.ndarray, Tally]:
    """Dense activity (B, T, *shape) packed and counted; of 0/1 and counts, each spike is an event that is kept."""
    rows = pack(dense, layout)
    tally = tally_of(rows, layout, steps)
    if layout != "floats":
        flat = dense.reshape(len(dense), -1)
        tally.events, tally.empty = int(tally.sums.sum()), int((~flat.any(1)).sum())
    return rows, tally
