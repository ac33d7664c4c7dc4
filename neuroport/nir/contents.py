"""What a NIR file holds, exactly: every node, field, name, order and dtype, known or not.

Reading and writing (``hdf5.py``) keep this whole; what a node means is said in ``read.py`` and
``write.py``. Arrays are NumPy's, in the file's own dtype and shape, 0-d ones too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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
