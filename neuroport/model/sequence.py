"""A list of layers as nodes and edges: the short form of a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticCustomError

from neuroport.errors import Problem
from neuroport.model.kinds import Member
from neuroport.model.nodes import Node

INPUT, OUTPUT = "input", "output"


@dataclass
class _Chain:
    """Nodes and edges as far as they have been laid; ``last`` is where the next layer starts."""

    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    last: str = INPUT

    def link(self, name: str) -> None:
        self.edges.append((self.last, name, 0))
        self.last = name


def expand(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem], set[str]]:
    """``input`` and ``layers`` as ``nodes`` and ``edges``.

    Returns the data that result, the problems met, and the names of nodes that could not be read.
    """
    chain, unread = _Chain(), set()
    for key in ("nodes", "edges"):
        if key in data:
            mend = "describe the model by layers, or by nodes and edges"
            chain.problems.append(Problem(key, "stands beside layers", mend))
    if "input" in data:
        shape = data["input"]
        chain.nodes[INPUT] = {"type": "Input", "shape": (shape,) if isinstance(shape, int) else shape}
    else:
        chain.problems.append(Problem("input", "is missing", "give the input's shape, such as [12]"))
        unread.add(INPUT)
    layers = _listed(data.get("layers"), "layers" in data, chain)
    for index, item in enumerate(layers):
        _add(chain, index, item)
    if layers:
        chain.nodes[OUTPUT] = {"type": "Output"}
        chain.link(OUTPUT)
    else:
        unread |= {"layers", OUTPUT}
        chain.edges += [(INPUT, "layers", 0), ("layers", OUTPUT, 0)]
    rest = {key: value for key, value in data.items() if key not in ("input", "layers")}
    return {**rest, "nodes": chain.nodes, "edges": chain.edges}, chain.problems, unread


def _listed(layers: Any, given: bool, chain: _Chain) -> list[Any]:
    if isinstance(layers, Mapping):
        layers = list(layers.items())
    if isinstance(layers, Sequence) and not isinstance(layers, str) and layers:
        return list(layers)
    wrong = "is no list with at least one layer" if given else "is missing"
    chain.problems.append(Problem("layers", wrong, "list nodes such as Linear and LIF"))
    return []


def _add(chain: _Chain, index: int, item: Any) -> None:
    """One layer at the end of the chain; what cannot be read stays as it is and is reported there."""
    name, layer = item if isinstance(item, (tuple, list)) and len(item) == 2 else (None, item)
    kind = _kind_of(layer)
    if name is not None and not isinstance(name, str):
        mend = "put it in quotes" if isinstance(name, int) else "give (name, node) pairs"
        chain.problems.append(Problem(f"layers.{index}", f"the name {name!r:.60} is no text", mend))
        name = None
    if kind in ("Input", "Output"):
        mend = "leave it out: a list of layers gets an Input and an Output by itself"
        chain.problems.append(Problem(f"layers.{index}", f"an {kind} stands among the layers", mend))
        return
    if kind == "Recurrent":
        try:
            layer = Member(Node).validate(layer)
        except PydanticCustomError:
            pass  # reported where the node stands
        else:
            _add_cycle(chain, index, name, layer)
            return
    name = _free(chain, index, name or f"{index}_{kind.lower()}")
    chain.nodes[name] = layer
    chain.link(name)


def _add_cycle(chain: _Chain, index: int, name: str | None, cycle: Any) -> None:
    """A neuron that feeds back to itself through a connection, one step later."""
    neuron = _free(chain, index, name or f"{index}_{_kind_of(cycle.neuron).lower()}")
    back = _free(chain, index, f"{neuron}_recurrent")
    chain.nodes[neuron], chain.nodes[back] = cycle.neuron, cycle.connection
    chain.link(neuron)
    first, second = (1, 0) if cycle.bias_at_start else (0, 1)
    chain.edges += [(neuron, back, first), (back, neuron, second)]


def _free(chain: _Chain, index: int, name: str) -> str:
    """The name, where no other node has it; else a problem, and a name to go on with."""
    if name not in chain.nodes and name not in (INPUT, OUTPUT):
        return name
    wrong = f"the name {name!r} stands twice"
    if name in (INPUT, OUTPUT):
        wrong = f"the name {name!r} is that of the model's own {name.capitalize()}"
    chain.problems.append(Problem(f"layers.{index}", wrong, "give each layer its own"))
    return f"{index}_{name}"


def _kind_of(layer: Any) -> str:
    """The name of a layer's class, as far as it can be told."""
    if isinstance(layer, Node):
        return type(layer).__name__
    if isinstance(layer, type):
        return layer.__name__
    name = layer.get("type") if isinstance(layer, Mapping) else layer
    return name if isinstance(name, str) and name.isidentifier() else "layer"
