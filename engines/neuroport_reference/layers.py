"""Stateless nodes in NumPy, each with its transpose.

``forward`` is linear in x; ``transpose`` maps the cotangent of its output to that of x, ``weights``
to those of the parameters. x and y: (M, *shape), M any number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neuroport.model.layers import Convolution, Pads, Pool2d

Array = np.ndarray
Arrays = Mapping[str, Array]
Sizes = tuple[int, ...]


def _nothing(node: Any, parameters: Arrays, x: Array, dy: Array) -> dict[str, Array]:
    return {}


class Layer(NamedTuple):
    """forward(node, parameters, x) -> y; transpose(node, parameters, dy, shape of one x) -> dx;
    weights(node, parameters, x, dy) -> cotangents of the parameters."""

    forward: Callable[[Any, Arrays, Array], Array]
    transpose: Callable[[Any, Arrays, Array, tuple[int, ...]], Array]
    weights: Callable[[Any, Arrays, Array, Array], dict[str, Array]] = _nothing


def _linear(node: Any, p: Arrays, x: Array) -> Array:
    y = x @ p["weight"].T
    return y + p["bias"] if "bias" in p else y


def _linear_weights(node: Any, p: Arrays, x: Array, dy: Array) -> dict[str, Array]:
    found = {"weight": dy.T @ x, "bias": dy.sum(0)}
    return {name: found[name] for name in p}


def _windows(x: Array, kernel: Sizes, stride: Sizes, dilation: Sizes | None = None) -> Array:
    """(M, C, *axes) -> (M, C, *steps, *kernel), a view."""
    dilation = dilation or (1,) * len(kernel)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    views = sliding_window_view(x, reach, tuple(range(2, x.ndim)))
    return views[:, :, *(slice(None, None, size) for size in (*stride, *dilation))]


def _unwindows(d: Array, padded: Sizes, stride: Sizes, dilation: Sizes | None = None) -> Array:
    """The transpose of ``_windows``: overlapping windows add up."""
    axes = len(padded)
    x = np.zeros((*d.shape[:2], *padded), d.dtype)
    for place in np.ndindex(d.shape[2 + axes :]):
        first = [at * size for at, size in zip(place, dilation or (1,) * axes, strict=True)]
        into = [slice(at, at + steps * size, size)
                for at, steps, size in zip(first, d.shape[2 : 2 + axes], stride, strict=True)]
        x[:, :, *into] += d[..., *place]
    return x


def _pad(x: Array, pads: Pads) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *pads))


def _unpad(x: Array, pads: Pads, shape: tuple[int, ...]) -> Array:
    return x[:, :, *(slice(before, before + size) for (before, _), size in zip(pads, shape[1:], strict=True))]


def _padded(shape: tuple[int, ...], pads: Pads) -> Sizes:
    return tuple(size + sum(pad) for size, pad in zip(shape[1:], pads, strict=True))


def _grouped(node: Convolution, x: Array) -> Array:
    """(M, C, *steps, *kernel), windows of x -> (M, groups, C / groups, *steps, *kernel)."""
    windows = _windows(_pad(x, node.pads(x.shape[1:])), node.kernel_size, node.stride, node.dilation)
    m, c, *rest = windows.shape
    return windows.reshape(m, node.groups, c // node.groups, *rest)


def _letters(node: Convolution) -> tuple[str, str]:
    """Of ``einsum``: the axes along which a window steps, and those of the kernel."""
    return "xyz"[: len(node.axes)], "abc"[: len(node.axes)]


def _conv(node: Convolution, p: Arrays, x: Array) -> Array:
    weight = p["weight"].reshape(node.groups, -1, *p["weight"].shape[1:])
    to, of = _letters(node)
    y = np.einsum(f"mgi{to}{of},goi{of}->mgo{to}", _grouped(node, x), weight, optimize=True)
    y = y.reshape(len(x), node.out_channels, *y.shape[3:])
    return y + p["bias"].reshape(-1, *(1,) * len(to)) if "bias" in p else y


def _conv_transpose(node: Convolution, p: Arrays, dy: Array, shape: tuple[int, ...]) -> Array:
    weight = p["weight"].reshape(node.groups, -1, *p["weight"].shape[1:])
    d = dy.reshape(len(dy), node.groups, -1, *dy.shape[2:])
    to, of = _letters(node)
    windows = np.einsum(f"mgo{to},goi{of}->mgi{to}{of}", d, weight, optimize=True)
    windows = windows.reshape(len(dy), shape[0], *windows.shape[3:])
    pads = node.pads(shape)
    return _unpad(_unwindows(windows, _padded(shape, pads), node.stride, node.dilation), pads, shape)


def _conv_weights(node: Convolution, p: Arrays, x: Array, dy: Array) -> dict[str, Array]:
    d = dy.reshape(len(dy), node.groups, -1, *dy.shape[2:])
    to, of = _letters(node)
    weight = np.einsum(f"mgi{to}{of},mgo{to}->goi{of}", _grouped(node, x), d, optimize=True)
    found = {"weight": weight.reshape(p["weight"].shape), "bias": dy.sum((0, *range(2, dy.ndim)))}
    return {name: found[name] for name in p}


def _pool(scale: Callable[[Pool2d], float]) -> Layer:
    def pads(node: Pool2d) -> Pads:
        return (node.padding[0],) * 2, (node.padding[1],) * 2

    def forward(node: Pool2d, p: Arrays, x: Array) -> Array:
        return _windows(_pad(x, pads(node)), node.kernel_size, node.strides).sum((-2, -1)) * scale(node)

    def transpose(node: Pool2d, p: Arrays, dy: Array, shape: tuple[int, ...]) -> Array:
        windows = np.broadcast_to(dy[..., None, None] * scale(node), (*dy.shape, *node.kernel_size))
        return _unpad(_unwindows(windows, _padded(shape, pads(node)), node.strides), pads(node), shape)

    return Layer(forward, transpose)


def _identity(node: Any, p: Arrays, x: Array) -> Array:
    return x


def _scale(node: Any, p: Arrays) -> Any:
    return p.get("scale", node.scale)


def _scale_weights(node: Any, p: Arrays, x: Array, dy: Array) -> dict[str, Array]:
    return {"scale": reduce_to(x * dy, p["scale"].shape)} if "scale" in p else {}


def reduce_to(d: Array, shape: tuple[int, ...]) -> Array:
    """Sum a cotangent (M, *full) over the axes along which ``shape`` was broadcast."""
    d = d.sum(0)
    d = d.sum(tuple(range(d.ndim - len(shape))))
    return d.sum(tuple(axis for axis, size in enumerate(shape) if size == 1), keepdims=True).reshape(shape)


_SAME = Layer(_identity, lambda node, p, dy, shape: dy)

# dropout's mask is a matter of the run, not of the node: the runner multiplies it in
LAYERS: dict[str, Layer] = {
    "Input": _SAME,
    "Output": _SAME,
    "Dropout": _SAME,
    "Delay": _SAME,  # the wires into it wait
    "Linear": Layer(_linear, lambda node, p, dy, shape: dy @ p["weight"], _linear_weights),
    "Conv1d": Layer(_conv, _conv_transpose, _conv_weights),
    "Conv2d": Layer(_conv, _conv_transpose, _conv_weights),
    "SumPool2d": _pool(lambda node: 1.0),
    "AvgPool2d": _pool(lambda node: 1.0 / (node.kernel_size[0] * node.kernel_size[1])),
    "Flatten": Layer(lambda node, p, x: x.reshape(len(x), *node.output_shape(x.shape[1:])),
                     lambda node, p, dy, shape: dy.reshape(len(dy), *shape)),
    "Scale": Layer(lambda node, p, x: x * _scale(node, p), lambda node, p, dy, shape: dy * _scale(node, p),
                   _scale_weights),
}
