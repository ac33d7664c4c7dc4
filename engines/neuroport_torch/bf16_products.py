"""Products on tensor cores: of bfloat16 operands, and of float32 matrices in bfloat16 pieces.

A float32 number is the sum of three bfloat16 numbers, 8 of its 24 binary digits each. Where the other
operand is exact in bfloat16, as spikes and small counts are, three products of pieces, each summed in
float32, are as accurate as a float32 product, and faster on tensor cores; with two pieces an error of
2.4e-6 would remain. Torch multiplies bfloat16 into float32 sums on CUDA alone: elsewhere the same
numbers are multiplied in float32, which is the plain version of this file and never the faster one.
"""

from __future__ import annotations

from typing import Any

import torch

from neuroport_torch.kernels.measured import fastest, known

Tensor = torch.Tensor
Pieces = tuple[Tensor, Tensor, Tensor]
HAS_WIDE_SUMS = hasattr(torch.ops.aten.mm, "dtype")  # a product whose result is wider than its operands


def native(a: Tensor, b: Tensor) -> Tensor:
    """a (M, K) times b (K, N), both bfloat16, summed and returned in float32."""
    if a.device.type == "cuda" and HAS_WIDE_SUMS:
        return torch.mm(a, b, out_dtype=torch.float32)
    return torch.mm(a.float(), b.float())


def pieces(w: Tensor) -> Pieces:
    """Three bfloat16 matrices whose sum is w, float32 and finite: its leading digits first."""
    high = w.to(torch.bfloat16)
    rest = w - high.float()
    middle = rest.to(torch.bfloat16)
    return high, middle, (rest - middle.float()).to(torch.bfloat16)


def split(x: Tensor, weight: Tensor) -> Tensor:
    """x (M, K), exact in bfloat16, times weight (N, K) transposed: as accurate as in float32."""
    high, middle, low = (native(x, piece.t()) for piece in pieces(weight))
    return high + (middle + low)


class RoundedProduct(torch.autograd.Function):
    """y = x W^T and its reverse, all three products of operands rounded to bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x, weight = x.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(x, weight)
        return native(x, weight.t())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        dy = dy.to(torch.bfloat16)
        return (native(dy, weight) if ctx.needs_input_grad[0] else None,
                native(dy.t(), x) if ctx.needs_input_grad[1] else None)


class SplitProduct(torch.autograd.Function):
    """y = x W^T in pieces, x exact in bfloat16. In the reverse dW = dy^T x is, too; dx = dy W is a plain product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.to(torch.bfloat16)
        ctx.save_for_backward(x, weight)
        return split(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        return (dy @ weight if ctx.needs_input_grad[0] else None,
                split(x.t(), dy.t()).t() if ctx.needs_input_grad[1] else None)


def on_cuda(
    x: Tensor, weight: Tensor, bias: Tensor | None, rounded: bool, exact: bool
) -> tuple[Tensor, str] | None:
    """x (M, K) times weight (N, K) transposed, plus bias (N,), and its way, "bf16" or "split_bf16".

    None where neither is there or worth it. exact: whether x is known to be exact in bfloat16.
    """
    if x.device.type != "cuda" or not HAS_WIDE_SUMS or x.dtype != torch.float32:
        return None
    if not rounded and not (exact and _split_wins(x.detach(), weight.detach())):
        return None
    taken, product = ("bf16", RoundedProduct) if rounded else ("split_bf16", SplitProduct)
    y: Tensor = product.apply(x, weight)
    return y if bias is None else y + bias, taken


def _split_wins(x: Tensor, weight: Tensor) -> bool:
    """Whether three products are faster than one, as once measured for a class of shapes on this device."""
    like = [str(size.bit_length()) for size in (len(x), *weight.shape)]
    what = ("product", torch.cuda.get_device_name(x.device), torch.__version__, *like)
    ways = ("torch", "split_bf16")
    if torch.cuda.is_current_stream_capturing():
        return known(what, ways) == "split_bf16"

    def seconds(way: str) -> float:
        from triton.testing import do_bench

        with torch.no_grad():
            return float(do_bench(
                lambda: split(x.to(torch.bfloat16), weight) if way == "split_bf16" else x @ weight.t(),
                warmup=5, rep=20, return_mode="median"))

    return fastest(what, ways, seconds) == "split_bf16"
