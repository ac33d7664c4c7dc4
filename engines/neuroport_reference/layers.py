"""Stateless nodes in NumPy, each with its transpose.

``forward`` is linear in x; ``transpose`` maps the cotangent of its output to that of x, ``weights``
to those of the parameters. x and y: (M, *shape), M any number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from neuroport.model.layers import Conv2d, Pool2d

Array = np.ndarray
Arrays = Mapping[str, Array]


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


def _windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Array:
    """(M, C, H, W) -> (M, C, rows, columns, kh, kw), a view."""
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    views = sliding_window_view(x, reach, (2, 3))
    return views[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _unwindows(
    d: Array, padded: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Array:
    """The transpose of ``_windows``: overlapping windows add up."""
    m, c, rows, columns, kh, kw = d.shape
    x = np.zeros((m, c, *padded), d.dtype)
    for a in range(kh):
        for b in range(kw):
            top, left = a * dilation[0], b * dilation[1]
            x[:, :, top : top + rows * stride[0] : stride[0], left : left + columns * stride[1] : stride[1]] += (
                d[..., a, b]
            )
    return x


def _pad(x: Array, pads: Any) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *pads))


def _unpad(x: Array, pads: Any, shape: tuple[int, ...]) -> Array:
    (top, _), (left, _) = pads
    return x[:, :, top : top + shape[1], left : left + shape[2]]


def _padded(shape: tuple[int, ...], pads: Any) -> tuple[int, int]:
    return shape[1] + sum(pads[0]), shape[2] + sum(pads[1])


def _grouped(node: Conv2d, windows: Array) -> Array:
    """(M, C, r, q, kh, kw) -> (M, groups, C / groups, r, q, kh, kw)."""
    m, c, *rest = windows.shape
    return windows.reshape(m, node.groups, c // node.groups, *rest)


def _conv(node: Conv2d, p: Arrays, x: Array) -> Array:
    windows = _grouped(node, _windows(_pad(x, node.pads()), node.kernel_size, node.stride, node.dilation))
    weight = p["weight"].reshape(node.groups, -1, *p["weight"].shape[1:])
    y = np.einsum("mgcrqab,gocab->mgorq", windows, weight, optimize=True)
    y = y.reshape(len(x), node.out_channels, *y.shape[3:])
    return y + p["bias"][:, None, None] if "bias" in p else y


def _conv_transpose(node: Conv2d, p: Arrays, dy: Array, shape: tuple[int, ...]) -> Array:
    weight = p["weight"].reshape(node.groups, -1, *p["weight"].shape[1:])
    d = dy.reshape(len(dy), node.groups, -1, *dy.shape[2:])
    windows = np.einsum("mgorq,gocab->mgcrqab", d, weight, optimize=True)
    windows = windows.reshape(len(dy), shape[0], *windows.shape[3:])
    x = _unwindows(windows, _padded(shape, node.pads()), node.stride, node.dilation)
    return _unpad(x, node.pads(), shape)


def _conv_weights(node: Conv2d, p: Arrays, x: Array, dy: Array) -> dict[str, Array]:
    windows = _grouped(node, _windows(_pad(x, node.pads()), node.kernel_size, node.stride, node.dilation))
    d = dy.reshape(len(dy), node.groups, -1, *dy.shape[2:])
    weight = np.einsum("mgcrqab,mgorq->gocab", windows, d, optimize=True).reshape(p["weight"].shape)
    found = {"weight": weight, "bias": dy.sum((0, 2, 3))}
    return {name: found[name] for name in p}


def _pool(scale: Callable[[Pool2d], float]) -> Layer:
    def pads(node: Pool2d) -> Any:
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
    "Linear": Layer(_linear, lambda node, p, dy, shape: dy @ p["weight"], _linear_weights),
    "Conv2d": Layer(_conv, _conv_transpose, _conv_weights),
    "SumPool2d": _pool(lambda node: 1.0),
    "AvgPool2d": _pool(lambda node: 1.0 / (node.kernel_size[0] * node.kernel_size[1])),
    "Flatten": Layer(lambda node, p, x: x.reshape(len(x), -1), lambda node, p, dy, shape: dy.reshape(len(dy), *shape)),
    "Scale": Layer(lambda node, p, x: x * _scale(node, p), lambda node, p, dy, shape: dy * _scale(node, p),
                   _scale_weights),
}
