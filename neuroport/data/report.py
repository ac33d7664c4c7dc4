"""What ``neuroport data list | info | stage`` show: figures as plain data, and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neuroport.data import cache
from neuroport.data.packing import Packed, unpack
from neuroport.data.plan import Plan, Progress
from neuroport.data.source import SourceInfo
from neuroport.data.splits import Splits
from neuroport.data.tally import StagingReport, lost, tally_of


@dataclass(frozen=True)
class SourceLine:
    """One source: the name to write, what it is, which plugin brings it."""

    name: str
    summary: str
    origin: str


@dataclass(frozen=True)
class KeptLine:
    """One entry of the cache."""

    path: str
    bytes: int


@dataclass(frozen=True)
class PartFigures:
    """One part of a data set. What only staging can tell is None before it.

    density: share of values that are not 0. rates: of each channel, in C order, spikes per second, or per step
    where dt is None; of floats the mean value; mean_rate, max_rate: of all of them. silent: channels that never are
    but 0. saturated: the share of events that staging merged or clipped.
    """

    part: str
    samples: int
    steps: int
    shape: list[int]
    layout: str
    dt: float | None
    classes: list[int]
    dense_bytes: int
    staged_bytes: int
    ratio: float
    density: float | None = None
    mean_rate: float | None = None
    max_rate: float | None = None
    silent: int | None = None
    events: int | None = None
    cropped: int | None = None
    merged: int | None = None
    clipped: int | None = None
    empty: int | None = None
    saturated: float | None = None
    seconds: float | None = None
    megabytes_per_second: float | None = None
    rates: list[float] | None = None


@dataclass(frozen=True)
class SetFigures:
    """A data set. cached: whether its staged arrays are kept on disk; folder: where they are, or would be."""

    name: str
    classes: int
    parts: list[PartFigures]
    cached: bool
    folder: str | None
    lost: str
    content_hash: str | None = None

    def to_data(self) -> dict[str, Any]:
        """As plain data, for --json."""
        return asdict(self)


def sources(installed: Iterable[tuple[SourceInfo, str]]) -> list[SourceLine]:
    """Every source of those given, each with the plugin that it is from."""
    return [SourceLine(one.title, one.summary, origin) for one, origin in installed]


def kept() -> list[KeptLine]:
    """Every entry of the cache."""
    return [KeptLine(str(path), sum(column["bytes"] for column in header["arrays"].values()))
            for path, header in cache.entries()]


def info(found: Splits | Plan) -> SetFigures:
    """A data set as it is, without staging it: figures of events only where it was staged before.

    Raises what loading it raises.
    """
    if isinstance(found, Splits):
        return figures(found)
    if found.cache and cache.find(found.name, found.key) is not None:
        return figures(found.staged(), found)
    found.check()
    return SetFigures(found.name, found.class_count, [_planned(found, part) for part in found.parts], False,
                      str(cache.place_of(found.name, found.key)) if found.cache else None, "")


def stage(found: Splits | Plan, progress: Progress | None = None) -> tuple[Splits, SetFigures]:
    """A data set staged, and its figures. Raises what loading it raises."""
    if isinstance(found, Splits):
        return found, figures(found)
    splits = found.staged(progress)
    return splits, figures(splits, found)


def figures(data: Splits, plan: Plan | None = None) -> SetFigures:
    """Figures of splits. plan: what they were staged by."""
    cached = plan is not None and plan.cache
    reports = [packed.report for packed in data.parts.values() if packed.report]
    return SetFigures(
        data.name, data.classes, [_part(part, packed, data.classes) for part, packed in data.parts.items()], cached,
        str(cache.place_of(plan.name, plan.key)) if plan is not None and cached else None, lost(reports),
        data.content_hash,
    )


def samples(data: Splits, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first ``count`` samples of a part to look at: activity (T, B, *shape) float32 and labels (B, ...)."""
    packed = data.parts[part]
    chosen = np.arange(min(count, len(packed)))
    return unpack(packed, chosen), packed.labels[chosen]


def source_table(lines: list[SourceLine]) -> Any:
    """A rich table of sources."""
    table = _table("source", "what it is", "from")
    for line in lines:
        table.add_row(line.name, line.summary, line.origin)
    return table


def part_table(found: SetFigures) -> Any:
    """A rich table of a data set: a column for each part, a row for what is known of it."""
    table = _table("", *(part.part for part in found.parts))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, cells in _rows(found.parts):
        if any(cells):
            table.add_row(name, *cells)
    return table


def _rows(parts: list[PartFigures]) -> Iterator[tuple[str, list[str]]]:
    yield "samples", [f"{part.samples:,}" for part in parts]
    yield "steps x shape", [" x ".join(map(str, (part.steps, *part.shape))) for part in parts]
    yield "layout", [part.layout for part in parts]
    yield "as float32", [size(part.dense_bytes) for part in parts]
    yield "staged", [f"{size(part.staged_bytes)} ({part.ratio:.1f}x less)" for part in parts]
    yield "density", [_percent(part.density) for part in parts]
    yield "mean rate of a channel", [_rate(part, part.mean_rate) for part in parts]
    yield "largest", [_rate(part, part.max_rate) for part in parts]
    yield "silent channels", [_count(part.silent) for part in parts]
    yield "events", [_count(part.events) for part in parts]
    yield "merged into one spike", [_count(part.merged) for part in parts]
    yield "beyond 255 a bin", [_count(part.clipped) for part in parts]
    yield "outside the window", [_count(part.cropped) for part in parts]
    yield "samples without events", [_count(part.empty) for part in parts]
    yield "staged at (of float32)", [
        "" if part.megabytes_per_second is None else f"{part.megabytes_per_second:,.0f} MB/s" for part in parts]


def _rate(part: PartFigures, value: float | None) -> str:
    if value is None:
        return ""
    unit = "" if part.layout == "floats" else " /step" if part.dt is None else " /s"
    return f"{value:.3g}{unit}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar on standard error, a line for each part, while a data set is staged."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    with Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
              console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(part: str, done: int, of: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=of)
            bars.update(tasks[part], completed=done)

        yield progress


def size(count: int) -> str:
    """Bytes for people: 1.3 GB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}"


def _part(name: str, packed: Packed, classes: int) -> PartFigures:
    report = packed.report
    if report is None:  # arrays that nobody binned: what can be counted of them
        tally = tally_of(packed.values, packed.layout, packed.steps)
        report = StagingReport.of(tally, packed.layout, packed.steps, None, packed.values.nbytes, 0.0)
    counted: dict[str, Any] = {}
    if packed.report is not None and report.events > 0:
        counted = {"events": report.events, "cropped": report.cropped, "merged": report.merged,
                   "clipped": report.clipped, "empty": report.empty,
                   "saturated": (report.merged + report.clipped) / report.events}
    return PartFigures(
        name, len(packed), packed.steps, list(packed.shape), packed.layout, report.dt,
        _per_class(packed.labels, classes), report.dense_bytes, report.staged_bytes, report.ratio, report.density,
        float(report.rates.mean()), float(report.rates.max()), int((report.rates == 0).sum()),
        **counted, seconds=report.seconds if packed.report else None,
        megabytes_per_second=report.megabytes_per_second if packed.report else None,
        rates=report.rates.reshape(-1).tolist(),
    )


def _planned(plan: Plan, name: str) -> PartFigures:
    part, packer = plan.parts[name], plan.packer
    shape, steps = packer.packed_shape(part.reader.shape), packer.length(part.reader.shape)
    staged = len(part) * packer.rows(part.reader.shape) * int(np.prod(shape)) * (4 if packer.layout == "floats" else 1)
    dense = 4 * len(part) * steps * int(np.prod(shape))
    return PartFigures(name, len(part), steps, list(shape), packer.layout, packer.seconds_per_step,
                       _per_class(part.labels, plan.class_count), dense, staged, dense / max(staged, 1))


def _per_class(labels: np.ndarray, classes: int) -> list[int]:
    return np.bincount(labels, minlength=classes).tolist() if labels.ndim == 1 else []


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _table(*columns: str) -> Any:
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(*columns, box=SIMPLE)
