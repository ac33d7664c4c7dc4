"""What a NIR file holds, exactly: every node, field, name, order and dtype, known or not.

Reading and writing (``codec``) keep this whole; what a node means is said in ``from_nir.py`` and
``to_nir.py``. Arrays are NumPy's, in the file's own dtype and shape, 0-d ones too. Whether two are the same, and where
they first differ, says ``difference``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

# a field's value: an array, a text, None, or a group of such values by name
Value = Any
Fields = dict[str, Value]


@dataclass(frozen=True, eq=False)
class NirNode:
    """A node: its type as the file names it, its fields in the file's order, and its metadata."""

    type: str
    fields: Fields = field(default_factory=dict)
    metadata: Fields = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NirGraph(NirNode):
    """A graph, at the root or nested: nodes by name in the file's order, edges as (source, target)."""

    type: str = "NIRGraph"
    nodes: dict[str, NirNode] = field(default_factory=dict)
    edges: tuple[tuple[str, str], ...] = ()

    def walk(self, prefix: str = "") -> Iterator[tuple[str, NirNode]]:
        """Every node within, each after the graph that holds it, by its path: names joined by "/"."""
        for name, node in self.nodes.items():
            path = f"{prefix}{name}"
            yield path, node
            if isinstance(node, NirGraph):
                yield from node.walk(f"{path}/")


@dataclass(frozen=True)
class Finding:
    """Something that a reader of a file should know. repaired: it was mended on reading, as ``words`` say."""

    path: str
    words: str
    repaired: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.words}" if self.path else self.words


@dataclass(frozen=True, eq=False)
class NirFile:
    """A file: the version of nir that wrote it ("" where it says none), its graph, and what was found on reading.

    extra: anything else at the root of the file, by name.
    """

    graph: NirGraph
    version: str = ""
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, Value] = field(default_factory=dict)


def same(one: NirFile | NirNode, other: NirFile | NirNode) -> bool:
    """Whether two files, graphs or nodes hold the same, bit by bit and in the same order."""
    return not difference(one, other)


def difference(one: NirFile | NirNode, other: NirFile | NirNode) -> str:
    """Where two files, graphs or nodes first differ, by path, and how; "" where they hold the same.

    Names, their order, types, dtypes, shapes and every bit of the values count: -0.0 is not 0.0, a NaN is itself.
    What was found on reading does not. A plain number counts as the 0-d array that NumPy makes of it.
    """
    if isinstance(one, NirFile) and isinstance(other, NirFile):
        if one.version != other.version:
            return f"version: {one.version!r}, {other.version!r}"
        return _of_nodes(one.graph, other.graph, "") or _of_fields(one.extra, other.extra, "extra")
    if isinstance(one, NirNode) and isinstance(other, NirNode):
        return _of_nodes(one, other, "")
    return f"{type(one).__name__}, {type(other).__name__}"


def plain(value: Value) -> Value:
    """A number as a 0-d array, any other value as it is."""
    return np.asarray(value) if isinstance(value, bool | int | float | complex | np.generic) else value


def _of_nodes(one: NirNode, other: NirNode, path: str) -> str:
    if one.type != other.type or isinstance(one, NirGraph) != isinstance(other, NirGraph):
        return _at(path, f"type {one.type} ({type(one).__name__}), {other.type} ({type(other).__name__})")
    found = _of_fields(one.fields, other.fields, path) or _of_fields(
        one.metadata, other.metadata, f"{path}.metadata" if path else "metadata")
    if found or not isinstance(one, NirGraph) or not isinstance(other, NirGraph):
        return found
    for mine, its in zip_longest(one.nodes, other.nodes):
        if mine != its:
            return _at(path, f"node {mine!r}, {its!r}")
        found = _of_nodes(one.nodes[mine], other.nodes[mine], f"{path}/{mine}" if path else mine)
        if found:
            return found
    for index, (edge, its_edge) in enumerate(zip_longest(one.edges, other.edges)):
        if edge != its_edge:
            return _at(path, f"edge {index}: {edge}, {its_edge}")
    return ""


def _of_fields(one: Mapping[str, Value], other: Mapping[str, Value], path: str) -> str:
    for mine, its in zip_longest(one, other):
        if mine != its:
            return _at(path, f"field {mine!r}, {its!r}")
        found = _of_values(plain(one[mine]), plain(other[mine]), f"{path}.{mine}" if path else mine)
        if found:
            return found
    return ""


def _of_values(one: Value, other: Value, path: str) -> str:
    if type(one) is not type(other):
        return _at(path, f"{type(one).__name__}, {type(other).__name__}")
    if isinstance(one, Mapping):
        return _of_fields(one, other, path)
    if not isinstance(one, np.ndarray):
        return "" if one == other else _at(path, f"{one!r:.80}, {other!r:.80}")
    if one.dtype != other.dtype or one.shape != other.shape:
        return _at(path, f"{one.dtype} of shape {one.shape}, {other.dtype} of shape {other.shape}")
    unequal = np.flatnonzero(_unequal(one, other))
    if not unequal.size:
        return ""
    where = tuple(int(index) for index in np.unravel_index(unequal[0], one.shape))
    return _at(path, f"{unequal.size} values, the first at {where}: {one[where]!r:.80}, {other[where]!r:.80}")


def _unequal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which values of two arrays of one dtype and shape differ, flat."""
    if one.dtype.kind in "OU" or one.dtype.char in "gG":  # a long double has bytes that mean nothing
        nan = (one != one) & (other != other)
        return np.asarray((one != other) & ~nan).ravel()
    width = one.dtype.itemsize
    if not width or not one.size:
        return np.zeros(one.size, bool)
    mine, its = (np.frombuffer(array.tobytes(), np.uint8).reshape(-1, width) for array in (one, other))
    return np.asarray((mine != its).any(axis=1))


def _at(path: str, words: str) -> str:
    return f"{path}: {words}" if path else words
