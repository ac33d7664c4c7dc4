"""y = x W^T + b over all T x B, in the cheapest of several ways.

    events      CPU, with numba: x is mostly zeros, as spikes are
    onednn      CPU, large and dense: see ``dense.py``
    bits        CUDA: staged bits, unpacked within the product
    bf16        CUDA, precision "bfloat16": see ``bf16_products.py``
    split_bf16  CUDA, float32, x is spikes: there, too
    torch       everything else

Which one is taken depends on the share of zeros and on shapes, and for a class of shapes on what was once
measured on this machine: equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from neuroport_torch.arena import Arena
from neuroport_torch.bf16_products import on_cuda
from neuroport_torch.dense import dense, way
from neuroport_torch.kernels.threads import over
from neuroport_torch.layers import LAYERS, ROUNDED
from neuroport_torch.marks import HAS_NUMBA, Bits, Events, Product, blank
from neuroport_torch.precision import bfloat16

if TYPE_CHECKING:
    from neuroport_torch.bits_product import StagedBits

Tensor = torch.Tensor
LARGE = 2**22  # multiplications below which a plain product is as good
VALUES = 2**14  # grain of rounding for a thread


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, arena: Arena, rounded: bool = False, exact: bool = False,
    marks: Events | Bits | StagedBits | None = None, owed: Product | None = None,
) -> tuple[Tensor, str]:
    """x (M, K), weight (N, K), bias (N,) -> (M, N), differentiable in all three; and the way it was taken.

    rounded: operands are rounded to bfloat16, also those of the reverse. exact: x is known to be exact in bfloat16.
    marks: those of x, where they are known; then x gives the shape alone. owed: filled in place of y, which is blank,
    where the way is "events".
    """
    if isinstance(marks, Events):
        return _Linear.apply(x, weight, bias, marks, arena, rounded, owed), "events"
    if isinstance(marks, Bits):
        values = marks.dense(arena)
        return _Linear.apply(x, weight, bias, marks, arena, rounded, None, values), way(values, weight)
    if marks is not None:
        return marks.linear(weight, bias, rounded), "bits"
    on_tensor_cores = on_cuda(x, weight, bias, rounded, exact)
    if on_tensor_cores is not None:
        return on_tensor_cores
    if x.device.type != "cpu" or len(x) * weight.numel() < LARGE:
        own = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return (ROUNDED if rounded else LAYERS)["Linear"].apply(None, own, x), "torch"
    events = Events.of(x, arena, rounded)
    taken = "events" if events is not None else way(x, weight)
    return _Linear.apply(x, weight, bias, events, arena, rounded, owed), taken


def of_weights(
    own: Mapping[str, Tensor], x: Tensor | Bits, dy: Tensor, arena: Arena, rounded: bool = False
) -> dict[str, Tensor]:
    """Cotangents of a Linear's arrays, by name, from those of y (M, N) and from x (M, K)."""
    if dy.device.type != "cpu" or x.shape[0] * x.shape[1] * dy.shape[1] < LARGE:
        x = x.dense(arena) if isinstance(x, Bits) else x
        return (ROUNDED if rounded else LAYERS)["Linear"].weights(None, own, x, dy)
    found = {"bias": dy.sum(0)} if "bias" in own else {}
    dy = operand(dy, arena) if rounded else dy
    if isinstance(x, Bits):
        found["weight"] = _outer(dy, x.events() or x, None, arena)
        return found
    events = Events.of(x, arena, rounded)
    found["weight"] = _outer(dy, events, operand(x, arena) if rounded and events is None else x, arena)
    return found


def _outer(dy: Tensor, kept: Events | Bits | None, x: Tensor | None, arena: Arena) -> Tensor:
    """dW (N, K) = dy^T x, from dy (M, N), with x as what was kept of it; itself where nothing was."""
    if isinstance(kept, Events):
        return kept.outer(dy)
    rows = x if kept is None else kept.dense(arena)
    assert rows is not None
    return dense(dy.t(), rows.t(), arena)


def operand(x: Tensor, arena: Arena) -> Tensor:
    """x, large, rounded to bfloat16."""
    if not HAS_NUMBA or x.dtype != torch.float32 or not x.is_contiguous():
        return bfloat16(x)
    into = arena.empty(tuple(x.shape), x.dtype, x.device)
    given, rounded = x.detach().view(-1).numpy(), into.view(-1).numpy()
    over(len(given), VALUES, lambda lo, hi: round_values(given, rounded, lo, hi))
    return into


class _Linear(torch.autograd.Function):
    """Keeps x as events or, where it is spikes, as bits: whoever made it may write over it then."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, marks: Events | Bits | None, arena: Arena,
        rounded: bool, owed: Product | None, values: Tensor | None = None,
    ) -> Tensor:
        """values: those of x, where it is blank and to be multiplied as numbers."""
        ctx.biased, ctx.arena, ctx.rounded, ctx.owed = bias is not None, arena, rounded, owed
        if values is not None:
            x = values
        elif rounded and marks is None:
            x = operand(x, arena)
        weight = bfloat16(weight) if rounded else weight
        ctx.kept = marks if marks is not None else Bits.of(x)
        ctx.save_for_backward(weight, *([x] if ctx.kept is None else []))
        if not isinstance(marks, Events):
            y = dense(x, weight, arena)
            return y if bias is None else y.add_(bias)
        if owed is not None:
            owed.of(marks, weight, bias, rounded)
            return blank((len(x), len(weight)), x.dtype, x.device)
        y = arena.empty((len(x), len(weight)), x.dtype, x.device)
        marks.times(weight, bias, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        weight, *x = ctx.saved_tensors
        dx = dw = db = None
        total = None if ctx.owed is None else ctx.owed.take_total()
        if ctx.biased and ctx.needs_input_grad[2]:
            db = (dy if total is None else total).sum(0)  # a bias is added: its gradient is no product
        dy = operand(dy, ctx.arena) if ctx.rounded and total is None else dy
        if ctx.needs_input_grad[0]:
            dx = dense(dy, weight.t(), ctx.arena)
        if ctx.needs_input_grad[1]:
            dw = _outer(dy, ctx.kept, x[0] if x else None, ctx.arena)
        return dx, dw, db, *[None] * (len(ctx.needs_input_grad) - 3)


if HAS_NUMBA:
    from neuroport_torch.kernels.rounding import round_values
