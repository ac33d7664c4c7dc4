"""A data set before it is staged: what is read, how it is packed, and what makes it another one."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.cache import Entry, Memory, Sink, build, find, key_of
from neuroport.data.contents import contents
from neuroport.data.layout import Layout
from neuroport.data.packer import Packer, Reader, pieces
from neuroport.data.packing import Packed, labels_of, target_problems
from neuroport.data.splits import Splits, label_problems
from neuroport.data.tally import StagingReport, Tally, say
from neuroport.errors import InvalidData, Problem

Progress = Callable[[str, int, int], None]  # the part, samples done, of how many
RESERVE = 1 << 20  # bytes beside the values and labels: headers, rates


@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of a reader: their numbers, ascending."""

    reader: Reader
    samples: np.ndarray

    @staticmethod
    def all(reader: Reader) -> Part:
        return Part(reader, np.arange(len(reader)))

    @cached_property
    def labels(self) -> np.ndarray:
        return labels_of(np.asarray(self.reader.labels)[self.samples])

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, eq=False)
class Plan:
    """What ``Splits`` are made from when they are asked for.

    parts: train, validation and perhaps test. files: what the readers read, by names of your choice; their contents
    are part of the cache's key. identity: everything else that decides the samples beside the packer, as plain data
    (options of the reader, versions of others' code). cache: whether staged arrays are kept on disk.
    """

    name: str
    parts: Mapping[str, Part]
    packer: Packer
    classes: int = 0
    identity: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    cache: bool = True

    def __post_init__(self) -> None:
        ordered = {name: self.parts[name] for name in ("train", "validation", "test") if name in self.parts}
        object.__setattr__(self, "parts", ordered)

    def staged(self, progress: Progress | None = None) -> Splits:
        """The splits: from the cache, or read and packed, and kept there.

        Raises InvalidData for faults of the samples, NotWritten or UnusableFolder for those of the cache.
        """
        self.check()
        if not self.cache:
            memory, reports = Memory(), dict[str, StagingReport]()
            self._write(memory, reports, progress)
            found = self._splits(memory.arrays, reports, "")
        else:
            entry = find(self.name, self.key) or self._build(progress)
            reports = {name: StagingReport.from_data(data, entry.arrays[f"{name}.rates"])
                       for name, data in entry.notes["reports"].items()}
            found = self._splits(entry.arrays, reports, entry.notes["content_hash"])
        say(self.name, reports.values())
        return found

    @cached_property
    def key(self) -> str:
        """The cache's key: equal for what gives equal arrays."""
        return key_of({
            "packer": self.packer.to_data(), "code": _code(type(self.packer)), "identity": dict(self.identity),
            "classes": self.classes,
            "parts": {name: hashlib.blake2b(part.samples.astype("<i8").tobytes(), digest_size=16).hexdigest()
                      for name, part in self.parts.items()},
            "contents": contents(self.files),
        })

    @property
    def bytes(self) -> int:
        """Staged size of all parts."""
        return sum(self._values(part).nbytes + part.labels.nbytes for part in self.parts.values())

    def check(self) -> None:
        """Everything that can be known before a sample is read. Raises InvalidData with every problem."""
        problems = []
        for name, part in self.parts.items():
            if not len(part):
                problems.append(Problem(name, "holds no samples", "give at least one"))
            steps = self.packer.length(part.reader.shape)
            problems += [problem.under(name) for problem in target_problems(part.labels, len(part), steps)]
            problems += label_problems(name, part.labels, self.class_count, part.samples)
        if problems:
            raise InvalidData(problems, f"data {self.name!r}")

    @cached_property
    def class_count(self) -> int:
        """Classes as given, or one more than the largest label of the training set; 0 for traces."""
        labels = self.parts["train"].labels
        return self.classes or (int(labels.max()) + 1 if labels.ndim == 1 and len(labels) else 0)

    def _values(self, part: Part) -> np.ndarray:
        """An array of the shape and type of the part's packed values, without memory of its own."""
        packer, shape = self.packer, part.reader.shape
        dtype = np.float32 if packer.layout == "floats" else np.uint8
        return np.broadcast_to(dtype(0), (len(part), packer.rows(shape), *packer.packed_shape(shape)))

    def _write(self, sink: Sink, reports: dict[str, StagingReport], progress: Progress | None) -> None:
        for name, part in self.parts.items():
            values = self._values(part)
            column = sink.column(f"{name}.values", values.shape, values.dtype)
            tally, started = Tally(), time.perf_counter()
            for rows, counted in pieces(part.reader, part.samples, self.packer):
                column.append(rows)
                tally += counted
                if progress is not None:
                    progress(name, tally.samples, len(part))
            sink.column(f"{name}.labels", part.labels.shape, part.labels.dtype).append(part.labels)
            seconds = time.perf_counter() - started
            reports[name] = StagingReport.of(
                tally, self.packer.layout, self.packer.length(part.reader.shape), self.packer.seconds_per_step,
                values.nbytes, seconds)
            rates = reports[name].rates
            sink.column(f"{name}.rates", rates.shape, rates.dtype).append(rates)

    def _build(self, progress: Progress | None) -> Entry:
        reports: dict[str, StagingReport] = {}

        def note(entry: Entry) -> dict[str, Any]:
            return {"content_hash": self._splits(entry.arrays, reports, "").content_hash, "identity": self.identity,
                    "packer": self.packer.to_data(), "reports": {n: one.to_data() for n, one in reports.items()}}

        return build(
            self.name, self.key, self.bytes + RESERVE, lambda sink: self._write(sink, reports, progress), note)

    def _splits(self, arrays: Mapping[str, np.ndarray], reports: Mapping[str, StagingReport], digest: str) -> Splits:
        layout: Layout = self.packer.layout
        packed: dict[str, Any] = {
            name: Packed(arrays[f"{name}.values"], report.steps, arrays[f"{name}.labels"], layout, report)
            for name, report in reports.items()}
        return Splits(**packed, classes=self.class_count, name=self.name, digest=digest)


def _code(packer: type[Packer]) -> str:
    """What tells a user's own packer from what it was before it was edited; our own are under ``cache.FORMAT``."""
    if packer.__module__.startswith("neuroport."):
        return ""
    try:
        return hashlib.blake2b(inspect.getsource(packer).encode(), digest_size=16).hexdigest()
    except (OSError, TypeError) as error:
        mend = "put the class into a file, or give data.options.cache: false"
        problem = Problem(packer.__name__, "its code cannot be read, which the cache's key needs", mend)
        raise InvalidData([problem]) from error
