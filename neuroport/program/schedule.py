"""A graph as a sequence of segments: what runs over all T at once, and what steps through time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuroport.model.check import delays_output
from neuroport.model.graph import Model
from neuroport.model.neurons import Neuron
from neuroport.program.wires import Wire


@dataclass(frozen=True)
class Parallel:
    """A stateless node outside every cycle: all T x B at once."""

    node: str


@dataclass(frozen=True)
class Stepped:
    """Nodes that step through time together, in the order in which one step runs them.

    internal: the wires among them. A ``Population`` is one neuron node outside every cycle; a
    ``Loop`` is a cyclic component.
    """

    nodes: tuple[str, ...]
    internal: tuple[Wire, ...] = ()

    @property
    def held(self) -> tuple[Wire, ...]:
        """Undelayed wires that run backward in the order of a step: what they carry, their source held already."""
        place = {name: index for index, name in enumerate(self.nodes)}
        return tuple(edge for edge in self.internal
                     if not edge.soonest and place[edge.source] >= place[edge.target])


class Population(Stepped):
    """One neuron population whose whole time loop can run in one kernel."""


class Loop(Stepped):
    """A cyclic component, run step by step."""


Segment = Parallel | Population | Loop


def schedule(model: Model, wires: Sequence[Wire]) -> tuple[Segment, ...]:
    """The model's strongly connected components in topological order, each as its segment."""
    segments: list[Segment] = []
    for component in components(model.nodes, wires):
        internal = tuple(edge for edge in wires if edge.source in component and edge.target in component)
        (first, *others) = component
        if others or internal:
            instant = [edge for edge in internal
                       if not edge.soonest and not delays_output(model.nodes[edge.source], model.numerics)]
            order = step_order([name for name in model.nodes if name in component], instant)
            segments.append(Loop(order, internal))
        elif isinstance(model.nodes[first], Neuron):
            segments.append(Population((first,)))
        else:
            segments.append(Parallel(first))
    return tuple(segments)


def step_order(nodes: Sequence[str], instant: Sequence[Wire]) -> tuple[str, ...]:
    """Nodes of a component so that the edges along which one step feeds itself run forward."""
    return tuple(name for component in components(nodes, instant) for name in component)


def components(nodes: Iterable[str], edges: Sequence[Wire]) -> list[tuple[str, ...]]:
    """Strongly connected components, sources first (Tarjan 1972, without recursion)."""
    follows: dict[str, list[str]] = {name: [] for name in nodes}
    for edge in edges:
        follows[edge.source].append(edge.target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    waiting: list[str] = []
    found: list[tuple[str, ...]] = []
    for root in follows:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        waiting.append(root)
        path = [(root, iter(follows[root]))]
        while path:
            name, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[name])
                if low[name] == index[name]:
                    cut = waiting.index(name)
                    found.append(tuple(waiting[cut:]))
                    del waiting[cut:]
            elif following not in index:
                index[following] = low[following] = len(index)
                waiting.append(following)
                path.append((following, iter(follows[following])))
            elif following in waiting:
                low[name] = min(low[name], index[following])
    return found[::-1]
