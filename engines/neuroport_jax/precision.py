"""What ``precision="bfloat16"`` asks of a product: operands rounded to bfloat16, sums in float32.

A rounded operand is held in float32: a product at XLA's default precision of such numbers is that of bfloat16
numbers, on whatever unit it runs. Every function here passes the gradient straight through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import lax

Array = jax.Array
Apply = Callable[[Any, Mapping[str, Array], Array], Array]


def bfloat16(x: Array) -> Array:
    """The nearest bfloat16 to each value, ties to even, as float32."""
    # two conversions would be taken out by XLA, which may compute with more precision than asked for
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


@jax.custom_vjp
def _operand(x: Array) -> Array:
    return bfloat16(x)


_operand.defvjp(lambda x: (bfloat16(x), None), lambda _, dy: (dy,))


@jax.custom_vjp
def _product(y: Array) -> Array:
    """The outcome of a product. Its cotangent is an operand of the products of the reverse."""
    return y


_product.defvjp(lambda y: (y, None), lambda _, dy: (bfloat16(dy),))


def rounded(apply: Apply) -> Apply:
    """A layer with weight and bias as a product of rounded operands; the bias is added in float32."""

    def run(node: Any, p: Mapping[str, Array], x: Array) -> Array:
        y = _product(apply(node, {"weight": _operand(p["weight"])}, _operand(x)))
        return y + p["bias"].reshape(-1, *(1,) * (y.ndim - 2)) if "bias" in p else y

    return run
