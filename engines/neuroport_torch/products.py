"""y = x W^T + b over all T x B, in the cheapest of three ways.

    events    CPU, with numba: x is mostly zeros, as spikes are
    onednn    CPU, float32, large: half the time of MKL's product on AMD processors
    torch     everything else

Which one is taken depends on shapes and on the share of zeros, never on a clock: equal inputs give
equal bits.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from neuroport_torch.arena import Arena
from neuroport_torch.kernels.threads import over

Tensor = torch.Tensor
LARGE = 2**22  # multiplications below which a plain product is as good
LONG = 64  # terms of each sum below which oneDNN gains nothing
DENSE = 0.15  # share of events above which the dense product is cheaper
ROWS, COLUMNS = 64, 128  # grains of work for a thread

HAS_NUMBA = find_spec("numba") is not None
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, arena: Arena) -> tuple[Tensor, str]:
    """x (M, K), weight (N, K), bias (N,) -> (M, N), differentiable in all three; and the way it was taken."""
    if x.device.type != "cpu" or len(x) * weight.numel() < LARGE:
        return functional.linear(x, weight, bias), "torch"
    events = Events.of(x)
    way = "events" if events is not None else "onednn" if _onednn(x) else "torch"
    return _Linear.apply(x, weight, bias, events, arena), way


def _onednn(x: Tensor) -> bool:
    return HAS_ONEDNN and x.dtype == torch.float32 and x.shape[1] >= LONG


def dense(x: Tensor, weight: Tensor, arena: Arena) -> Tensor:
    """x (M, K) times weight (N, K) transposed, a large product on the CPU."""
    # other threads record for autograd, whatever this one does
    x, weight = x.detach(), weight.detach()
    into = arena.empty((len(x), len(weight)), x.dtype, x.device)
    if _onednn(x):
        weight = weight.contiguous()

        def rows(lo: int, hi: int) -> None:
            into[lo:hi] = torch.ops.mkldnn._linear_pointwise(x[lo:hi], weight, None, "none", [], "")
    else:

        def rows(lo: int, hi: int) -> None:
            torch.mm(x[lo:hi], weight.t(), out=into[lo:hi])

    over(len(x), ROWS, rows)
    return into


class Events:
    """Where a matrix (M, K) is not zero; None from ``of`` where it mostly is not."""

    def __init__(self, x: np.ndarray):
        self.x = x
        self.index, self.start, self.count = empty_index(*x.shape)
        over(len(x), ROWS, lambda lo, hi: find(x, lo, hi, self.index, self.start, self.count))

    @staticmethod
    def of(x: Tensor) -> Events | None:
        if not HAS_NUMBA or not x.is_contiguous():
            return None
        sample = x[:: max(1, len(x) // 64)]  # rows spread over the run tell soon whether it is worth a look
        if torch.count_nonzero(sample) > 2 * DENSE * sample.numel():
            return None
        found = Events(x.detach().numpy())
        return found if found.count.sum() <= DENSE * x.numel() else None

    def times(self, weight: Tensor, bias: Tensor | None, y: Tensor) -> None:
        """y (M, N) = x W^T + b."""
        weight_t = weight.detach().t().contiguous().numpy()
        b = np.zeros(len(weight), weight_t.dtype) if bias is None else bias.detach().contiguous().numpy()
        into = y.numpy()
        over(len(into), ROWS, lambda lo, hi: gather(
            self.x, weight_t, b, self.index, self.start, self.count, into, lo, hi))

    def outer(self, dy: Tensor) -> Tensor:
        """dW (N, K) = dy^T x, from dy (M, N)."""
        d = dy.detach().contiguous().numpy()
        dw_t = np.empty((self.x.shape[1], d.shape[1]), d.dtype)
        over(d.shape[1], COLUMNS, lambda lo, hi: scatter(self.x, d, self.index, self.start, self.count, dw_t, lo, hi))
        return torch.from_numpy(dw_t).t()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, events: Events | None, arena: Arena
    ) -> Tensor:
        ctx.events, ctx.biased, ctx.arena = events, bias is not None, arena
        ctx.save_for_backward(x, weight)
        if events is None:
            y = dense(x, weight, arena)
            return y if bias is None else y.add_(bias)
        y = arena.empty((len(x), len(weight)), x.dtype, x.device)
        events.times(weight, bias, y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = dense(dy, weight.t(), ctx.arena)
        if ctx.needs_input_grad[1]:
            dw = dense(dy.t(), x.t(), ctx.arena) if ctx.events is None else ctx.events.outer(dy)
        if ctx.biased and ctx.needs_input_grad[2]:
            db = dy.sum(0)
        return dx, dw, db, None, None


if HAS_NUMBA:
    from neuroport_torch.kernels.events import empty_index, find, gather, scatter
