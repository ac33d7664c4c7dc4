"""Graphs that nir 1.0.8 refuses, mended where the intent is clear; what was done is a finding, the rest is an error.

Files of older releases and of several platforms name nodes that are called otherwise, repeat edges, or leave out shapes
and Input and Output nodes. A graph that has nothing of that kind comes back as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from neuroport.errors import InvalidData, Problem, listed
from neuroport.nir.codec import legacy
from neuroport.nir.codec.limits import DEEPEST
from neuroport.nir.contents import Finding, NirFile, NirGraph, NirNode
from neuroport.nir.shapes import CONVOLUTIONS, ELEMENTWISE, KNOWN, Shape, Shapes, Unfit, flattened, infer, shape_out

MOST_SPREAD = 1 << 24  # values that single numbers of a file are written out as, all together
NEURONS = frozenset(ELEMENTWISE) - {"Scale", "Delay", "Threshold"}


def repaired(file: NirFile) -> NirFile:
    """The file with its graph mended; what was done, and what does not fit, are among its findings.

    Raises InvalidData for what is refused: edges to nodes that are not there, fields that cannot be guessed.
    """
    log = _Log()
    graph = _whole(file.graph, "", log)
    if log.problems:
        raise InvalidData(log.problems, "NIR file")
    paths = [path for path, _ in graph.walk()]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        words = "is the path of two nodes, one of whose names has a '/': shapes are not looked at"
        return replace(file, graph=graph, findings=(*file.findings, *log.findings, Finding(twice, words)))
    for _ in range(DEEPEST):  # a shape that was found out tells others; each round mends at least one level
        before = len(log.findings)
        for step in STEPS:
            graph = step(graph, infer(graph), log)
        if len(log.findings) == before:
            break
    unknown = [Finding(path, f"has the type {node.type}, which NIR does not have")
               for path, node in graph.walk() if node.type not in KNOWN]
    found = dict.fromkeys([*file.findings, *log.findings, *infer(graph).findings, *unknown])
    return replace(file, graph=graph, findings=tuple(found))


class _Log:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.problems: list[Problem] = []
        self.room = MOST_SPREAD

    def repaired(self, path: str, words: str) -> None:
        self.findings.append(Finding(path, words, repaired=True))


def _whole(graph: NirGraph, path: str, log: _Log) -> NirGraph:
    """Nodes with today's fields, edges that name nodes and stand once; in nested graphs too."""
    nodes: dict[str, NirNode] = {}
    for name, node in graph.nodes.items():
        where = f"{path}/{name}" if path else name
        if isinstance(node, NirGraph):
            nodes[name] = _whole(node, where, log)
            continue
        nodes[name], words = legacy.mended(node)
        for one in words:
            log.repaired(where, one)
        log.problems += legacy.lacking(nodes[name], where)
    edges = _edges(graph, path, log)
    if edges == graph.edges and all(nodes[name] is node for name, node in graph.nodes.items()):
        return graph
    return replace(graph, nodes=nodes, edges=edges)


def _edges(graph: NirGraph, path: str, log: _Log) -> tuple[tuple[str, str], ...]:
    edges = graph.edges
    ends = {end for edge in edges for end in edge}
    lost = sorted(ends - graph.nodes.keys())
    unused = [name for name in graph.nodes if name not in ends]
    if len(lost) == 1 and len(unused) == 1:
        log.repaired(path, f"edges name {lost[0]!r}, which is not there, and none names {unused[0]!r}: it is meant")
        edges = tuple((unused[0] if one == lost[0] else one, unused[0] if two == lost[0] else two)
                      for one, two in edges)
    elif lost:
        mend = f"name nodes of this graph: {listed(graph.nodes)}"
        log.problems.append(Problem(f"{path}.edges" if path else "edges", f"name {listed(map(repr, lost))}, which "
                                    f"{'are' if len(lost) > 1 else 'is'} not there", mend))
    once = tuple(dict.fromkeys(edges))
    if len(once) < len(edges):
        twice = sorted({edge for edge in edges if edges.count(edge) > 1}) if len(edges) < 1000 else []
        named = f" ({listed(f'{one} -> {two}' for one, two in twice)})" if twice else ""
        log.repaired(path, f"{len(edges) - len(once)} edges stand more than once{named}: each counts once")
    return once


def _changed(graph: NirGraph, change: Callable[[str, NirNode], NirNode], prefix: str = "") -> NirGraph:
    """The graph with a change applied to every node within that is no graph."""
    nodes = {name: _changed(node, change, f"{prefix}{name}/") if isinstance(node, NirGraph)
             else change(prefix + name, node) for name, node in graph.nodes.items()}
    same = all(nodes[name] is node for name, node in graph.nodes.items())
    return graph if same else replace(graph, nodes=nodes)


def _without_batch(graph: NirGraph, shapes: Shapes, log: _Log) -> NirGraph:
    """Flatten counts its dimensions with the batch, as PyTorch does: what it makes only fits when they shift by one."""
    after = _next(graph)

    def change(path: str, node: NirNode) -> NirNode:
        into = shapes.into[path]
        wanted = {shapes.into[target] for target in after.get(path, ()) if shapes.into[target] is not None}
        if node.type != "Flatten" or into is None or len(wanted) != 1 or shapes.out[path] in wanted:
            return node
        try:
            first, last = flattened(node)
            moved = {"start_dim": np.array(first - (first > 0)), "end_dim": np.array(last - (last > 0))}
            shifted = NirNode(node.type, {**node.fields, **moved}, node.metadata)
            fits = shape_out(shifted, into) in wanted
        except Unfit:
            return node
        if not fits:
            return node
        log.repaired(path, f"counts its dimensions with the batch: start_dim {first} is {moved['start_dim']}")
        return shifted

    return _changed(graph, change)


def _with_shapes(graph: NirGraph, shapes: Shapes, log: _Log) -> NirGraph:
    """Shapes that Input, Output and convolutions do not say, or say with axes of one too many."""
    after, before = _next(graph), _previous(graph)

    def change(path: str, node: NirNode) -> NirNode:
        if node.type in CONVOLUTIONS and "input_shape" not in node.fields:
            into = shapes.into[path]
            if into is None or shapes.out[path] is None:
                return node
            return _said(path, node, "input_shape", np.array(into[1:] if node.type == "Conv2d" else into[1]), log)
        if node.type not in ("Input", "Output"):
            return node
        around = [shapes.into[one] for one in after.get(path, ())] if node.type == "Input" else [
            shapes.out[one] for one in before.get(path, ())]
        known = {shape for shape in around if shape is not None}
        if len(known) != 1:
            return node
        shape, said = known.pop(), shapes.into[path]
        if "shape" in node.fields and (said is None or said == shape or _squeezed(said) != _squeezed(shape)):
            return node
        return _said(path, node, "shape", np.array(shape, int), log)

    return _changed(graph, change)


def _said(path: str, node: NirNode, name: str, value: np.ndarray, log: _Log) -> NirNode:
    held = node.fields.get(name)
    was = f"says no {name}" if held is None else f"says {name} {held.tolist()}"
    log.repaired(path, f"{was}: it is {value.tolist()}, as the nodes beside it show")
    return NirNode(node.type, {**node.fields, name: value}, node.metadata)


def _spread_out(graph: NirGraph, shapes: Shapes, log: _Log) -> NirGraph:
    """One number for a whole population: nir wants one for each neuron (a w_in may stay)."""

    def change(path: str, node: NirNode) -> NirNode:
        into = shapes.into[path]
        if node.type not in ELEMENTWISE or into is None or shapes.out[path] is None:
            return node
        held = {name: node.fields[name] for name in ELEMENTWISE[node.type] if node.fields.get(name) is not None}
        short = {name: value for name, value in held.items() if value.shape != into}
        if "w_in" in short and short["w_in"].ndim == 0:
            del short["w_in"]
        if not short or math.prod(into) * len(short) > log.room:
            return node
        log.room -= math.prod(into) * len(short)
        log.repaired(path, f"{', '.join(short)} stand for all of shape {into}: given to each")
        filled = {name: np.broadcast_to(value, into).copy() for name, value in short.items()}
        return NirNode(node.type, {**node.fields, **filled}, node.metadata)

    return _changed(graph, change)


def _with_ends(graph: NirGraph, shapes: Shapes, log: _Log, path: str = "") -> NirGraph:
    """Input and Output nodes where the graph begins and ends without them, named as nir 1.0.8 names them."""
    prefix = f"{path}/" if path else ""
    nodes: dict[str, NirNode] = {
        name: _with_ends(node, shapes, log, prefix + name) if isinstance(node, NirGraph) else node
        for name, node in graph.nodes.items()}
    if all(nodes[name] is node for name, node in graph.nodes.items()):
        nodes = graph.nodes
    edges = list(graph.edges)
    added: dict[str, NirNode] = {}
    for kind, known in (("Input", shapes.into), ("Output", shapes.out)):
        for name in _bare_ends(graph, kind, most=1 if path else len(graph.nodes)):
            shape = known[prefix + name]
            if shape is None:
                continue
            end = _free(f"{kind.lower()}_{name}", {*nodes, *added})
            added[end] = NirNode(kind, {"shape": np.array(shape, int)})
            edges.append((end, name) if kind == "Input" else (name, end))
            where = "begins" if kind == "Input" else "ends"
            log.repaired(path, f"{where} with {name!r}, without an {kind}: {end!r} of shape {shape} is added")
    if nodes is graph.nodes and not added:
        return graph
    return replace(graph, nodes={**nodes, **added}, edges=tuple(edges))


def _bare_ends(graph: NirGraph, kind: str, most: int) -> list[str]:
    """Nodes that an Input (or Output) belongs before (or behind). A nested graph has one: no edge names a port."""
    own = 1 if kind == "Input" else 0  # which end of an edge says that a node is no such end of the graph
    reached = {edge[own] for edge in graph.edges}
    touched = {end for edge in graph.edges for end in edge} if graph.edges else set(graph.nodes)
    bare = [name for name, node in graph.nodes.items()
            if name in touched and name not in reached and node.type not in ("Input", "Output")]
    has_one = any(node.type == kind for node in graph.nodes.values())
    if not bare and not has_one:  # a recurrent population: its one neuron takes in and puts out
        neurons = [name for name, node in graph.nodes.items() if node.type in NEURONS]
        return neurons if len(neurons) == 1 else []
    return bare if len(bare) + (has_one and most == 1) <= most else []


def _free(name: str, taken: set[str]) -> str:
    candidate, count = name, 0
    while candidate in taken:
        candidate, count = f"{name}_{count}", count + 1
    return candidate


def _squeezed(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _next(graph: NirGraph, prefix: str = "") -> Mapping[str, list[str]]:
    """By path, the paths that edges lead to."""
    found: dict[str, list[str]] = {}
    for source, target in graph.edges:
        found.setdefault(prefix + source, []).append(prefix + target)
    for name, node in graph.nodes.items():
        if isinstance(node, NirGraph):
            found |= _next(node, f"{prefix}{name}/")
    return found


def _previous(graph: NirGraph) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source, targets in _next(graph).items():
        for target in targets:
            found.setdefault(target, []).append(source)
    return found


Step = Callable[[NirGraph, Shapes, _Log], NirGraph]
STEPS: tuple[Step, ...] = (_with_ends, _without_batch, _with_shapes, _spread_out)
