"""Recordings as events: when, and where. Samples of different lengths lie behind one another in flat arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem

TIME_COLUMN = "t"


@dataclass(frozen=True, eq=False)
class Events:
    """Events of N samples.

    times: (E,) seconds from the beginning of each sample, not falling within a sample. units: (E,) whole numbers,
    places in ``shape`` counted in C order; of a camera's (P, H, W) that is (p H + y) W + x. offsets: (N + 1,):
    sample i holds the events offsets[i] to offsets[i + 1]; a sample may hold none. shape: of one time step.
    labels: class indices (N,), or traces (N, T, *shape). numbers: what errors call the samples, (N,); 0 to N - 1
    where not given. rounding: (E,) seconds by which a time may lie beside the one that was meant, as it was
    stored before it was aligned or got another unit; None: as the type of ``times`` says.

    Raises InvalidData with the first fault of each kind, by sample and event.
    """

    times: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    shape: tuple[int, ...]
    labels: np.ndarray
    numbers: np.ndarray | None = None
    rounding: np.ndarray | None = None

    def __post_init__(self) -> None:
        problems = [*_layout_problems(self)] or [*_value_problems(self)]
        if problems:
            raise InvalidData(problems, "events")

    @staticmethod
    def of(
        samples: Sequence[Any], labels: Any, shape: Sequence[int] | None = None, time_unit: float = 1.0,
        sort: bool = False, align: bool = False, numbers: np.ndarray | None = None,
    ) -> Events:
        """Events from a list of samples.

        A sample is a pair (times, units), or a structured array with the columns t, x and, of a camera, y and p.
        shape: of one step: (channels,) for pairs and for t, x; (P, H, W) for t, x, y, p, (H, W) without p.
        time_unit: seconds that a time of 1 stands for; 1e-6 for microseconds, as tonic's are. sort: put the events of
        each sample in the order of their times. align: times count from each sample's first event.
        Raises InvalidData.
        """
        size = _shape(shape)
        called = np.arange(len(samples)) if numbers is None else numbers
        pairs = [_pair(sample, size, int(number)) for sample, number in zip(samples, called, strict=True)]
        lengths = np.array([len(times) for times, _ in pairs], np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        stored = [times for times, _ in pairs]
        times = _joined(stored, np.dtype(np.float64))
        units = _joined([units for _, units in pairs], np.dtype(np.int32))
        rounding = None
        if align or time_unit != 1.0 or len({piece.dtype for piece in stored}) > 1:
            # a difference of large times, or a product, no longer shows how coarsely those were stored
            rounding = _joined_roundings(stored, fine=align)
            times = times.astype(np.float64)
        elif times.dtype.kind in "biu":
            times = times.astype(np.float64)
        if align:
            # a sample that does not begin with its first event shows negative times below
            first = np.minimum(offsets[:-1], max(len(times) - 1, 0))
            if sort:
                first = np.array([start + (int(piece.argmin()) if len(piece) else 0) for start, piece in
                                  zip(offsets[:-1], _pieces(times, offsets), strict=True)], np.int64)
            first = np.repeat(first, lengths)
            times = times - times[first]
            rounding = None if rounding is None else rounding + rounding[first]
        if time_unit != 1.0:
            times = times * time_unit
            rounding = None if rounding is None else rounding * time_unit
        if sort:
            order = np.lexsort((times, np.repeat(np.arange(len(pairs)), lengths)))
            times, units = times[order], units[order]
            rounding = None if rounding is None else rounding[order]
        return Events(times, units, offsets, size, np.asarray(labels), called, rounding)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """How many events each sample holds, (N,)."""
        return np.diff(self.offsets)

    @property
    def duration(self) -> float:
        """Time of the last event of all, in seconds; 0 where there is none."""
        return float(self.times.max()) if len(self.times) else 0.0

    def read(self, samples: np.ndarray) -> Events:
        """Some of the samples."""
        lengths = self.lengths[samples]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[samples] - offsets[:-1], lengths)
        numbers = samples if self.numbers is None else self.numbers[samples]
        rounding = None if self.rounding is None else self.rounding[index]
        times, units, labels = self.times[index], self.units[index], self.labels[samples]
        return Events(times, units, offsets, self.shape, labels, numbers, rounding)


def rounding_of(events: Events) -> np.ndarray | None:
    """Seconds by which each time may lie beside the one that was meant, (E,); None where that is next to nothing."""
    return _rounding(events.times) if events.rounding is None else events.rounding


def _rounding(times: np.ndarray, fine: bool = False) -> np.ndarray | None:
    """Of stored times, in their own unit. fine: also of float64.

    Twice half of a last bit, as k * dt is rounded twice, dt and the product. None of whole numbers, and of float16:
    that is coarser than what was recorded, so that most of what rounds to just before an edge lay before it.
    """
    if times.dtype == np.float32 or (fine and times.dtype == np.float64):
        return np.abs(times.astype(np.float64)) * float(np.finfo(times.dtype).eps)
    return None


def _joined_roundings(stored: Sequence[np.ndarray], fine: bool) -> np.ndarray | None:
    found = [_rounding(times, fine) for times in stored]
    if all(one is None for one in found):
        return None
    return np.concatenate([np.zeros(len(times)) if one is None else one
                           for times, one in zip(stored, found, strict=True)])


def columns(sample: Any) -> tuple[str, ...]:
    """Names of the columns of a structured array; () of anything else."""
    return getattr(getattr(sample, "dtype", None), "names", None) or ()


def _shape(shape: Sequence[int] | None) -> tuple[int, ...]:
    try:
        size = tuple(int(length) for length in shape or ())
    except (TypeError, ValueError):
        size = ()
    if not size or min(size) < 1:
        mend = "give (channels,), or (polarities, height, width) of a camera"
        raise InvalidData([Problem("shape", f"is no shape of one time step (got {shape!r})", mend)], "events")
    return size


def _pair(sample: Any, shape: tuple[int, ...], number: int) -> tuple[np.ndarray, np.ndarray]:
    """Times as they are given, and units, of one sample."""
    place = f"sample {number}"
    if columns(sample):
        return _from_columns(sample, shape, place)
    try:
        times, units = (np.asarray(one) for one in sample)
    except (TypeError, ValueError):
        mend = "give (times, units), or a structured array with the columns t, x, y, p"
        raise InvalidData([Problem(place, f"is no sample of events ({type(sample).__name__})", mend)]) from None
    if times.ndim != 1 or units.ndim != 1 or len(times) != len(units):
        wrong = f"holds times of shape {times.shape} and units of shape {units.shape}"
        raise InvalidData([Problem(place, wrong, "give one unit for each time")], "events")
    for name, values, kinds in (("times", times, "biuf"), ("units", units, "biu")):
        if len(values) and values.dtype.kind not in kinds:
            wrong = f"holds {values.dtype}"
            raise InvalidData([Problem(f"{place}: {name}", wrong, "give numbers, whole ones for units")], "events")
    return (times, units) if len(times) else (np.zeros(0), np.zeros(0, np.int32))


def _from_columns(sample: Any, shape: tuple[int, ...], place: str) -> tuple[np.ndarray, np.ndarray]:
    axes = ("x", "yx", "pyx")[len(shape) - 1] if len(shape) <= 3 else ""
    missing = [name for name in (TIME_COLUMN, *axes) if name not in columns(sample)]
    if not axes or missing:
        wrong = f"has the columns {', '.join(columns(sample))}; a shape {shape} needs t, {', '.join(reversed(axes))}"
        mend = "give shape=(channels,) for t, x; (height, width) for t, x, y; (polarities, height, width) with p"
        raise InvalidData([Problem(place, wrong, mend)], "events")
    flat = np.ascontiguousarray(sample).reshape(-1)
    units = np.zeros(len(flat), np.int64)
    for name, length in zip(axes, shape, strict=True):
        column = flat[name]
        if len(column) and column.dtype.kind not in "biu" and (column != np.floor(column)).any():
            wrong = f"holds {name} of {column.dtype} that are no whole numbers"
            raise InvalidData([Problem(place, wrong, "give whole numbers")], "events")
        column = column.astype(np.int64)
        outside = np.flatnonzero((column < 0) | (column >= length))
        if len(outside):
            event = int(outside[0])
            wrong = f"its {name} is {column[event]}, the sensor has 0..{length - 1} ({len(outside)} such events)"
            mend = "remove those events, or give the sensor's true shape"
            raise InvalidData([Problem(f"{place}, event {event}", wrong, mend)], "events")
        units = units * length + column
    return flat[TIME_COLUMN], units


def _joined(arrays: Sequence[np.ndarray], empty: np.dtype[Any]) -> np.ndarray:
    filled = [array for array in arrays if len(array)]
    return np.concatenate(filled) if filled else np.zeros(0, empty)


def _pieces(values: np.ndarray, offsets: np.ndarray) -> Iterator[np.ndarray]:
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        yield values[start:stop]


def _layout_problems(events: Events) -> Iterator[Problem]:
    times, units, offsets, labels = events.times, events.units, events.offsets, events.labels
    if times.ndim != 1 or times.dtype.kind != "f":
        yield Problem("times", f"have shape {times.shape} of {times.dtype}", "give seconds, (events,) floats")
    if units.ndim != 1 or units.dtype.kind not in "iu":
        yield Problem("units", f"have shape {units.shape} of {units.dtype}", "give (events,) whole numbers")
    if events.rounding is not None and events.rounding.shape != times.shape:
        yield Problem("rounding", f"has shape {events.rounding.shape} for {len(times)} times", "give one for each time")
    if len(times) != len(units):
        yield Problem("units", f"are {len(units)} for {len(times)} times", "give one unit for each time")
    if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(times) or (
            np.diff(offsets) < 0).any():
        mend = "give where each sample begins, and the end: offsets[0] == 0, offsets[-1] == len(times)"
        yield Problem("offsets", f"do not divide {len(times)} events into samples", mend)
    elif len(labels) != len(offsets) - 1:
        yield Problem("labels", f"are {len(labels)} for {len(offsets) - 1} samples", "give one a sample")
    elif labels.ndim == 1 and len(labels):
        if labels.dtype.kind not in "iu":
            yield Problem("labels", f"are {labels.dtype}", "give class indices, whole numbers from 0")
        elif labels.min() < 0:
            sample = int(labels.argmin())
            number = sample if events.numbers is None else events.numbers[sample]
            yield Problem(f"sample {number}", f"its label is {labels[sample]}", "count classes from 0")


def _value_problems(events: Events) -> Iterator[Problem]:
    times, units = events.times, events.units
    if not len(times):
        return
    finite = np.isfinite(times)
    if not finite.all():
        yield _first(events, ~finite, lambda event: f"its time is {times[event]}", "remove those events")
    elif times.min() < 0:
        mend = "let times count from the sample's beginning (align=True: from its first event)"
        yield _first(events, times < 0, lambda event: f"its time is {times[event]:g} s, before the beginning", mend)
    else:
        falling = np.zeros(len(times), bool)
        falling[1:] = times[1:] < times[:-1]
        falling[events.offsets[:-1][events.lengths > 0]] = False  # where a sample begins
        if falling.any():
            yield _first(events, falling, lambda event: f"its time {times[event]:g} s is before that of the event "
                         f"before it, {times[event - 1]:g} s", "sort the events by time, or give sort=True")
    count = int(np.prod(events.shape))
    if int(units.max()) >= count or int(units.min()) < 0:
        outside = (units >= count) | (units < 0)
        mend = "remove those events, or give the true shape"
        yield _first(events, outside, lambda event: f"its unit is {units[event]}, the shape {events.shape} has "
                     f"0..{count - 1}", mend)


def _first(events: Events, bad: np.ndarray, wrong: Any, mend: str) -> Problem:
    """The problem of the first of some events, by sample and event."""
    event = int(bad.argmax())
    sample = int(np.searchsorted(events.offsets, event, side="right")) - 1
    number = sample if events.numbers is None else events.numbers[sample]
    count = int(bad.sum())
    such = f" ({count:,} such events)" if count > 1 else ""
    return Problem(f"sample {number}, event {event - int(events.offsets[sample])}", wrong(event) + such, mend)
