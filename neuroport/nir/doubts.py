"""Values that a node can hold and no network can mean: NaN, infinity, a time constant that is not positive.

nir 1.0.8 takes them without a word. They are findings, not errors: what is read stays what is in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neuroport.nir.contents import Finding, NirGraph, NirNode
from neuroport.nir.shapes import KNOWN

TIMES = ("tau", "tau_syn", "tau_mem")


def doubts(graph: NirGraph) -> Iterator[Finding]:
    """What is doubtful in the nodes that NIR has, by path."""
    for path, node in graph.walk():
        if node.type in KNOWN:
            yield from _of(path, node)


def _of(path: str, node: NirNode) -> Iterator[Finding]:
    for name, value in node.fields.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or not value.size:
            continue
        strange = int(np.count_nonzero(~np.isfinite(value)))
        if strange:
            yield Finding(path, f"{name} has {strange} values that are NaN or infinite, of {value.size}")
        with np.errstate(invalid="ignore"):
            below = int(np.count_nonzero(value <= 0 if name in TIMES else value < 0))
        if below and name in (*TIMES, "delay"):
            wanted = "positive" if name in TIMES else "zero or positive"
            yield Finding(path, f"{name} has {below} values that are not {wanted}, of {value.size}: a time in seconds")
