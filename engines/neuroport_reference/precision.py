"""What ``precision="bfloat16"`` means, executable: products whose operands are rounded, everything else untouched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroport_reference.layers import Array, Arrays, Layer

DIGITS = 8  # binary, of a bfloat16's significand, the leading one included
LOWEST, HIGHEST = -125, 128  # exponents as frexp gives them: below, the spacing stays; above, infinity

# those that multiply by a matrix; what multiplies value by value, as Scale and Dropout do, is no product
PRODUCTS = ("Linear", "Conv1d", "Conv2d")


def bfloat16(x: Array) -> Array:
    """The nearest bfloat16 to each value, ties to even, in the dtype of x. Infinities and NaN stay."""
    exponent = np.frexp(x)[1]
    spacing = np.ldexp(np.ones_like(x), np.maximum(exponent, LOWEST) - DIGITS)
    rounded = np.rint(x / spacing) * spacing
    rounded = np.where(np.frexp(rounded)[1] > HIGHEST, np.copysign(np.inf, x), rounded)
    return np.where(np.isfinite(x), rounded, x)


def with_rounded_operands(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """A lowering table whose products, also those of the reverse, take operands rounded to bfloat16."""
    return {name: _rounded(layer) if name in PRODUCTS else layer for name, layer in layers.items()}


def _rounded(layer: Layer) -> Layer:
    """The gradient passes straight through the rounding: it is that of the products which are taken."""

    def operands(p: Arrays) -> dict[str, Array]:
        return {**p, "weight": bfloat16(p["weight"])}

    def forward(node: Any, p: Arrays, x: Array) -> Array:
        return layer.forward(node, operands(p), bfloat16(x))

    def transpose(node: Any, p: Arrays, dy: Array, shape: tuple[int, ...]) -> Array:
        return layer.transpose(node, operands(p), bfloat16(dy), shape)

    def weights(node: Any, p: Arrays, x: Array, dy: Array) -> dict[str, Array]:
        found = layer.weights(node, {"weight": p["weight"]}, bfloat16(x), bfloat16(dy))
        # a bias is added, not multiplied: its gradient is a sum of what arrives, not rounded
        return found | ({"bias": layer.weights(node, p, x, dy)["bias"]} if "bias" in p else {})

    return Layer(forward, transpose, weights)
