"""y = x W^T + b of staged bits on CUDA, and its reverse: x is never unpacked in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from neuroport_torch.kernels.triton_bits import outer, times

Tensor = torch.Tensor


@dataclass(frozen=True)
class StagedBits:
    """x (T * B, K) as packed samples: values (N, T / 8, K) uint8, of which samples (B,) are taken."""

    values: Tensor
    samples: Tensor
    steps: int

    def linear(self, weight: Tensor, bias: Tensor | None, rounded: bool) -> Tensor:
        """(T * B, N), differentiable in weight (N, K) and bias (N,), float32. rounded: operands are bfloat16."""
        y: Tensor = _Product.apply(weight, bias, self, rounded)
        return y


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, bits: StagedBits, rounded: bool) -> Tensor:
        ctx.bits, ctx.rounded, ctx.biased = bits, rounded, bias is not None
        return times(bits.values, bits.samples, bits.steps, weight, bias, rounded)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        bits, dw, db = ctx.bits, None, None
        if ctx.needs_input_grad[0]:
            dw = outer(bits.values, bits.samples, bits.steps, dy, ctx.rounded)
        if ctx.biased and ctx.needs_input_grad[1]:
            db = dy.sum(0)
        return dw, db, None, None
