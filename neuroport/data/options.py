"""Options that several sources share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np

from neuroport.data.binning import Binning
from neuroport.data.packer import Packer, Reader
from neuroport.data.plan import Part
from neuroport.data.shares import drawn, held_out
from neuroport.errors import Invalid, InvalidExperiment, Problem
from neuroport.model.description import Description
from neuroport.model.kinds import Member


def binning(**options: Any) -> Binning:
    """A Binning from options of a source. Raises InvalidExperiment with their names."""
    try:
        return Binning.parse(options)
    except Invalid as error:
        raise InvalidExperiment([problem.under("data.options") for problem in error.problems]) from None


class _Encoding(Description):
    error_class: ClassVar[type[Invalid]] = InvalidExperiment

    encoding: Annotated[Packer, Member(Packer)]


def encoding(given: Any) -> Packer:
    """The option "encoding", such as {type: Latency, steps: 50}. Raises InvalidExperiment."""
    try:
        return _Encoding.parse({"encoding": given}).encoding
    except Invalid as error:
        raise InvalidExperiment([problem.under("data.options") for problem in error.problems]) from None


def parts_of(
    reader: Reader, validation: float, seed: int, by: str, groups: Callable[[str], np.ndarray] | None = None,
    chosen: Sequence[int] = (), test: float = 0.0,
) -> dict[str, Part]:
    """Train, validation and, where ``test`` is a share, test, out of one reader.

    by: "class", "sample", or the name of a group; groups: gives those of each sample by name. chosen: speakers that
    validate, in place of a share.
    """
    labels = np.asarray(reader.labels)
    if by not in ("class", "sample") and groups is None:
        raise InvalidExperiment([Problem("data.options.by", f"is {by!r}", 'choose "class" or "sample"')])
    if chosen and groups is not None:
        found = held_out(groups("speaker"), list(chosen), "speaker")
    else:
        shares = ({"test": test} if test else {}) | {"validation": validation}
        classes = labels if by == "class" and labels.ndim == 1 else None
        grouped = groups(by) if groups is not None and by not in ("class", "sample") else None
        found = drawn(len(reader), shares, seed, classes, grouped)
    return {name: Part(reader, samples) for name, samples in found.items()}
