"""Stateless nodes: the engine's lowering table. What has no row here is not claimed.

x and y: (M, *shape), M any number of samples and steps together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Arrays = Mapping[str, Array]


class Layer(NamedTuple):
    """A linear map and its transposes.

    forward(node, p, x) -> y. backward(node, p, dy, shape of one x) -> dx. weights(p, x, dy) -> the
    cotangents of p; empty for a node without arrays.
    """

    forward: Callable[[Any, Arrays, Array], Array]
    backward: Callable[[Any, Arrays, Array, tuple[int, ...]], Array]
    weights: Callable[[Arrays, Array, Array], dict[str, Array]] = lambda p, x, dy: {}


def sum_to(d: Array, shape: tuple[int, ...]) -> Array:
    """Sum (M, *full) over M and every axis along which ``shape`` was broadcast."""
    d = d.sum(axis=tuple(range(d.ndim - len(shape))))
    return d.sum(axis=tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True)


def _linear(node: Any, p: Arrays, x: Array) -> Array:
    y = x @ p["weight"].T
    # the program leaves a bias out where it acts on a membrane instead
    return y + p["bias"] if "bias" in p else y


def _linear_weights(p: Arrays, x: Array, dy: Array) -> dict[str, Array]:
    return {"weight": dy.T @ x, **({"bias": dy.sum(0)} if "bias" in p else {})}


def _scale(node: Any, p: Arrays, x: Array, *_: Any) -> Array:
    # an array only where the model says Parameter(...); a plain number stays with the node
    return x * p.get("scale", node.scale)


_SAME = Layer(lambda node, p, x: x, lambda node, p, dy, shape: dy)

LAYERS: dict[str, Layer] = {
    "Input": _SAME,
    "Output": _SAME,
    "Delay": _SAME,  # the program's wires wait
    "Linear": Layer(_linear, lambda node, p, dy, shape: dy @ p["weight"], _linear_weights),
    "Flatten": Layer(lambda node, p, x: x.reshape(len(x), *node.output_shape(x.shape[1:])),
                     lambda node, p, dy, shape: dy.reshape(-1, *shape)),
    "Scale": Layer(_scale, _scale, lambda p, x, dy: {name: sum_to(x * dy, p[name].shape) for name in p}),
}
