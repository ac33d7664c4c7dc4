"""What staging did: counted while it runs, reported when it is done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neuroport.data.layout import Layout

FIGURES = ("samples", "events", "cropped", "merged", "clipped", "empty", "nonzero")


@dataclass
class Tally:
    """Counts of one part of a data set, added up over its pieces. sums: of the values, a channel each."""

    samples: int = 0
    events: int = 0
    cropped: int = 0
    merged: int = 0
    clipped: int = 0
    empty: int = 0
    nonzero: int = 0
    sums: Any = field(default_factory=lambda: np.zeros((), np.float64))

    def __iadd__(self, other: Tally) -> Tally:
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.sums = self.sums + other.sums
        return self


def tally_of(values: np.ndarray, layout: Layout, steps: int) -> Tally:
    """What can be counted of packed rows themselves."""
    if layout == "bits":
        sums = np.bitwise_count(values).sum((0, 1), dtype=np.float64)
        return Tally(len(values), nonzero=int(sums.sum()), sums=sums)
    repeated = steps // values.shape[1]  # rows held once for all steps
    sums = values.sum((0, 1), dtype=np.float64) * repeated
    return Tally(len(values), nonzero=int(np.count_nonzero(values)) * repeated, sums=sums)


@dataclass(frozen=True, eq=False)
class StagingReport:
    """What became of a part of a data set.

    events: how many came in. Of these, ``cropped`` lie outside the window; ``merged`` fell on a bit already set
    (layout "bits"); ``clipped`` are beyond 255 in one bin (layout "counts"); all others are kept. empty: samples
    without any event. nonzero: values that are not 0. rates: (*shape,) mean spikes per second of each channel
    (per step where dt is None); of floats the mean value. seconds: staging took.
    """

    layout: Layout
    steps: int
    shape: tuple[int, ...]
    dt: float | None
    samples: int
    events: int
    cropped: int
    merged: int
    clipped: int
    empty: int
    nonzero: int
    staged_bytes: int
    seconds: float
    rates: np.ndarray

    @staticmethod
    def of(tally: Tally, layout: Layout, steps: int, dt: float | None, staged_bytes: int, seconds: float) -> (
            StagingReport):
        """The report of a finished tally."""
        span = tally.samples * steps * (1.0 if dt is None or layout == "floats" else dt)
        rates = np.asarray(tally.sums / max(span, 1e-300))
        figures = {name: getattr(tally, name) for name in FIGURES}
        return StagingReport(
            layout=layout, steps=steps, shape=rates.shape, dt=dt, staged_bytes=staged_bytes, seconds=seconds,
            rates=rates, **figures,
        )

    @property
    def kept(self) -> int:
        return self.events - self.cropped - self.merged - self.clipped

    @property
    def density(self) -> float:
        """Share of values that are not 0."""
        return self.nonzero / max(self.cells, 1)

    @property
    def cells(self) -> int:
        return self.samples * self.steps * int(np.prod(self.shape))

    @property
    def dense_bytes(self) -> int:
        """As a dense array of float32."""
        return 4 * self.cells

    @property
    def ratio(self) -> float:
        """How many times smaller than dense float32."""
        return self.dense_bytes / max(self.staged_bytes, 1)

    @property
    def megabytes_per_second(self) -> float:
        """Of dense float32 equivalent."""
        return self.dense_bytes / 1e6 / max(self.seconds, 1e-9)

    def to_data(self) -> dict[str, Any]:
        """As plain data, without the rates."""
        return {name: value for name, value in vars(self).items() if name != "rates"} | {"shape": list(self.shape)}

    @staticmethod
    def from_data(data: Mapping[str, Any], rates: np.ndarray) -> StagingReport:
        """What ``to_data`` gave, and the rates."""
        return replace(StagingReport(**data, rates=rates), shape=tuple(data["shape"]))


_LOST = {
    "merged": "fell into a bin that was already set (values: counts keeps them)",
    "cropped": "lie outside the window",
    "clipped": "are beyond 255 in one bin (a smaller dt or pool keeps them)",
}


def lost(reports: Iterable[StagingReport]) -> str:
    """What staging lost, in words, the most first; "" where nothing was."""
    reports = list(reports)
    total = {name: sum(getattr(report, name) for report in reports) for name in FIGURES}
    found = [f"{total[name]:,} ({_share(total[name], total['events'])}) {what}" for name, what in
             sorted(_LOST.items(), key=lambda item: -total[item[0]]) if total[name]]
    said = [f"of {total['events']:,} events " + ", ".join(found)] if found else []
    if total["events"] and total["cropped"] == total["events"]:
        said.append("times count in seconds (time_unit=1e-6 for microseconds)")
    if total["empty"]:
        said.append(f"{total['empty']:,} of {total['samples']:,} samples hold no event")
    return "; ".join(said)


_said: set[str] = set()


def say(name: str, reports: Iterable[StagingReport | None]) -> None:
    """What staging lost, in a line on standard error: once in a process for the same of the same name."""
    found = lost(report for report in reports if report is not None)
    line = f"neuroport: data {name}: {found}"
    if found and line not in _said:
        _said.add(line)
        print(line, file=sys.stderr)


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.2g} %" if percent < 99.5 else f"{percent:.0f} %"
