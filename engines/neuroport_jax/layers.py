"""Stateless nodes on jax arrays: the lowering table from which the engine's claims derive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from neuroport.model.layers import Convolution, Pool2d
from neuroport_jax.convolution import convolution, covered
from neuroport_jax.precision import rounded

Array = jax.Array
Layers = Mapping[str, Callable[[Any, Mapping[str, Array], Array], Array]]
# float32 products are true float32, also where the hardware offers less for more speed
EXACT = lax.Precision.HIGHEST


def _linear(node: Any, p: Mapping[str, Array], x: Array, precision: lax.Precision = EXACT) -> Array:
    y = jnp.matmul(x, p["weight"].T, precision=precision)
    return y + p["bias"] if "bias" in p else y


def _conv(node: Convolution, p: Mapping[str, Array], x: Array, precision: lax.Precision = EXACT) -> Array:
    y = lax.conv_general_dilated(
        x, p["weight"], window_strides=node.stride, padding=node.pads(x.shape[1:]), rhs_dilation=node.dilation,
        feature_group_count=node.groups, precision=precision,
        dimension_numbers=("NC" + node.axes, "OI" + node.axes, "NC" + node.axes),
    )
    return y + p["bias"].reshape(-1, *(1,) * len(node.axes)) if "bias" in p else y


def _conv_on_cpu(node: Convolution, p: Mapping[str, Array], x: Array) -> Array:
    return convolution(node, p["weight"], p.get("bias"), x) if covered(node, x.shape[1:]) else _conv(node, p, x)


def _sum_pool(node: Pool2d, p: Mapping[str, Array], x: Array) -> Array:
    rows, columns = node.padding
    return lax.reduce_window(
        x, 0.0, lax.add, (1, 1, *node.kernel_size), (1, 1, *node.strides),
        ((0, 0), (0, 0), (rows, rows), (columns, columns)),
    )


def _avg_pool(node: Pool2d, p: Mapping[str, Array], x: Array) -> Array:
    return _sum_pool(node, p, x) * (1.0 / (node.kernel_size[0] * node.kernel_size[1]))


def _identity(node: Any, p: Mapping[str, Array], x: Array) -> Array:
    return x


# (node, its arrays, x (M, *shape)) -> y. Dropout's mask, where there is one, is among its arrays.
LAYERS: Layers = {
    "Input": _identity,
    "Output": _identity,
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _sum_pool,
    "AvgPool2d": _avg_pool,
    "Flatten": lambda node, p, x: x.reshape(len(x), *node.output_shape(x.shape[1:])),
    "Delay": _identity,  # the wires into it wait
    "Scale": lambda node, p, x: x * p.get("scale", node.scale),
    "Dropout": lambda node, p, x: x * p["mask"] if "mask" in p else x,
}

_ROUNDED_CONV = rounded(partial(_conv, precision=lax.Precision.DEFAULT))
# the same with products in bfloat16
ROUNDED: Layers = {
    **LAYERS, "Linear": rounded(partial(_linear, precision=lax.Precision.DEFAULT)),
    "Conv1d": _ROUNDED_CONV, "Conv2d": _ROUNDED_CONV,
}


def _on_cpu(layers: Layers, conv: Callable[[Any, Mapping[str, Array], Array], Array]) -> Layers:
    return {**layers, "Conv1d": conv, "Conv2d": conv}


# (in bfloat16, with numba's loops on the CPU)
TABLES = {
    (False, False): LAYERS, (True, False): ROUNDED,
    (False, True): _on_cpu(LAYERS, _conv_on_cpu), (True, True): _on_cpu(ROUNDED, rounded(_conv_on_cpu)),
}


def layers(bfloat16: bool, loops: bool) -> Layers:
    """loops: with numba's on the CPU. The others are fields of ``ways.Way``."""
    return TABLES[bfloat16, loops]
