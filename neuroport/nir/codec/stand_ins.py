"""What nir 1.0.8 is to read where a field is None, which it can hold in memory but neither write nor read.

A convolution without a bias has one of zeros, a neuron without v_reset resets to zero, and a shape that is left open is
the one that ``shapes.py`` infers. A mark beside the stand-in keeps that it was None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from neuroport.nir.contents import NirGraph, NirNode
from neuroport.nir.shapes import CONVOLUTIONS, ELEMENTWISE, Shape, Shapes, infer

StandIns = Mapping[str, np.ndarray]


def stand_ins(graph: NirGraph) -> Mapping[str, StandIns]:
    """By path of the node, then by field; none for what cannot be known."""
    open_nodes = {path: node for path, node in graph.walk() if any(value is None for value in node.fields.values())}
    shapes = infer(graph) if open_nodes else Shapes()
    into = {path: shape if shapes.out[path] is not None else None for path, shape in shapes.into.items()}
    return {path: {name: stand_in for name, value in node.fields.items()
                   if value is None and (stand_in := _stand_in(node, name, into[path])) is not None}
            for path, node in open_nodes.items()}


def _stand_in(node: NirNode, name: str, into: Shape | None) -> np.ndarray | None:
    """into: the shape that the node takes in, where it fits the node."""
    weight, threshold = (node.fields.get(one) for one in ("weight", "v_threshold"))
    if node.type in CONVOLUTIONS and name == "bias" and _numeric(weight) and weight.ndim:
        return np.zeros(weight.shape[0], weight.dtype)
    if node.type in CONVOLUTIONS and name == "input_shape" and into is not None:
        return np.array(into[1:] if CONVOLUTIONS[node.type] > 1 else into[1])
    if node.type == "Flatten" and name == "input_type" and into is not None:
        return np.array(into, int)
    if node.type in ELEMENTWISE and name == "v_reset" and _numeric(threshold):
        return np.zeros_like(threshold)
    return None


def _numeric(value: Any) -> TypeGuard[np.ndarray]:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
