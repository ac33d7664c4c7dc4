"""Stateless nodes in torch: the lowering table.

``apply`` runs a node on x (M, *shape), M any number of samples, under autograd outside of loops.
Inside a Loop there is no autograd: ``transpose`` maps the cotangent of the output to that of x,
``weights`` to those of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from neuroport.model.layers import Convolution
from neuroport_torch.precision import rounded

Tensor = torch.Tensor
Tensors = Mapping[str, Tensor]
Shape = tuple[int, ...]


class Layer(NamedTuple):
    """apply(node, parameters, x) -> y; transpose(node, parameters, dy, shape of one x) -> dx;
    weights(node, parameters, x, dy) -> cotangents of the parameters."""

    apply: Callable[[Any, Tensors, Tensor], Tensor]
    transpose: Callable[[Any, Tensors, Tensor, Shape], Tensor]
    weights: Callable[[Any, Tensors, Tensor, Tensor], dict[str, Tensor]]


def sum_to(d: Tensor, shape: Shape) -> Tensor:
    """A cotangent summed over the axes along which an array of ``shape`` was broadcast."""
    d = d.sum(tuple(range(d.ndim - len(shape)))) if d.ndim > len(shape) else d
    ones = tuple(axis for axis, size in enumerate(shape) if size == 1 and d.shape[axis] != 1)
    return (d.sum(ones, keepdim=True) if ones else d).reshape(shape)


def _by_autograd(apply: Callable[[Any, Tensors, Tensor], Tensor]) -> Layer:
    """A node whose reverse torch knows: the node is linear in x, so any x will do for ``transpose``."""

    def transpose(node: Any, p: Tensors, dy: Tensor, shape: Shape) -> Tensor:
        with torch.enable_grad():
            x = dy.new_zeros((len(dy), *shape)).requires_grad_()
            y = apply(node, {name: value.detach() for name, value in p.items()}, x)
        return torch.autograd.grad(y, x, dy)[0]

    def weights(node: Any, p: Tensors, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
        if not p:
            return {}
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in p.items()}
            y = apply(node, leaves, x.detach())
        return dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), dy), strict=True))

    return Layer(apply, transpose, weights)


def _linear(node: Any, p: Tensors, x: Tensor) -> Tensor:
    return functional.linear(x, p["weight"], p.get("bias"))


def _linear_weights(node: Any, p: Tensors, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
    found = {"weight": lambda: dy.t() @ x, "bias": lambda: dy.sum(0)}
    return {name: found[name]() for name in p}


def _conv(node: Convolution, p: Tensors, x: Tensor) -> Tensor:
    pads = node.pads(tuple(x.shape[1:]))
    padding = tuple(before for before, _ in pads)
    if any(before != after for before, after in pads):
        # torch pads both sides alike, and counts axes from the last
        x, padding = functional.pad(x, [zeros for pair in reversed(pads) for zeros in pair]), (0,) * len(pads)
    run = functional.conv1d if len(pads) == 1 else functional.conv2d
    return run(x, p["weight"], p.get("bias"), node.stride, padding, node.dilation, node.groups)


def _sum_pool(node: Any, p: Tensors, x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, node.kernel_size, node.strides, node.padding, divisor_override=1)


def _avg_pool(node: Any, p: Tensors, x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, node.kernel_size, node.strides, node.padding)


def _scale(node: Any, p: Tensors) -> Any:
    return p.get("scale", node.scale)


def _scale_weights(node: Any, p: Tensors, x: Tensor, dy: Tensor) -> dict[str, Tensor]:
    return {"scale": sum_to(x * dy, tuple(p["scale"].shape))} if "scale" in p else {}


_SAME = Layer(lambda node, p, x: x, lambda node, p, dy, shape: dy, lambda node, p, x, dy: {})

# dropout's mask is a matter of the run, not of the node: the runner multiplies it in
LAYERS: dict[str, Layer] = {
    "Input": _SAME,
    "Output": _SAME,
    "Dropout": _SAME,
    "Delay": _SAME,  # the wires into it wait
    "Linear": Layer(_linear, lambda node, p, dy, shape: dy @ p["weight"], _linear_weights),
    "Conv1d": _by_autograd(_conv),
    "Conv2d": _by_autograd(_conv),
    "SumPool2d": _by_autograd(_sum_pool),
    "AvgPool2d": _by_autograd(_avg_pool),
    "Flatten": Layer(
        lambda node, p, x: x.reshape(len(x), *node.output_shape(tuple(x.shape[1:]))),
        lambda node, p, dy, shape: dy.reshape(len(dy), *shape),
        lambda node, p, x, dy: {},
    ),
    "Scale": Layer(
        lambda node, p, x: x * _scale(node, p), lambda node, p, dy, shape: dy * _scale(node, p), _scale_weights,
    ),
}

# the same with products in bfloat16
ROUNDED: dict[str, Layer] = {
    **LAYERS, "Linear": _by_autograd(rounded(_linear)), "Conv1d": _by_autograd(rounded(_conv)),
    "Conv2d": _by_autograd(rounded(_conv)),
}
