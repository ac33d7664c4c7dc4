"""Convolutions on a CPU as numba's loops over samples; XLA's own are slow there, the more so inside of a loop.

Channels stand first, as in the model; what a Conv1d convolves has one row.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from neuroport.model.layers import Convolution
from neuroport_jax.native import Call, available
from neuroport_jax.native_call import Outline, call

Array = jax.Array
Pair = tuple[int, int]
LOOPS = "neuroport_loops.convolution"
SMALL = 2**12  # multiplications a sample below which XLA's convolution is as good, and compiles nothing else
BLOCKS = 64  # parts of the samples that threads share out
SHARES, ROOM = 32, 2**24  # parts of a weight's gradient, and numbers in all of them together


class Windows(NamedTuple):
    """In how many groups the channels are; how many windows there are along rows and columns, how they lie, and how
    many zeros stand before the first number."""

    groups: int
    size: Pair
    stride: Pair
    dilation: Pair
    zeros: Pair


def covered(node: Convolution, shape: tuple[int, ...]) -> bool:
    """Whether a node runs here, x (M, *shape). The rule knows neither T nor B: pieces compute the bits of a whole."""
    terms = shape[0] // node.groups * prod(node.kernel_size)
    return available() and prod(node.output_shape(shape)) * terms >= SMALL


def convolution(node: Convolution, weight: Array, bias: Array | None, x: Array) -> Array:
    """x (M, C, *axes), weight (O, C / groups, *kernel_size), bias (O,) -> y (M, O, *axes)."""
    size, pads = node.output_shape(x.shape[1:])[1:], node.pads(x.shape[1:])
    windows = Windows(node.groups, size, node.stride, node.dilation, tuple(before for before, _ in pads))
    bias = jnp.zeros(len(weight), x.dtype) if bias is None else bias
    if len(size) == 2:
        return _convolved(x, weight, bias, windows)
    row = Windows(node.groups, *((alone, *own) for alone, own in zip((1, 1, 1, 0), windows[1:], strict=True)))
    return _convolved(x[:, :, None], weight[:, :, None], bias, row)[:, :, 0]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _convolved(x: Array, weight: Array, bias: Array, windows: Windows) -> Array:
    """x (M, C, H, W), weight (O, C / groups, kernel rows, kernel columns), bias (O,) -> (M, O, *size)."""
    return _correlated(x, weight, bias, windows, (1, 1))


def _forward(x: Array, weight: Array, bias: Array, windows: Windows) -> tuple[Array, Any]:
    return _convolved(x, weight, bias, windows), (x, weight)


def _reverse(windows: Windows, saved: Any, dy: Array) -> tuple[Array, Array, Array]:
    x, weight = saved
    # each number's windows, last one first: a correlation with the kernel turned round, over dy with its steps apart
    apart = weight.reshape(windows.groups, -1, *weight.shape[1:])[..., ::-1, ::-1]
    turned = apart.swapaxes(1, 2).reshape(x.shape[1], -1, *weight.shape[2:])
    zeros = [reach * (taps - 1) - before for reach, taps, before in zip(
        windows.dilation, weight.shape[2:], windows.zeros, strict=True)]
    back = Windows(windows.groups, x.shape[2:], (1, 1), windows.dilation, (zeros[0], zeros[1]))
    dx = _correlated(dy, turned, jnp.zeros(x.shape[1], dy.dtype), back, windows.stride)
    return dx, _of_weight(x, dy, weight.shape, windows), dy.sum((0, 2, 3))


_convolved.defvjp(_forward, _reverse)


def _correlated(x: Array, weight: Array, bias: Array, windows: Windows, spread: Pair) -> Array:
    """spread: how far the rows and columns of x stand apart, zeros between them."""
    from neuroport_loops.convolution import COLUMNS  # needs numba

    outputs, _, *kernel = weight.shape
    rows = weight.transpose(0, 2, 3, 1).reshape(windows.groups, outputs // windows.groups, -1)
    full = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % COLUMNS), (0, 0)))
    matrix = full.reshape(-1, COLUMNS, rows.shape[2]).swapaxes(1, 2)
    leading = ("lo", "hi", windows.groups, *kernel, *windows.stride, *windows.dilation, *windows.zeros, *spread)
    how = Call(LOOPS, "correlate", leading, ("x", "matrix", "bias", "y"), max(1, -(-len(x) // BLOCKS)))
    made = {"y": Outline((len(x), outputs, *windows.size), x.dtype)}
    return call(how, len(x), {"x": x, "matrix": matrix, "bias": bias}, made, {})["y"]


def _of_weight(x: Array, dy: Array, shape: tuple[int, ...], windows: Windows) -> Array:
    """dW (O, C / groups, kernel rows, kernel columns)."""
    from neuroport_loops.convolution import COLUMNS

    outputs, channels, *kernel = shape
    groups = windows.groups
    chunks, terms = groups * -(-outputs // groups // COLUMNS), channels * prod(kernel)
    # a sum of parts, however many threads there are: each is small beside what it sums
    grain = max(1, -(-len(x) // max(1, min(SHARES, ROOM // (chunks * terms * COLUMNS)))))
    leading = ("lo", "hi", grain, groups, *kernel, *windows.stride, *windows.dilation, *windows.zeros)
    made = {"parts": Outline((-(-len(x) // grain), chunks, terms, COLUMNS), x.dtype)}
    how = Call(LOOPS, "outer", leading, ("x", "dy", "parts"), grain)
    matrix = call(how, len(x), {"x": x, "dy": dy}, made, {})["parts"].sum(0)
    rows = matrix.swapaxes(1, 2).reshape(groups, -1, terms)[:, : outputs // groups]
    return rows.reshape(outputs, *kernel, channels).transpose(0, 3, 1, 2)
