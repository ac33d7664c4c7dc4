"""The model: named nodes, edges with delays, one time step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from neuroport.errors import Problem
from neuroport.model.check import check, infer_shapes
from neuroport.model.description import Description, nested, problems_of
from neuroport.model.kinds import Member
from neuroport.model.nodes import AnyNode, Node
from neuroport.model.numerics import Numerics
from neuroport.model.values import Shape


class Edge(Description):
    """From ``source`` to ``target``, arriving ``delay`` steps later (zeros before that)."""

    source: str
    target: str
    delay: int = Field(0, ge=0)

    @property
    def key(self) -> str:
        """The edge's name among states: ``source->target``."""
        return f"{self.source}->{self.target}"


def _as_edge(value: Any) -> Any:
    if isinstance(value, (tuple, list)) and 2 <= len(value) <= 3:
        return dict(zip(("source", "target", "delay"), value, strict=False))
    return value


AnyEdge = Annotated[Edge, BeforeValidator(_as_edge)]


class Recurrent(Node):
    """A cycle in short form: ``neuron`` feeds back to itself through ``connection``, one step later.

    ``Recurrent(Linear(38), LIF(tau=20e-3))`` in a list of layers. Nothing comes back at t = 0 but,
    if ``bias_at_start``, the connection's bias.
    """

    connection: AnyNode
    neuron: AnyNode
    bias_at_start: bool = True


class Model(Description):
    """A spiking network, described once. No arrays: initial values are described, not held.

    nodes: by name. edges: ``Edge`` or (source, target) or (source, target, delay); several into one
    node add up; every cycle needs a delay. dt: time step in seconds. numerics: the default for all
    neurons. In JSON and YAML, ``input`` and ``layers`` may stand in place of nodes and edges.
    Raises InvalidModel with every problem.
    """

    nodes: dict[str, AnyNode]
    edges: tuple[AnyEdge, ...]
    dt: float = Field(gt=0, allow_inf_nan=False)
    numerics: Numerics = Numerics()

    @classmethod
    def sequential(
        cls, input: Sequence[int] | int, dt: float, layers: Sequence[Any] | Mapping[str, Any],
        numerics: Numerics | Mapping[str, Any] | None = None,
    ) -> Self:
        """A chain of layers between one Input and one Output.

        input: shape without time and batch. layers: nodes, (name, node) pairs, or a mapping from
        names to nodes; unnamed ones are called ``0_linear``, ``1_lif``, ...
        """
        return cls.parse({"input": input, "layers": layers, "dt": dt,
                          **({} if numerics is None else {"numerics": numerics})})

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, data: Any, handler: Any) -> Any:
        if not isinstance(data, Mapping):
            return handler(data)
        if "layers" in data:
            data = _expand(data)
        try:
            model = handler(data)
        except ValidationError as error:
            problems = problems_of(error, cls)
            problems += check(_salvage_nodes(data.get("nodes")), _salvage_edges(data.get("edges")), None, Numerics())
            raise nested(problems) from None
        problems = check(model.nodes, model.edges, model.dt, model.numerics)
        if problems:
            raise nested(problems)
        return model

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape that leaves each node, without time and batch."""
        return infer_shapes(self.nodes, self.edges)[0].leaving

    @cached_property
    def fingerprint(self) -> str:
        """A name for this description's content: equal for equal models."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def _expand(data: Mapping[str, Any]) -> dict[str, Any]:
    """``input`` and ``layers`` as nodes and edges."""
    for key in ("nodes", "edges"):
        if key in data:
            raise nested([Problem(key, "stands beside layers", "describe the model by layers, or by nodes and edges")])
    if "input" not in data:
        raise nested([Problem("input", "is missing", "give the input's shape, such as [12]")])
    layers, shape = data["layers"], data["input"]
    if isinstance(layers, Mapping):
        layers = list(layers.items())
    if not isinstance(layers, Sequence) or isinstance(layers, str) or not layers:
        raise nested([Problem("layers", "is no list with at least one layer", "list nodes such as Linear and LIF")])
    shape = (shape,) if isinstance(shape, int) else shape
    nodes: dict[str, Any] = {"input": {"type": "Input", "shape": shape}}
    edges: list[Any] = []
    last = "input"
    for index, item in enumerate(layers):
        name, layer = item if isinstance(item, (tuple, list)) and len(item) == 2 else (None, item)
        kind = _kind_of(layer)
        if kind == "Recurrent":
            layer = Member(Node).validate(layer)
            neuron = name or f"{index}_{_kind_of(layer.neuron).lower()}"
            back = f"{neuron}_recurrent"
            nodes[neuron], nodes[back] = layer.neuron, layer.connection
            first, second = (1, 0) if layer.bias_at_start else (0, 1)
            edges += [(last, neuron, 0), (neuron, back, first), (back, neuron, second)]
            last = neuron
            continue
        name = name or f"{index}_{kind.lower()}"
        if name in nodes:
            raise nested([Problem(f"layers.{index}", f"the name {name!r} stands twice", "give each layer its own")])
        nodes[name] = layer
        edges.append((last, name, 0))
        last = name
    nodes["output"] = {"type": "Output"}
    edges.append((last, "output", 0))
    rest = {key: value for key, value in data.items() if key not in ("input", "layers")}
    return {**rest, "nodes": nodes, "edges": edges}


def _kind_of(layer: Any) -> str:
    if isinstance(layer, Node):
        return type(layer).__name__
    return str(layer.get("type", "layer") if isinstance(layer, Mapping) else layer)


def _salvage_nodes(data: Any) -> dict[str, Node | None]:
    """Those nodes that can be read; None for the others."""
    found: dict[str, Node | None] = {}
    for name, value in data.items() if isinstance(data, Mapping) else ():
        try:
            found[str(name)] = Member(Node).validate(value)
        except Exception:  # whatever is wrong with it has been reported already
            found[str(name)] = None
    return found


def _salvage_edges(data: Any) -> list[Edge]:
    found = []
    for value in data if isinstance(data, Sequence) and not isinstance(data, str) else ():
        try:
            found.append(value if isinstance(value, Edge) else Edge.model_validate(_as_edge(value)))
        except ValidationError:
            continue
    return found
