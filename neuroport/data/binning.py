"""From events to steps: which event counts in which step and channel, and what is said of those that cannot."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neuroport.data.events import Events, rounding_of
from neuroport.data.layout import Layout, rows_of
from neuroport.data.packer import Packer, Reader
from neuroport.data.tally import Tally, tally_of
from neuroport.errors import InvalidData, Problem
from neuroport.model.description import nested

NEAR = 1e-6  # of a step: k * dt computed in floats must not fall into step k - 1


class Binning(Packer):
    """Events into steps of ``dt`` seconds.

    An event at time t lies in step floor((t - start) / dt). One that is before an edge by less than rounding can
    explain lies behind it, so that t = k dt is in step k: by a millionth of a step, and by the resolution of float32
    where times were stored so, before they were aligned or got another unit. float16 times are taken as they are
    stored: 0.56982 s (for 0.57 s) lies in step 56 of 10 ms, since most of what rounds to it lay before 0.57 s.

    steps or duration: how long the window is; what is beyond it, or before ``start``, is cropped and counted, or
    an error (beyond). pool: so many neighboring channels become one (5: 700 to 140), or pixels of a camera's
    (P, H, W) become one (2: 2 x 2); a number for each axis is possible. values: "binary": at most one spike a step
    and channel, further ones are merged and counted; "counts": up to 255, what is beyond is clipped and counted.
    """

    dt: float = Field(gt=0, allow_inf_nan=False)
    steps: int | None = Field(None, gt=0)
    duration: float | None = Field(None, gt=0, allow_inf_nan=False)
    start: float = Field(0.0, ge=0, allow_inf_nan=False)
    pool: int | tuple[int, ...] = 1
    values: Literal["binary", "counts"] = "binary"
    beyond: Literal["crop", "error"] = "crop"

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        if (self.steps is None) == (self.duration is None):
            wrong = "are both missing" if self.steps is None else "are both given"
            mend = "give either steps or duration (seconds), how long the window is"
            raise nested([Problem("steps, duration", wrong, mend)])
        if min((self.pool,) if isinstance(self.pool, int) else self.pool, default=0) < 1:
            raise ValueError("pool must be 1 or more")
        return self

    @property
    def layout(self) -> Layout:
        return "bits" if self.values == "binary" else "counts"

    @property
    def seconds_per_step(self) -> float | None:
        return self.dt

    @cached_property
    def window(self) -> int:
        """Steps T."""
        if self.steps is not None:
            return self.steps
        assert self.duration is not None
        return max(1, math.ceil(self.duration / self.dt - NEAR))  # 0.3 / 0.1 is a little above 3

    def length(self, shape: tuple[int, ...]) -> int:
        return self.window

    def packed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return pooled(shape, self.pool)

    def reader(self, x: Any, y: Any) -> Reader:
        if not isinstance(x, Events):
            mend = "give Events; arrays that are binned already need no Binning"
            raise InvalidData([Problem("x", f"is no Events (got {type(x).__name__})", mend)])
        if y is not None:
            raise InvalidData([Problem("y", "is given beside Events, which hold labels", "leave it out")])
        return x

    def pack(self, raw: Events, samples: np.ndarray) -> tuple[np.ndarray, Tally]:
        shape, count = self.packed_shape(raw.shape), len(raw)
        inside, step = self._steps(raw)
        if not inside.all():
            if self.beyond == "error":
                raise InvalidData([self._outside(raw, inside)], "events")
            step = step[inside]
        sample = np.repeat(np.arange(count), raw.lengths)[inside]
        unit = raw.units[inside]
        if shape != raw.shape:
            unit = pool_table(raw.shape, self.pool)[unit]
        width = int(np.prod(shape))
        rows = rows_of(self.layout, self.window)
        if self.layout == "bits":
            # bitwise_or.at: twice as fast as eight masked passes, ten times as np.packbits of a dense array
            flat = np.zeros(count * rows * width, np.uint8)
            place = (sample * rows + (step >> 3)) * width + unit
            np.bitwise_or.at(flat, place, np.uint8(1) << (step & 7).astype(np.uint8))
            clipped = 0
        else:
            flat, clipped = _counts((sample * rows + step) * width + unit, count * rows * width)
        values = flat.reshape(count, rows, *shape)
        tally = tally_of(values, self.layout, self.window)
        tally.events, tally.cropped = len(raw.times), len(raw.times) - len(step)
        tally.empty, tally.clipped = int((raw.lengths == 0).sum()), clipped
        tally.merged = len(step) - int(tally.sums.sum()) - clipped
        return values, tally

    def _steps(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        """Whether each event lies in the window, and its step where it does."""
        place = (events.times.astype(np.float64) - self.start) / self.dt
        rounding = rounding_of(events)
        if rounding is not None:
            place += rounding / self.dt
        place += NEAR
        inside = (place >= 0) & (place < self.window)  # before the cast: a far time has no int32
        return inside, np.where(inside, place, 0).astype(np.int32)  # not negative: the cast is the floor

    def _outside(self, events: Events, inside: np.ndarray) -> Problem:
        event = int((~inside).argmax())
        sample = int(np.searchsorted(events.offsets, event, side="right")) - 1
        number = sample if events.numbers is None else events.numbers[sample]
        end = self.start + self.window * self.dt
        wrong = f"its time {events.times[event]:g} s lies outside the window from {self.start:g} to {end:g} s"
        mend = "make the window longer, or give beyond='crop'"
        return Problem(f"sample {number}, event {event - int(events.offsets[sample])}", wrong, mend)


def pooled(shape: tuple[int, ...], pool: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape that remains after pooling. Raises InvalidData where groups do not come out even."""
    sizes = _pool_sizes(shape, pool)
    if len(sizes) != len(shape) or any(length % size for length, size in zip(shape, sizes, strict=False)):
        wrong = f"{pool} does not divide the shape {shape}"
        raise InvalidData([Problem("pool", wrong, "give a divisor of each axis, such as 5 for (700,)")])
    return tuple(length // size for length, size in zip(shape, sizes, strict=True))


def _pool_sizes(shape: tuple[int, ...], pool: int | tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(pool, int):
        return pool
    return (1, *(pool,) * (len(shape) - 1)) if len(shape) == 3 else (pool,) * len(shape)  # polarities stay apart


@lru_cache(maxsize=8)
def pool_table(shape: tuple[int, ...], pool: int | tuple[int, ...]) -> np.ndarray:
    """The pooled unit of each unit, (prod(shape),) int32."""
    sizes, smaller = _pool_sizes(shape, pool), pooled(shape, pool)
    grid = np.zeros(shape, np.int32)
    for axis, size in enumerate(sizes):
        index = np.arange(shape[axis]) // size
        grid = grid * smaller[axis] + index.reshape(*(-1 if i == axis else 1 for i in range(len(shape)))).astype(
            np.int32)
    table = grid.reshape(-1)
    table.setflags(write=False)  # it is shared by all callers
    return table


def _counts(place: np.ndarray, cells: int) -> tuple[np.ndarray, int]:
    """How many events lie in each of so many cells, up to 255, and how many were beyond that."""
    if cells > 64 * len(place):  # few events on a large sensor: memory follows the events
        flat = np.zeros(cells, np.uint8)
        found, counts = np.unique(place, return_counts=True)
        flat[found] = np.minimum(counts, 255)
    else:
        counts = np.zeros(cells, np.uint32)
        np.add.at(counts, place, np.uint32(1))
        flat = np.minimum(counts, 255).astype(np.uint8)
    return flat, int(np.maximum(counts, 255).sum(dtype=np.int64)) - 255 * len(counts)
