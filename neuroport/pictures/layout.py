"""Where the nodes and edges of a model's graph stand on paper: layers from top to bottom, no box upon another.

After Sugiyama, Tagawa & Toda (1981): layers by longest path, places kept free where an edge passes a
layer, order within a layer by the mean place of the neighbours, then positions as near to those means
as the widths allow. Lengths in inches, y downwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neuroport.model.graph import Edge
from neuroport.program.lower import Program
from neuroport.program.schedule import Parallel

GAP = 0.3  # between neighbours in a layer
STREET = 0.45  # between layers
LANE = 0.7  # at the right of a box, for an edge that leads back, and its label
PASSAGE = 0.1  # width kept free where an edge passes a layer
SWEEPS = 24  # that sort the layers
ROUNDS, SETTLED = 400, 1e-4  # most rounds that place them, and the move, in inches, below which they are placed

Item = str | tuple[str, int]  # a node, or an edge's key and a layer that it passes
Link = tuple[Item, Item]  # neighbours, the upper one first
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """Left, top, width, height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True)
class Layout:
    """boxes: by node. forward: points of each edge that leads down, from its source's bottom to its target's top.

    back: of each edge that leads up or to its own node, from its source's right side to its target's; the
    second and the last but one are corners. Both by the edge's key. width, height: of the whole.
    """

    boxes: Mapping[str, Box]
    forward: Mapping[str, Sequence[Point]]
    back: Mapping[str, Sequence[Point]]
    width: float
    height: float


def arrange(program: Program, sizes: Mapping[str, tuple[float, float]]) -> Layout:
    """Lay out a program's model. sizes: width and height of each node's box, all of one height."""
    order = [name for one in program.segments for name in ((one.node,) if isinstance(one, Parallel) else one.nodes)]
    place = {name: index for index, name in enumerate(order)}
    edges = program.model.edges
    forward = [edge for edge in edges if place[edge.source] < place[edge.target]]
    back = [edge for edge in edges if place[edge.source] >= place[edge.target]]
    # (upper, lower) of each edge; in the order of the program all of them lead down
    ends = {edge.key: (edge.source, edge.target) for edge in forward}
    ends |= {edge.key: (edge.target, edge.source) for edge in back}
    level = _levels(order, [pair for pair in ends.values() if pair[0] != pair[1]])
    rows, links = _rows(level, ends)
    rows = _sorted(rows, links)
    touching = {name: [edge.key for edge in back if name in (edge.source, edge.target)] for name in order}
    middle = {item: (sizes[item][0] if isinstance(item, str) else PASSAGE) / 2 for row in rows for item in row}
    widths = {item: 2 * half + (LANE * len(touching[item]) if isinstance(item, str) else 0)
              for item, half in middle.items()}
    returning = {edge.key for edge in back}
    pulls = {link: _pull(link, ends, returning) for link in links}
    centers = _centers(rows, pulls, widths, middle)
    tops = np.arange(len(rows)) * (max(height for _, height in sizes.values()) + STREET)
    boxes = {name: Box(centers[name] - middle[name], float(tops[level[name]]), *sizes[name]) for name in order}
    passing = {key: [(centers[key, at], float(tops[at])) for at in range(level[upper] + 1, level[lower])]
               for key, (upper, lower) in ends.items()}
    height = next(iter(boxes.values())).height
    return Layout(
        boxes, _down(forward, boxes, passing, height), _up(back, boxes, passing, touching, height),
        max(centers[item] - middle[item] + widths[item] for item in widths), float(tops[-1]) + height,
    )


def _levels(order: Sequence[str], ends: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Longest path from a source; sources come down to just above what they feed."""
    level = dict.fromkeys(order, 0)
    for name in order:
        for upper, lower in ends:
            if upper == name:
                level[lower] = max(level[lower], level[name] + 1)
    fed = {lower for _, lower in ends}
    for name in order:
        below = [level[lower] for upper, lower in ends if upper == name]
        if name not in fed and below:
            level[name] = min(below) - 1
    return level


def _rows(level: Mapping[str, int], ends: Mapping[str, tuple[str, str]]) -> tuple[list[list[Item]], list[Link]]:
    """The items of each layer, and which of neighbouring layers hang together."""
    rows: list[list[Item]] = [[] for _ in range(max(level.values()) + 1)]
    links: list[Link] = []
    for name, at in level.items():
        rows[at].append(name)
    for key, (upper, lower) in ends.items():
        passed: list[Item] = [(key, at) for at in range(level[upper] + 1, level[lower])]
        for at, item in enumerate(passed, level[upper] + 1):
            rows[at].append(item)
        links += [] if upper == lower else list(pairwise([upper, *passed, lower]))
    return rows, links


def _pull(link: Link, ends: Mapping[str, tuple[str, str]], returning: Collection[str]) -> float:
    """How strongly two neighbours want to stand above one another: a passing edge is straight, a chain too."""
    upper, lower = link
    if isinstance(upper, str) and isinstance(lower, str):
        return 2.0 if (upper, lower) not in {ends[key] for key in returning} else 0.2
    if isinstance(upper, str) or isinstance(lower, str):
        key = lower[0] if isinstance(upper, str) else upper[0]
        return 0.05 if key in returning else 0.2
    return 8.0


def _sorted(rows: list[list[Item]], links: Sequence[Link]) -> list[list[Item]]:
    """Rows in an order with few crossings: sweeps by mean place of the neighbours, the best one kept."""
    best, fewest = rows, _crossings(rows, links)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        rows = [list(row) for row in rows]
        for row in rows if down else rows[::-1]:
            place = _places(rows)
            near = _neighbours(links, above=down)
            row.sort(key=lambda item: float(np.mean([place[one] for one in near[item]])) if item in near
                     else place[item])
        crossings = _crossings(rows, links)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _places(rows: Sequence[Sequence[Item]]) -> dict[Item, float]:
    """Each item's place in its layer, from 0 to 1."""
    return {item: (index + 0.5) / len(row) for row in rows for index, item in enumerate(row)}


def _neighbours(links: Sequence[Link], above: bool) -> dict[Item, list[Item]]:
    found: dict[Item, list[Item]] = {}
    for upper, lower in links:
        item, other = (lower, upper) if above else (upper, lower)
        found.setdefault(item, []).append(other)
    return found


def _crossings(rows: Sequence[Sequence[Item]], links: Sequence[Link]) -> int:
    place = _places(rows)
    level = {item: at for at, row in enumerate(rows) for item in row}
    found = 0
    for at in range(len(rows)):
        ends = np.array([(place[upper], place[lower]) for upper, lower in links if level[upper] == at]).reshape(-1, 2)
        above, below = (ends[:, None] - ends[None]).transpose(2, 0, 1)
        found += int((above * below < 0).sum()) // 2
    return found


def _centers(
    rows: Sequence[Sequence[Item]], pulls: Mapping[Link, float], widths: Mapping[Item, float],
    middle: Mapping[Item, float],
) -> dict[Item, float]:
    """Horizontal centers that make the sum of pull * distance^2 over all links small, row by row in turn."""
    centers = dict.fromkeys(widths, 0.0)
    around: dict[Item, list[tuple[Item, float]]] = {}
    for (upper, lower), pull in pulls.items():
        around.setdefault(upper, []).append((lower, pull))
        around.setdefault(lower, []).append((upper, pull))
    for sweep in range(ROUNDS):
        last = dict(centers)
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            near = [around.get(item, [(item, 1.0)]) for item in row]
            weights = [sum(pull for _, pull in one) for one in near]
            wanted = [sum(centers[other] * pull for other, pull in one) / weight
                      for one, weight in zip(near, weights, strict=True)]
            lefts = _apart([want - middle[item] for want, item in zip(wanted, row, strict=True)],
                           [widths[item] + GAP for item in row], weights)
            centers.update({item: left + middle[item] for item, left in zip(row, lefts, strict=True)})
        if max(abs(centers[item] - last[item]) for item in centers) < SETTLED:
            break
    first = min(centers[item] - middle[item] for item in widths)
    return {item: center - first for item, center in centers.items()}


def _apart(wanted: Sequence[float], widths: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Places with at least these widths between them, nearest to the wanted ones in weighted least squares.

    Pool adjacent violators: less the widths before each, the places must not decrease.
    """
    offsets = np.concatenate([[0.0], np.cumsum(widths[:-1])])
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for value, weight in zip(np.asarray(wanted) - offsets, weights, strict=True):
        pools.append((float(value), weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, u, n), (b, v, m) = pools[-2:]
            pools[-2:] = [((a * u + b * v) / (u + v), u + v, n + m)]
    level = [mean for mean, _, count in pools for _ in range(count)]
    return [float(offset + mean) for offset, mean in zip(offsets, level, strict=True)]


def _down(
    edges: Sequence[Edge], boxes: Mapping[str, Box], passing: Mapping[str, Sequence[Point]], height: float
) -> dict[str, list[Point]]:
    """Edges that lead down. They leave and enter side by side, in the order of where they go and come from."""
    middle = {name: box.x + box.width / 2 for name, box in boxes.items()}
    leaving: dict[str, list[tuple[float, str]]] = {}
    entering: dict[str, list[tuple[float, str]]] = {}
    for edge in edges:
        inner = passing[edge.key]
        leaving.setdefault(edge.source, []).append((inner[0][0] if inner else middle[edge.target], edge.key))
        entering.setdefault(edge.target, []).append((inner[-1][0] if inner else middle[edge.source], edge.key))

    def port(name: str, key: str, ends: Mapping[str, list[tuple[float, str]]]) -> float:
        keys = [one for _, one in sorted(ends[name])]
        return boxes[name].x + boxes[name].width * (keys.index(key) + 1) / (len(keys) + 1)

    return {
        edge.key: [
            (port(edge.source, edge.key, leaving), boxes[edge.source].bottom),
            *(point for x, top in passing[edge.key] for point in ((x, top), (x, top + height))),
            (port(edge.target, edge.key, entering), boxes[edge.target].y),
        ] for edge in edges
    }


def _up(
    edges: Sequence[Edge], boxes: Mapping[str, Box], passing: Mapping[str, Sequence[Point]],
    touching: Mapping[str, Sequence[str]], height: float,
) -> dict[str, list[Point]]:
    """Edges that lead back: out at the right, up a lane of their own, in at the right."""

    def end(name: str, key: str, share: float) -> tuple[Point, Point]:
        box, index = boxes[name], touching[name].index(key)
        # the innermost lane highest, so that lanes of one box do not cross where they leave it
        y = box.y + box.height * (share + index) / len(touching[name])
        return (box.right, y), (box.right + LANE * (index + 0.25), y)

    found = {}
    for edge in edges:
        itself = edge.source == edge.target
        start, turn = end(edge.source, edge.key, 0.75 if itself else 0.5)
        stop, into = end(edge.target, edge.key, 0.25 if itself else 0.5)
        inner = [point for x, top in reversed(passing[edge.key]) for point in ((x, top + height), (x, top))]
        streets = [] if itself else [(turn[0], boxes[edge.source].y), *inner, (into[0], boxes[edge.target].bottom)]
        found[edge.key] = [start, turn, *streets, into, stop]
    return found
