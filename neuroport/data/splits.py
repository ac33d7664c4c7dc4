"""A data set in its parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neuroport.data.events import Events
from neuroport.data.layout import Layout
from neuroport.data.packer import Packer
from neuroport.data.packing import Packed, target_problems
from neuroport.data.shares import drawn
from neuroport.data.staging import refuse_mistaken, stage
from neuroport.data.tally import say
from neuroport.errors import InvalidData, Problem

BLOCK = 1 << 22  # bytes hashed at a time


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in its parts. All have the same number of steps and the same shape.

    train teaches, validation picks the model, test (if there is one) is judged once at the end.
    classes: how many there are; 0: one more than the largest label of the training set, or none where
    targets are traces. digest: the content hash where it is known already.
    Raises InvalidData with every problem.
    """

    train: Packed
    validation: Packed
    test: Packed | None = None
    classes: int = 0
    name: str = "arrays"
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.classes and len(self.train) and self.train.has_classes:
            object.__setattr__(self, "classes", int(self.train.labels.max()) + 1)
        problems = [problem for part, packed in self.parts.items() for problem in self._problems(part, packed)]
        if problems:
            raise InvalidData(problems, f"data {self.name!r}")

    def _problems(self, part: str, packed: Packed) -> list[Problem]:
        found = []
        if not len(packed):
            found.append(Problem(part, "holds no samples", "give at least one"))
        if packed.steps < 1:
            found.append(Problem(part, "holds no time steps", "give at least one"))
        if (packed.steps, packed.shape) != (self.steps, self.shape):
            wrong = f"has {packed.steps} steps of {packed.shape}, train has {self.steps} of {self.shape}"
            found.append(Problem(part, wrong, "bin all parts alike"))
        if packed.labels.shape[1:] != self.train.labels.shape[1:]:
            wrong = f"has targets of shape {packed.labels.shape[1:]} a sample, train has {self.train.labels.shape[1:]}"
            found.append(Problem(f"{part}.labels", wrong, "give all parts the same kind of targets"))
        else:
            found += label_problems(part, packed.labels, self.classes)
        return found

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {packed!r}" for name, packed in self.parts.items())
        return f"<Splits {self.name}, {self.classes} classes: {parts}>"

    @property
    def parts(self) -> dict[str, Packed]:
        """The parts that there are, by name."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: packed for name, packed in found.items() if packed is not None}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one time step of one sample."""
        return self.train.shape

    @property
    def steps(self) -> int:
        return self.train.steps

    @property
    def dt(self) -> float | None:
        """Seconds a step, where staging knew them."""
        return self.train.report.dt if self.train.report else None

    @cached_property
    def content_hash(self) -> str:
        """A name for the content: equal for equal activity and labels in equal parts."""
        if self.digest:
            return self.digest
        digest = hashlib.blake2b(digest_size=16)
        for name, packed in self.parts.items():
            layout = "floats" if packed.layout == "floats" else packed.binary  # as it always was for the other two
            digest.update(f"{name} {packed.values.shape} {packed.steps} {layout}".encode())
            for array in (packed.values, packed.labels):
                for block in _blocks(array):
                    digest.update(block)
        return digest.hexdigest()

    def with_shuffled_labels(self, seed: int) -> Splits:
        """The control: the same activity, the labels of each part permuted among its samples."""
        random = np.random.default_rng(seed)
        parts: dict[str, Any] = {
            name: replace(packed, labels=random.permutation(packed.labels)) for name, packed in self.parts.items()}
        return Splits(**parts, classes=self.classes, name=f"{self.name} (labels shuffled)")


def label_problems(part: str, labels: np.ndarray, classes: int, numbers: np.ndarray | None = None) -> list[Problem]:
    """Labels of a part beyond its classes. numbers: what the samples are called."""
    if labels.ndim != 1 or not len(labels) or labels.max() < classes:
        return []
    sample = int(labels.argmax())
    number = sample if numbers is None else int(numbers[sample])
    wrong = f"sample {number} holds the label {labels[sample]}, there are {classes} classes (from 0)"
    return [Problem(f"{part}.labels", wrong, "count labels from 0, or give classes")]


Pair = tuple[Any, Any] | Events


def _pair(given: Any, using: Any) -> tuple[Any, Any]:
    """Activity and targets of a part. Raises InvalidData."""
    if isinstance(given, (Events, Packed)):
        refuse_mistaken(given, None, using)
        return given, None
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InvalidData([Problem("", f"is no pair (got {type(given).__name__})", "give (x, y), or Events")])
    return given[0], given[1]


def _class_count(labels: np.ndarray) -> int:
    """How many classes labels name. Raises InvalidData where some of them have no sample."""
    if labels.ndim != 1 or not len(labels):
        return 0
    counts = np.bincount(labels)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        wrong = f"run from {labels.min()} to {labels.max()}, but class {empty[0]} has no sample"
        mend = "count classes from 0" + (" (y - 1)" if labels.min() == 1 else "")
        raise InvalidData([Problem("labels", wrong, f"{mend}; or give classes={len(counts)} if that is meant")])
    return len(counts)


def splits(
    train: Pair, validation: Pair, test: Pair | None = None, classes: int = 0, name: str = "arrays",
    using: Packer | None = None, layout: Layout | None = None,
) -> Splits:
    """Splits from one's own arrays: pairs of activity (N, T, *shape), whole numbers 0..255, and targets.

    Targets are labels (N,), or traces (N, T, *shape). using: a Binning for parts that are Events, an encoder for
    pairs of images or signals. layout: "floats" for activity that is no whole numbers. See ``stage``.
    Raises InvalidData with the problems of all parts.
    """
    parts: dict[str, Any] = {}
    problems = []
    for part, pair in (("train", train), ("validation", validation), ("test", test)):
        if pair is None:
            continue
        try:
            x, y = _pair(pair, using)
            parts[part] = stage(x, y, layout=layout) if using is None else using.stage(x, y)
        except InvalidData as error:
            problems += [problem.under(part) for problem in error.problems]
    if problems:
        raise InvalidData(problems, f"data {name!r}")
    say(name, [packed.report for packed in parts.values()])
    return Splits(**parts, classes=classes or _class_count(parts["train"].labels), name=name)


def split(
    x: Any, y: Any = None, validation: float = 0.15, test: float = 0.15, seed: int = 0, classes: int = 0,
    name: str = "arrays", using: Packer | None = None, layout: Layout | None = None, groups: Any = None,
) -> Splits:
    """Splits from one set of samples: shares of it, drawn by ``seed``, go to validation and test.

    x, y, using, layout: as ``stage`` takes them. Each class is shared out alike; with ``groups`` (N,), such as
    the speaker of each sample, a group goes to one part as a whole. test: 0 for none. Raises InvalidData.
    """
    refuse_mistaken(x, y, using)
    events = isinstance(x, Events)
    labels = np.asarray(x.labels if events else y)
    x = x if events else np.asarray(x)
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        wrong = f"shares are validation={validation}, test={test}"
        raise InvalidData([Problem("split", wrong, "give shares above 0 that leave something for training")])
    if using is None:
        stage(x, labels, layout=layout)  # what is wrong with all of it is said once, by its own name
    else:
        reader = using.reader(x, None if events else labels)
        problems = target_problems(labels, len(reader), using.length(reader.shape))
        if problems:
            raise InvalidData(problems)
    if groups is not None and np.shape(groups) != (len(labels),):
        wrong = f"has shape {np.shape(groups)} for {len(labels)} samples"
        raise InvalidData([Problem("groups", wrong, "give one group a sample, (N,)")])
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise InvalidData([Problem("seed", f"is no seed (got {seed!r:.60})", "give an integer from 0 to 2**32 - 1")])
    shares = {"test": test, "validation": validation} if test else {"validation": validation}
    chosen = drawn(len(labels), shares, seed, labels if labels.ndim == 1 else None,
                   None if groups is None else np.asarray(groups))
    pairs = {part: x.read(rows) if events else (x[rows], labels[rows]) for part, rows in chosen.items()}
    count = classes or _class_count(labels)
    return splits(**pairs, classes=count, name=name, using=using, layout=layout)


def _blocks(array: np.ndarray) -> Iterator[bytes]:
    """The bytes of an array, a piece at a time; of a mapped file read from it: mapped pages would stay in memory."""
    if isinstance(array, np.memmap) and array.filename and array.flags.c_contiguous:
        path = Path(array.filename)
        if path.stat().st_size == array.offset + array.nbytes:  # all of the file, not a part of it
            with path.open("rb", buffering=0) as file:
                file.seek(array.offset)
                while block := file.read(BLOCK):
                    yield block
            return
    rows = max(1, BLOCK // max(array[:1].nbytes, 1))
    for start in range(0, len(array), rows):
        yield array[start:start + rows].tobytes()
