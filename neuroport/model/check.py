"""What a graph must satisfy, and the shapes that follow. Reports every problem, not the first.

A node that could not even be read stands as None: what depends on it is not judged, the rest is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from neuroport.dynamics.discretize import Step
from neuroport.errors import Problem, listed
from neuroport.model.description import closest
from neuroport.model.layers import Delay
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Input, Misfit, Node, Output, bounds_of
from neuroport.model.numerics import Numerics
from neuroport.model.values import Bound, Shape, numbers_in

Nodes = Mapping[str, Node | None]


class Link(Protocol):
    """An edge, as far as this file looks at it."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def delay(self) -> int: ...


class Shapes(NamedTuple):
    """Shapes that enter and leave each node, as far as they are known."""

    entering: dict[str, Shape]
    leaving: dict[str, Shape]


def check(
    nodes: Nodes, edges: Sequence[Link], dt: float | None, numerics: Numerics, complete: bool = True
) -> list[Problem]:
    """Every problem of a graph: names, ends, cycles, shapes, parameters.

    complete: False where some edges could not be read, so that none can be said to be missing.
    """
    problems = [*_names(nodes), *_edges(nodes, edges)] if complete else []
    problems += _ends(nodes, edges) if complete else []
    known = [edge for edge in edges if edge.source in nodes and edge.target in nodes]
    instant = [edge for edge in known if not edge.delay and not delays_output(nodes[edge.source], numerics)
               and not delays_input(nodes[edge.target], dt, numerics)]
    problems += [_cycle_problem(cycle) for cycle in cycles(nodes, instant)]
    shapes, found = infer_shapes(nodes, known)
    return problems + found + _parameters(nodes, shapes, dt, numerics)


def _names(nodes: Nodes) -> Iterable[Problem]:
    if not nodes:
        yield Problem("nodes", "the model has no nodes", "add an Input, layers and an Output")
    for name in nodes:
        if not name or "->" in name:
            yield Problem(f"nodes.{name}", "a node's name must not be empty nor hold '->'", "rename it")


def _edges(nodes: Nodes, edges: Sequence[Link]) -> Iterable[Problem]:
    seen = set()
    for index, edge in enumerate(edges):
        for end in (edge.source, edge.target):
            if end not in nodes:
                close = closest(end, nodes)
                hint = f"did you mean {close!r}? " if close else ""
                yield Problem(f"edges.{index}", f"there is no node {end!r}", f"{hint}The nodes are: {listed(nodes)}")
        if (edge.source, edge.target) in seen:
            wrong = f"{edge.source} -> {edge.target} stands twice"
            yield Problem(f"edges.{index}", wrong, "remove one; to double a signal put Scale(scale=2) between")
        seen.add((edge.source, edge.target))


def _ends(nodes: Nodes, edges: Sequence[Link]) -> Iterable[Problem]:
    kinds = {name: type(node) for name, node in nodes.items()}
    for end in (Input, Output):
        if nodes and end not in kinds.values() and None not in nodes.values():
            fields = "shape=(...)" if end is Input else ""
            mend = f"add a node {end.__name__}({fields}) and an edge"
            yield Problem("nodes", f"the model has no {end.__name__}", mend)
    fed, read = {edge.target for edge in edges}, {edge.source for edge in edges}
    for name, kind in kinds.items():
        if kind is Input and name in fed:
            yield Problem(f"nodes.{name}", "an Input has an incoming edge", "send that edge to a node behind it")
        if kind is Output and name in read:
            yield Problem(f"nodes.{name}", "an Output has an outgoing edge", "start that edge at the node before it")
        if kind not in (Input, type(None)) and name not in fed:
            yield Problem(f"nodes.{name}", "nothing reaches this node", "add an edge that ends in it, or remove it")
        if kind not in (Output, type(None)) and name not in read:
            mend = "add an edge from it, to an Output say, or remove it"
            yield Problem(f"nodes.{name}", "nothing reads this node", mend)


def _cycle_problem(cycle: Sequence[str]) -> Problem:
    shown = cycle if len(cycle) <= 8 else (*cycle[:4], "...", *cycle[-3:])
    path = " -> ".join([*shown, cycle[0]])
    mend = f"give one of its edges a delay: Edge({cycle[-1]!r}, {cycle[0]!r}, delay=1)"
    return Problem("edges", f"the cycle {path} has no delay", mend)


def delays_output(node: Node | None, numerics: Numerics) -> bool:
    """Whether what a node sends out in a step was decided in the step before, so that a cycle may pass through it."""
    if not isinstance(node, Neuron):
        return False
    return bool(node.numerics_under(numerics).output_delay)


def delays_input(node: Node | None, dt: float | None, numerics: Numerics) -> bool:
    """Whether what reaches a node in a step leaves it in a later one, all of it."""
    if not isinstance(node, Delay):
        return False
    soonest = min(numbers_in(node.delay), default=0.0)
    return soonest > 0 if dt is None else Step(dt, numerics.discretization).steps(soonest) > 0


def cycles(nodes: Iterable[str], edges: Sequence[Link]) -> list[tuple[str, ...]]:
    """Cycles of these edges, one per strongly connected group, in a fixed order."""
    follows: dict[str, list[str]] = {name: [] for name in nodes}
    for edge in edges:
        follows[edge.source].append(edge.target)
    found, done = [], set()
    for start in follows:
        path: list[str] = []
        stack = [(start, iter(follows[start]))] if start not in done else []
        path += [start] if stack else []
        while stack:
            for following in stack[-1][1]:
                if following in path:
                    found.append(tuple(path[path.index(following) :]))
                elif following not in done:
                    path.append(following)
                    stack.append((following, iter(follows[following])))
                    break
            else:
                stack.pop()
                done.add(path.pop())
    return list({frozenset(cycle): cycle for cycle in reversed(found)}.values())


def infer_shapes(nodes: Nodes, edges: Sequence[Link]) -> tuple[Shapes, list[Problem]]:
    """Shapes from the inputs onward, through cycles too, and what does not fit."""
    shapes = Shapes({}, {})
    problems: list[Problem] = []
    failed: set[str] = set()

    def settle(name: str, shape: Shape) -> None:
        node = nodes[name]
        if node is None or name in shapes.entering or name in failed:
            return
        shapes.entering[name] = shape
        try:
            shapes.leaving[name] = node.output_shape(shape)
        except Misfit as misfit:
            failed.add(name)
            problems.append(misfit.problem.under(f"nodes.{name}"))

    for name, node in nodes.items():
        if isinstance(node, Input):
            settle(name, node.shape)
    settled = -1
    while settled < len(shapes.entering):  # a shape travels one edge a round at least
        settled = len(shapes.entering)
        for edge in edges:
            if edge.source in shapes.leaving:
                settle(edge.target, shapes.leaving[edge.source])
    arriving: dict[str, dict[str, Shape]] = {}
    for edge in edges:
        if edge.source in shapes.leaving:
            arriving.setdefault(edge.target, {})[edge.source] = shapes.leaving[edge.source]
    for name in shapes.entering:
        found = arriving.get(name, {})
        if len(set(found.values())) > 1:
            each = listed(f"{shape} from {source}" for source, shape in found.items())
            mend = "edges into one node add up, so their shapes must be equal"
            problems.append(Problem(f"nodes.{name}", f"receives shapes that differ: {each}", mend))
    return shapes, problems


def _parameters(nodes: Nodes, shapes: Shapes, dt: float | None, numerics: Numerics) -> list[Problem]:
    problems = []
    for name, node in nodes.items():
        if isinstance(node, Neuron) and type(node).integrate is Neuron.integrate:
            mend = "write its equations: def integrate(self, c, s, x)"
            problems.append(Problem(f"nodes.{name}", f"{type(node).__name__} defines no integrate", mend))
    for name, shape in shapes.entering.items():
        node = nodes[name]
        assert node is not None
        try:
            if name in shapes.leaving:
                node.arrays(shape)
        except Misfit as misfit:
            problems.append(misfit.problem.under(f"nodes.{name}"))
    for name, node in nodes.items():
        if isinstance(node, Delay) and dt is not None and name in shapes.leaving:
            try:
                node.lags(shapes.entering[name], Step(dt, numerics.discretization))
            except Misfit as misfit:
                problems.append(misfit.problem.under(f"nodes.{name}"))
        if isinstance(node, Neuron) and dt is not None:
            problems += _time_constants(name, node, dt, node.numerics_under(numerics))
    return problems


def _time_constants(name: str, node: Neuron, dt: float, numerics: Numerics) -> Iterable[Problem]:
    """Under Euler dt / tau must lie in (0, 1]; beyond it the decay is negative and the membrane rings."""
    if numerics.discretization != "euler":
        return
    for field, bound in bounds_of(node).items():
        short = [tau for tau in numbers_in(getattr(node, field)) if bound is Bound.TIME and tau < dt]
        if short:
            wrong = f"{min(short)} s is below dt = {dt} s, so forward Euler decays below zero"
            mend = f"use {field} >= {dt}, a smaller dt, or discretization='exponential'; times are in seconds"
            yield Problem(f"nodes.{name}.{field}", wrong, mend)
