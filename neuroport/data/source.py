"""Where data comes from: a named source gives splits, packed and ready to stage."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neuroport.data.order import epoch_order
from neuroport.data.packing import Packed, stage
from neuroport.errors import InvalidData, InvalidExperiment, Problem


@dataclass(frozen=True)
class SourceInfo:
    """What the hook ``neuroport_sources`` returns: enough to list a source without importing it.

    factory: "package.module:function"; called with the source's options it returns ``Splits``.
    summary: one line for people.
    """

    name: str
    factory: str
    summary: str = ""


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in its parts. All have the same number of steps and the same shape.

    train teaches, validation picks the model, test (if there is one) is judged once at the end.
    classes: how many there are; 0: one more than the largest label of the training set, or none where
    targets are traces.
    Raises InvalidData with every problem.
    """

    train: Packed
    validation: Packed
    test: Packed | None = None
    classes: int = 0
    name: str = "arrays"

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
        elif len(packed) and packed.has_classes and packed.labels.max() >= self.classes:
            wrong = f"holds the label {packed.labels.max()}, there are {self.classes} classes (from 0)"
            found.append(Problem(f"{part}.labels", wrong, "count labels from 0, or give classes"))
        return found

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

    @cached_property
    def content_hash(self) -> str:
        """A name for the content: equal for equal activity and labels in equal parts."""
        digest = hashlib.blake2b(digest_size=16)
        for name, packed in self.parts.items():
            digest.update(f"{name} {packed.values.shape} {packed.steps} {packed.binary}".encode())
            digest.update(packed.values.tobytes())
            digest.update(packed.labels.tobytes())
        return digest.hexdigest()

    def with_shuffled_labels(self, seed: int) -> Splits:
        """The control: the same activity, the labels of each part permuted among its samples."""
        random = np.random.default_rng(seed)
        parts = {name: Packed(packed.values, packed.steps, random.permutation(packed.labels), packed.binary)
                 for name, packed in self.parts.items()}
        return Splits(**parts, classes=self.classes, name=f"{self.name} (labels shuffled)")


Pair = tuple[Any, Any]


def splits(
    train: Pair, validation: Pair, test: Pair | None = None, classes: int = 0, name: str = "arrays"
) -> Splits:
    """Splits from one's own arrays: pairs of activity (N, T, *shape), whole numbers 0..255, and targets.

    Targets are labels (N,), or traces (N, T, *shape). Raises InvalidData with the problems of all parts.
    """
    parts, problems = {}, []
    for part, pair in (("train", train), ("validation", validation), ("test", test)):
        if pair is None:
            continue
        try:
            parts[part] = stage(*pair)
        except InvalidData as error:
            problems += [problem.under(part) for problem in error.problems]
    if problems:
        raise InvalidData(problems, f"data {name!r}")
    return Splits(**parts, classes=classes, name=name)


def split(
    x: Any, y: Any, validation: float = 0.15, test: float = 0.15, seed: int = 0, classes: int = 0, name: str = "arrays"
) -> Splits:
    """Splits from one set of samples: shares of it, drawn by ``seed``, go to validation and test.

    x: (N, T, *shape), whole numbers 0..255. y: class indices (N,), each class shared out alike; or
    traces (N, T, *shape). test: 0 for none. Raises InvalidData.
    """
    x, y = np.asarray(x), np.asarray(y)
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        wrong = f"shares are validation={validation}, test={test}"
        raise InvalidData([Problem("split", wrong, "give shares above 0 that leave something for training")])
    stage(x, y)  # what is wrong with all of it is said once, by its own name
    order = epoch_order(len(y), seed, 0)
    groups = [order[y[order] == label] for label in np.unique(y)] if y.ndim == 1 else [order]
    cuts = [np.split(group, np.floor(np.array([test, test + validation]) * len(group) + 0.5).astype(int))
            for group in groups]
    tested, validated, trained = (np.sort(np.concatenate(part)) for part in zip(*cuts, strict=True))
    pairs = {part: (x[rows], y[rows]) for part, rows in
             (("train", trained), ("validation", validated), ("test", tested)) if part != "test" or test > 0}
    return splits(**pairs, classes=classes or (int(y.max()) + 1 if y.ndim == 1 else 0), name=name)


def load(info: SourceInfo, options: Mapping[str, Any]) -> Splits:
    """The splits of a source. Raises InvalidExperiment for options that it does not know."""
    module, _, function = info.factory.partition(":")
    factory = getattr(importlib.import_module(module), function)
    known = inspect.signature(factory).parameters
    problems = [Problem(f"data.options.{name}", f"the source {info.name!r} has no such option",
                        f"its options are: {', '.join(known) or 'none'}")
                for name in options if name not in known]
    problems += [Problem(f"data.options.{name}", "is missing", f"the source {info.name!r} needs it")
                 for name, parameter in known.items() if parameter.default is parameter.empty and name not in options]
    if problems:
        raise InvalidExperiment(problems)
    found: Splits = factory(**options)
    return found
