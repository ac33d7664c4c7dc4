"""Model -> Program: shapes resolved, parameters named, time cut into segments. What engines compile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from neuroport.dynamics.discretize import Step
from neuroport.dynamics.ops import Array
from neuroport.errors import InvalidModel, Problem
from neuroport.model.check import infer_shapes
from neuroport.model.graph import Model
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Input, Node, Output, ParameterSpec
from neuroport.model.values import Shape
from neuroport.program.bound import BoundNeuron
from neuroport.program.schedule import Loop, Population, Segment, schedule
from neuroport.program.wires import Wire, wires


@dataclass(frozen=True, eq=False)
class Program:
    """A model lowered. Names of nodes and parameters are the model's own.

    entering, leaving: shapes at each node. wires: the model's edges, in its order. incoming: those into
    each node, in the order of their sum. parameters: every array, "node.field". neurons: the populations.
    muted: layers whose bias acts on a membrane instead.
    """

    model: Model
    segments: tuple[Segment, ...]
    entering: Mapping[str, Shape]
    leaving: Mapping[str, Shape]
    wires: tuple[Wire, ...]
    incoming: Mapping[str, tuple[Wire, ...]]
    parameters: Mapping[str, ParameterSpec]
    neurons: Mapping[str, BoundNeuron]
    muted: frozenset[str]

    @property
    def inputs(self) -> dict[str, Shape]:
        return {name: node.shape for name, node in self.model.nodes.items() if isinstance(node, Input)}

    @property
    def outputs(self) -> dict[str, Shape]:
        return {name: self.leaving[name] for name, node in self.model.nodes.items() if isinstance(node, Output)}

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that training changes."""
        return tuple(name for name, spec in self.parameters.items() if spec.trainable)

    @property
    def state(self) -> dict[str, tuple[Shape, bool]]:
        """Every state by name: "node.field" of the node's shape, and "source->target" (delay, *shape).

        The second of each pair tells a delay line (time first, then the batch) from a neuron's state.
        """
        found = {f"{name}.{field}": (bound.shape, False)
                 for name, bound in self.neurons.items() for field in bound.state}
        for edge in self.wires:
            if edge.delay:
                found[edge.key] = ((edge.delay, *self.leaving[edge.source]), True)
        return found

    def state_shapes(self, batch: int) -> dict[str, Shape]:
        """Full shapes of every state: (B, *shape), of a delay line (delay, B, *shape)."""
        return {name: (shape[0], batch, *shape[1:]) if line else (batch, *shape)
                for name, (shape, line) in self.state.items()}

    def node(self, name: str) -> Node:
        return self.model.nodes[name]

    def external(self, segment: Segment, name: str) -> tuple[Wire, ...]:
        """Wires into a node from outside its segment."""
        internal = segment.internal if isinstance(segment, (Population, Loop)) else ()
        return tuple(edge for edge in self.incoming[name] if edge not in internal)

    def local(self, name: str, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """The arrays that a stateless node applies, by field; a muted bias is left out."""
        found = {}
        for full in self.parameters:
            owner, field = full.rsplit(".", 1)
            if owner == name and not (field == "bias" and name in self.muted):
                found[field] = parameters[full]
        return found


@lru_cache(maxsize=64)
def lower(model: Model) -> Program:
    """Resolve a model into a Program. Raises InvalidModel."""
    shapes, _ = infer_shapes(model.nodes, model.edges)
    edges = wires(model, shapes.entering)
    incoming = {name: tuple(edge for edge in edges if edge.target == name) for name in model.nodes}
    parameters = model.parameters
    neurons, muted, problems = {}, set(), []
    for name, node in model.nodes.items():
        if not isinstance(node, Neuron):
            continue
        numerics = node.numerics_under(model.numerics)
        biases: list[str] = []
        if numerics.bias_on == "membrane":
            for edge in incoming[name]:
                if f"{edge.source}.bias" in parameters:
                    biases.append(f"{edge.source}.bias")
                    muted.add(edge.source)
                    problems += _shared_bias(model, edge)
            problems += _far_biases(model, name, incoming, parameters)
        arrays = {full: full.rsplit(".", 1)[1] for full in parameters if full.rsplit(".", 1)[0] == name}
        neurons[name] = BoundNeuron(
            name=name, neuron=node, numerics=numerics, step=Step(model.dt, numerics.discretization),
            shape=shapes.leaving[name], arrays=arrays, biases=tuple(biases),
            trainable=frozenset(full for full in (*arrays, *biases) if parameters[full].trainable),
        )
    if problems:
        raise InvalidModel(problems)
    return Program(
        model=model, segments=schedule(model, edges), entering=shapes.entering, leaving=shapes.leaving,
        wires=edges, incoming=incoming, parameters=parameters, neurons=neurons, muted=frozenset(muted),
    )


def _far_biases(
    model: Model, name: str, incoming: Mapping[str, tuple[Wire, ...]], parameters: Mapping[str, ParameterSpec]
) -> list[Problem]:
    """Biases that reach a neuron through other layers, and so cannot act past its synapse."""
    waiting = [edge.source for edge in incoming[name]]
    found, seen = [], set(waiting)
    while waiting:
        between = waiting.pop()
        if isinstance(model.nodes[between], Neuron):
            continue
        for edge in incoming[between]:
            if f"{edge.source}.bias" in parameters:
                wrong = f"its bias is to act on the membrane of {name!r} (bias_on), but {between!r} lies between"
                mend = "put its layer right before the neuron, or set bias=False"
                found.append(Problem(f"nodes.{edge.source}.bias", wrong, mend))
            if edge.source not in seen:
                seen.add(edge.source)
                waiting.append(edge.source)
    return found


def _shared_bias(model: Model, edge: Wire) -> list[Problem]:
    if sum(other.source == edge.source for other in model.edges) == 1:
        return []
    wrong = f"its bias acts on the membrane of {edge.target!r} (bias_on), but it feeds other nodes too"
    return [Problem(f"nodes.{edge.source}.bias", wrong, "set bias=False, or give each target a layer of its own")]
