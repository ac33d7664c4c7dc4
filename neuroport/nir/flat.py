"""A NIR graph as one flat graph in an order of its own: nesting dissolved, the delay of every cycle placed.

Nothing here depends on the order in which a file lists its nodes and edges: nodes are ordered by their
distance from the inputs, then by name.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from neuroport.errors import InvalidData, Problem
from neuroport.nir.contents import NirGraph, NirNode

Link = tuple[str, str]


@dataclass(frozen=True)
class Flat:
    """Nodes by path (names joined by "/") and edges (source, target), in the order of this module.

    delays: the edges that carry the one step which a cycle needs, as ``place_delays`` chose them.
    """

    nodes: Mapping[str, NirNode]
    edges: tuple[Link, ...]
    delays: frozenset[Link] = frozenset()

    def into(self, name: str) -> tuple[str, ...]:
        return self._ends[0].get(name, ())

    def out_of(self, name: str) -> tuple[str, ...]:
        return self._ends[1].get(name, ())

    @cached_property
    def _ends(self) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        """Sources by target, and targets by source."""
        into: dict[str, list[str]] = {}
        out: dict[str, list[str]] = {}
        for source, target in self.edges:
            into.setdefault(target, []).append(source)
            out.setdefault(source, []).append(target)
        return ({name: tuple(ends) for name, ends in into.items()}, {name: tuple(ends) for name, ends in out.items()})


def flatten(graph: NirGraph) -> Flat:
    """A graph without nesting, ordered. Raises InvalidData where an edge has no end or a nested graph several."""
    nodes: dict[str, NirNode] = {}
    gates: list[str] = []
    problems: list[Problem] = []
    edges = _dissolved(graph, "", nodes, gates, problems)
    if problems:
        raise InvalidData(problems, "NIR graph")
    for gate in gates:
        del nodes[gate]
    behind = _behind(gates, edges)
    if ring := _ring(behind):
        wrong, mend = "stands in a ring of graphs' ends, with nothing that delays", "put a neuron or a Delay in between"
        raise InvalidData([Problem(ring, wrong, mend)], "NIR graph")
    edges = _spliced(behind, edges)
    return _ordered(nodes, edges)


def _dissolved(
    graph: NirGraph, prefix: str, nodes: dict[str, NirNode], gates: list[str], problems: list[Problem]
) -> list[Link]:
    """Adds the nodes within to ``nodes``, the ends of nested graphs also to ``gates``; returns the edges."""
    edges: list[Link] = []
    enter, leave = {}, {}  # where an edge to or from a node of this graph really ends
    for name, node in graph.nodes.items():
        path = prefix + name
        enter[name] = leave[name] = path
        if isinstance(node, NirGraph):
            edges += _dissolved(node, f"{path}/", nodes, gates, problems)
            enter[name], leave[name] = (_gate(node, path, kind, problems) for kind in ("Input", "Output"))
        elif path in nodes:
            problems.append(Problem(path, "is the path of two nodes", "rename one; '/' separates nested names"))
        else:
            nodes[path] = node
            gates += [path] if prefix and node.type in ("Input", "Output") else []
    for source, target in graph.edges:
        missing = [end for end in (source, target) if end not in graph.nodes]
        mend = f"remove the edge ({source}, {target}), or add the node"
        problems += [Problem(f"{prefix}edges", f"there is no node {end!r}", mend) for end in missing]
        if not missing:
            edges.append((leave[source], enter[target]))
    return edges


def _gate(graph: NirGraph, path: str, kind: str, problems: list[Problem]) -> str:
    """The one Input or Output of a nested graph."""
    found = [name for name, node in graph.nodes.items() if node.type == kind]
    if len(found) != 1:
        wrong = f"this nested graph has {len(found)} nodes of type {kind}"
        problems.append(Problem(path, wrong, "give it exactly one; several ports are not in the standard"))
        return path
    return f"{path}/{found[0]}"


def _behind(gates: Iterable[str], edges: Iterable[Link]) -> dict[str, list[str]]:
    """What follows each of the nodes that only pass on."""
    behind: dict[str, list[str]] = {gate: [] for gate in gates}
    for source, target in edges:
        if source in behind:
            behind[source].append(target)
    return behind


def _ring(behind: Mapping[str, list[str]]) -> str:
    """A gate that stands in a ring of gates alone, or behind one; "" where there is none."""
    open_ = dict.fromkeys(behind, 0)
    for targets in behind.values():
        for target in targets:
            if target in open_:
                open_[target] += 1
    waiting = [gate for gate, count in open_.items() if not count]
    while waiting:
        gate = waiting.pop()
        del open_[gate]
        for target in behind[gate]:
            if target in open_:
                open_[target] -= 1
                if not open_[target]:
                    waiting.append(target)
    return min(open_, default="")


def _spliced(behind: Mapping[str, list[str]], edges: Iterable[Link]) -> list[Link]:
    """Without nodes that only pass on: each edge into one is followed to where it really ends.

    An end that is reached by several ways stands twice, so that it can be refused; more would grow without bound.
    """
    found = []
    for source, target in edges:
        waiting, passed = [target] if source not in behind else [], Counter[str]()
        while waiting:
            end = waiting.pop()
            if end not in behind:
                found.append((source, end))
            elif passed[end] < 2:
                passed[end] += 1
                waiting += behind[end]
    return found


def _ordered(nodes: Mapping[str, NirNode], edges: Iterable[Link]) -> Flat:
    edges = list(edges)
    distance = _distances(nodes, edges)
    rank = {name: (distance[name], name) for name in nodes}
    # twice the same edge stays twice: to drop one would halve a signal without a word
    ordered = sorted(edges, key=lambda edge: (rank[edge[1]], rank[edge[0]]))
    return Flat({name: nodes[name] for name in sorted(nodes, key=rank.__getitem__)}, tuple(ordered))


def _distances(nodes: Mapping[str, NirNode], edges: Iterable[Link]) -> dict[str, int]:
    """Edges on the shortest way from an Input to each node; what none reaches comes last."""
    follows: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        follows[source].append(target)
    found = {name: 0 for name, node in nodes.items() if node.type == "Input"}
    waiting = deque(sorted(found))
    while waiting:
        name = waiting.popleft()
        for target in sorted(follows[name]):
            if target not in found:
                found[target] = found[name] + 1
                waiting.append(target)
    return {name: found.get(name, len(nodes)) for name in nodes}


def place_delays(
    flat: Flat, delayed: Callable[[str], bool], stateful: Callable[[str], bool],
    bias_at_start: Callable[[str], bool] = lambda name: True,
) -> Flat:
    """Choose the edges that carry the one step which every cycle needs.

    The edges that close a cycle are those that run back to a node on the way that led there, nearest
    nodes first. From there the delay moves to where the feedback leaves its population, so that the bias
    of the connection between acts from the first step on; where ``bias_at_start`` of the node it arrives at is
    False it stays there, and that bias is absent at t = 0. delayed: nodes that hold back by a step or more
    by themselves (a Delay). stateful: populations.
    """
    chosen = set()
    for edge in _closing(flat, delayed):
        seen: set[Link] = set()
        early = bias_at_start(edge[1])
        while early and not stateful(edge[0]) and edge not in seen:
            seen.add(edge)
            before, behind = flat.into(edge[0]), flat.out_of(edge[0])
            if len(before) == len(behind) == 1:
                edge = (before[0], edge[0])
        chosen.add(edge)
    return replace(flat, delays=frozenset(chosen))


def _closing(flat: Flat, delayed: Callable[[str], bool]) -> list[Link]:
    """Edges back to a node that is still open in a depth-first walk; behind a delayed node no cycle is closed."""
    follows: dict[str, list[str]] = {name: [] for name in flat.nodes}
    place = {name: index for index, name in enumerate(flat.nodes)}
    for source, target in flat.edges:
        if not delayed(target):
            follows[source].append(target)
    found, done = [], set()
    for start in flat.nodes:
        if start in done:
            continue
        open_, stack = {start}, [(start, iter(sorted(follows[start], key=place.__getitem__)))]
        while stack:
            name, rest = stack[-1]
            for target in rest:
                if target in open_:
                    found.append((name, target))
                elif target not in done:
                    open_.add(target)
                    stack.append((target, iter(sorted(follows[target], key=place.__getitem__))))
                    break
            else:
                stack.pop()
                open_.discard(name)
                done.add(name)
    return list(dict.fromkeys(found))
