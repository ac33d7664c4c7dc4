"""Where the nodes and edges of a model's graph stand on paper: layers from top to bottom, no box upon another.

After Sugiyama, Tagawa & Toda (1981): layers by longest path, places reserved for edges that pass a
layer, order within a layer by the mean place of neighbours, then positions that move as little as they
can from those means. Lengths in inches, y downwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuroport.model.graph import Edge
from neuroport.program.lower import Program

GAP = 0.3  # between neighbours in a layer
STREET = 0.5  # between layers
LANE = 0.55  # beside a box, for an edge that leads back and its label
PASSAGE = 0.12  # width of the place where an edge passes a layer
SWEEPS = 12

Item = str | tuple[Edge, int]  # a node, or the place of an edge in a layer
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """Left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Layout:
    """boxes: by node. forward: points of each edge from layer to layer, the bottom of its source first.

    back: of an edge that leads back (or to its own node), the points where it turns, from the right side
    of its source to the right side of its target. width, height: of the whole.
    """

    boxes: Mapping[str, Box]
    forward: Mapping[Edge, Sequence[Point]]
    back: Mapping[Edge, Sequence[Point]]
    width: float
    height: float


def arrange(program: Program, sizes: Mapping[str, tuple[float, float]]) -> Layout:
    """Lay out a program's model. sizes: width and height of each node's box; heights are equal."""
    order = {name: place for place, name in enumerate(name for one in program.segments for name in _nodes(one))}
    edges = program.model.edges
    ahead = [edge for edge in edges if order[edge.source] < order[edge.target]]
    back = [edge for edge in edges if order[edge.source] >= order[edge.target]]
    level = _levels(sorted(order, key=order.__getitem__), ahead)
    rows, links = _rows(level, ahead, back)
    _sort(rows, links)
    lanes = {name: sum(name in (edge.source, edge.target) for edge in back) for name in order}
    widths = {item: sizes[item][0] + LANE * lanes[item] if isinstance(item, str) else PASSAGE
              for row in rows for item in row}
    lefts = _places(rows, links, widths)
    return _drawn(program, sizes, level, ahead, back, lefts, widths)


def _nodes(segment: object) -> tuple[str, ...]:
    return segment.nodes if hasattr(segment, "nodes") else (segment.node,)  # type: ignore[attr-defined]


def _levels(order: Sequence[str], ahead: Sequence[Edge]) -> dict[str, int]:
    """Longest path from a source; then sources come down to just above what they feed."""
    level = dict.fromkeys(order, 0)
    for name in order:
        for edge in ahead:
            if edge.source == name:
                level[edge.target] = max(level[edge.target], level[name] + 1)
    fed = {edge.target for edge in ahead}
    for name in order:
        following = [level[edge.target] for edge in ahead if edge.source == name]
        if name not in fed and following:
            level[name] = min(following) - 1
    return level


def _rows(
    level: Mapping[str, int], ahead: Sequence[Edge], back: Sequence[Edge]
) -> tuple[list[list[Item]], list[tuple[Item, Item]]]:
    """Items of each layer, and which of neighbouring layers hang together, upper one first."""
    rows: list[list[Item]] = [[] for _ in range(max(level.values()) + 1)]
    links: list[tuple[Item, Item]] = []
    for name, place in level.items():
        rows[place].append(name)
    for edge in (*ahead, *back):
        upper, lower = sorted((edge.source, edge.target), key=lambda name: level[name])
        chain: list[Item] = [upper, *((edge, place) for place in range(level[upper] + 1, level[lower])), lower]
        for place, item in enumerate(chain[1:-1], level[upper] + 1):
            rows[place].append(item)
        if upper != lower:
            links += list(zip(chain, chain[1:], strict=False))
    return rows, links
