"""Weights as whole numbers of a chip: one scale for everything that reaches a population."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from neuroport.errors import InvalidData, Problem
from neuroport.model.neurons import Neuron
from neuroport.model.nodes import Node

Array = np.ndarray


def truncated(weight: Array, scale: float) -> Array:
    """trunc(scale w): whole numbers, towards zero."""
    return np.trunc(scale * np.asarray(weight, np.float64)).astype(np.float32)


def quantized(
    nodes: Mapping[str, Node], arrays: Mapping[str, Mapping[str, Array]], edges: Iterable[tuple[str, str]],
    bits: Mapping[str, int | None],
) -> tuple[dict[str, Node], dict[str, dict[str, Array]]]:
    """Nodes and arrays with weights cut to so many bits, thresholds, reset potentials and biases scaled alike.

    bits: by node; None leaves a population as it is. The scale of one is (2^(bits - 1) - 1) / max |w| over all
    connections that reach it. Raises InvalidData where a connection reaches several, whose scales would differ.
    """
    edges = list(edges)
    nodes, held = dict(nodes), {name: dict(own) for name, own in arrays.items()}
    problems = []
    for name, node in nodes.items():
        width = bits.get(name)
        if not isinstance(node, Neuron) or width is None:
            continue
        before = [source for source, target in edges if target == name and "weight" in held.get(source, {})]
        shared = [source for source in before if sum(edge[0] == source for edge in edges) > 1]
        mend = "give each population a connection of its own"
        problems += [Problem(source, "reaches several nodes, whose scales of weights differ", mend)
                     for source in shared]
        largest = max((float(np.abs(held[source]["weight"]).max()) for source in before), default=0.0)
        if not largest:
            continue
        scale = (2 ** (width - 1) - 1) / largest
        for source in before:
            held[source]["weight"] = truncated(held[source]["weight"], scale)
            if "bias" in held[source]:
                held[source]["bias"] = held[source]["bias"] * scale
        nodes[name] = node.model_copy(update=_scaled(node, held.setdefault(name, {}), scale))
    if problems:
        raise InvalidData(problems, "NIR graph")
    return nodes, held


def _scaled(node: Node, own: dict[str, Array], scale: float) -> dict[str, Any]:
    """Potentials of a neuron times ``scale``: numbers as its new fields, arrays in place."""
    found = {}
    for field in ("v_threshold", "v_reset"):
        value = getattr(node, field, None)
        if field in own:
            own[field] = own[field] * scale
        elif value is not None:
            found[field] = value * scale
    return found
