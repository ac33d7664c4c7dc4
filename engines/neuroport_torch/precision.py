"""What ``precision="bfloat16"`` asks of a product: operands rounded to bfloat16, sums in float32.

A rounded operand is held in float32, wherever a product in bfloat16 itself would be slower or would
round its sums. Every function here passes the gradient straight through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

Tensor = torch.Tensor
Apply = Callable[[Any, Mapping[str, Tensor], Tensor], Tensor]


def bfloat16(x: Tensor) -> Tensor:
    """The nearest bfloat16 to each value, ties to even, in the dtype of x."""
    return x.to(torch.bfloat16).to(x.dtype)


class _Operand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return bfloat16(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy


class _Product(torch.autograd.Function):
    """The outcome of a product. Its cotangent is an operand of the products of the reverse."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return bfloat16(dy)


def rounded(apply: Apply) -> Apply:
    """A layer's ``apply`` with weight and bias, as a product of rounded operands; the bias is added in float32."""

    def run(node: Any, p: Mapping[str, Tensor], x: Tensor) -> Tensor:
        y: Tensor = _Product.apply(apply(node, {"weight": _Operand.apply(p["weight"])}, _Operand.apply(x)))
        return y + p["bias"].view(-1, *(1,) * (y.ndim - 2)) if "bias" in p else y

    return run
